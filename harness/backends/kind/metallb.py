"""MetalLB in a kind cluster: its official manifest, or a chart, with what a lab has to change of it."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.backends.kind import charts, failures
from harness.backends.kind.charts import Release
from harness.backends.kind.cilium import rollout
from harness.backends.kind.cluster import KindCluster
from harness.backends.kind.options import KindOptions
from harness.backends.kind.tools import Progress, Tools
from harness.binaries import cache
from harness.cluster import ApiError, Cluster
from harness.errors import LabError, MissingCapability, UserError, WaitTimeout
from harness.topology import Metallb, Topology
from harness.wait import until
from harness.yamlfile import load_documents

REPOSITORY = "https://metallb.github.io/metallb"
#: MetalLB's own manifest with its native BGP (metallb: config/manifests).
_MANIFEST = "https://raw.githubusercontent.com/metallb/metallb/v{version}/config/manifests/metallb-native.yaml"
NAMESPACE = "metallb-system"
_LABELS: Mapping[str, str] = {"app": "metallb"}
_CHART_LABELS: Mapping[str, str] = {"app.kubernetes.io/name": "metallb"}
_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
#: Seconds for a download, and for MetalLB to be ready: 34 s on an idle machine (kind-offline/LEARNT.md).
_FETCHED_WITHIN, _READY_WITHIN = 30.0, 300.0
_LOOK_EVERY = 0.5

Obj = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """MetalLB as it is going to be installed: a manifest's objects, or a chart's release.

    Attributes:
        version: Its version.
        images: What it runs.
        objects: Of the manifest, changed for the lab.
        release: Of the chart.
    """

    version: str
    images: tuple[str, ...]
    objects: tuple[Obj, ...] = ()
    release: Release | None = None


def prepare(
    tools: Tools, topology: Topology, version: str, chosen: KindOptions, folder: Path, kubernetes: str
) -> Prepared:
    """Have MetalLB's manifest or chart on this machine, changed for a lab; nothing is started.

    Raises:
        MissingCapability: It cannot be downloaded.
        UserError: It is no manifest of MetalLB's, or a chart refuses a value.
    """
    settings = topology.metallb or Metallb()
    if chosen.metallb_chart is not None:
        product = f"MetalLB {version}"
        chart = charts.fetch(tools, "metallb", product, chosen.metallb_chart, REPOSITORY, version)
        file = charts.write_values(folder, f"metallb-{version}", chart_values(settings))
        release = charts.render(tools, Release("metallb", product, chart, NAMESPACE, (file,)), kubernetes)
        return Prepared(version, release.images, release=release)
    path = chosen.metallb_manifest or _fetch(version)
    objects = tuple(document.value for document in load_documents(path.read_text(), path))
    if not any(one.get("kind") == "DaemonSet" for one in objects):
        raise UserError("this is no manifest of MetalLB's: there is no DaemonSet of speakers in it", file=path)
    changed = tuple(change(one, settings) for one in objects)
    return Prepared(version, tuple(charts.images_of(path.read_text())), changed)


def change(thing: Obj, settings: Metallb) -> Obj:
    """What a lab has otherwise than MetalLB's manifest: where its pods run, whose Services it takes, and no pulling."""
    if thing.get("kind") not in ("DaemonSet", "Deployment"):
        return thing
    found: Obj = {**thing, "spec": {**thing["spec"], "template": {**thing["spec"]["template"]}}}
    spec: Obj = {**found["spec"]["template"]["spec"]}
    found["spec"]["template"]["spec"] = spec
    containers = []
    for container in spec["containers"]:
        arguments = list(container.get("args") or ())
        if settings.load_balancer_class and container["name"] in ("controller", "speaker"):
            arguments.append(f"--lb-class={settings.load_balancer_class}")
        containers.append({**container, "args": arguments, "imagePullPolicy": "IfNotPresent"})
    spec["containers"] = containers
    if thing["kind"] == "Deployment":
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), _CONTROL_PLANE: ""}
        spec["tolerations"] = [*(spec.get("tolerations") or ()), {"key": _CONTROL_PLANE, "operator": "Exists"}]
    else:
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **settings.speaker_node_selector}
        spec["affinity"] = _AWAY_FROM_CONTROL_PLANE
    return found


#: The control plane is no node of a topology, so no speaker of its own announces from it.
_AWAY_FROM_CONTROL_PLANE: Obj = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": _CONTROL_PLANE, "operator": "DoesNotExist"}]}]
        }
    }
}


def chart_values(settings: Metallb) -> Obj:
    """The same for MetalLB's chart."""
    return {
        "loadBalancerClass": settings.load_balancer_class or "",
        "controller": {
            "image": {"pullPolicy": "IfNotPresent"},
            "nodeSelector": {_CONTROL_PLANE: ""},
            "tolerations": [{"key": _CONTROL_PLANE, "operator": "Exists"}],
        },
        "speaker": {
            "image": {"pullPolicy": "IfNotPresent"},
            "nodeSelector": dict(settings.speaker_node_selector),
            "affinity": _AWAY_FROM_CONTROL_PLANE,
            "frr": {"enabled": False},
        },
        "frrk8s": {"enabled": False},
    }


def install(tools: Tools, made: KindCluster, prepared: Prepared, progress: Progress) -> None:
    """Install MetalLB; returns when its pods are ready and its webhook answers.

    Raises:
        LabError: It does not get ready; with what its pods wait for.
    """
    cluster = Cluster(made.kubeconfig)
    try:
        if prepared.release is not None:
            progress(f"helm: {prepared.release.product}")
            charts.install(tools, prepared.release, made.kubeconfig)
        else:
            cluster.apply(list(prepared.objects), within=30.0)
        progress(f"MetalLB {prepared.version}: speakers, controller, webhook")
        _wait(cluster, prepared.release is not None)
    finally:
        cluster.close()


def _wait(cluster: Cluster, chart: bool) -> None:
    prefix = "metallb-" if chart else ""

    def missing() -> list[str]:
        found = rollout(cluster, "DaemonSet", f"{prefix}speaker", NAMESPACE)
        return found + rollout(cluster, "Deployment", f"{prefix}controller", NAMESPACE) or _webhook(cluster)

    try:
        until("MetalLB", missing, lambda left: not left, within=_READY_WITHIN, every=_LOOK_EVERY, show="; ".join)
    except WaitTimeout as error:
        lines = failures.of_pods(cluster, NAMESPACE, _CHART_LABELS if chart else _LABELS)
        raise LabError("\n".join([f"MetalLB does not get ready: {error.message}", *lines])) from None


def _webhook(cluster: Cluster) -> list[str]:
    """Whether MetalLB's webhook answers the API server, which asks it for every pool, also for one that is not kept."""
    pool = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "lblab-asks", "namespace": NAMESPACE},
        "spec": {"addresses": ["192.0.2.0/32"]},  # RFC 5737
    }
    try:
        cluster.would_create(pool)
    except ApiError as error:
        return [f"its webhook does not answer: {error.detail}"]
    return []


def _fetch(version: str) -> Path:
    """Download a release's manifest, once."""
    kept = cache.root() / "manifests" / f"metallb-native-{version}.yaml"
    if kept.exists():
        return kept
    address = _MANIFEST.format(version=version)
    try:
        with urllib.request.urlopen(address, timeout=_FETCHED_WITHIN) as reply:
            text = reply.read()
    except (urllib.error.URLError, OSError) as error:
        raise MissingCapability(
            f"the manifest of MetalLB {version} cannot be had from {address}: {getattr(error, 'reason', error)}",
            hint="give a local one: --metallb-manifest FILE, or --metallb-chart",
        ) from None
    kept.parent.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(".new")
    draft.write_bytes(text)
    draft.rename(kept)
    return kept
