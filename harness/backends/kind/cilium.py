"""Cilium by Helm: the official chart with the user's values on lblab's few, and waiting for what BGP needs of it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.backends.kind import charts, failures, options
from harness.backends.kind.charts import Release
from harness.backends.kind.cluster import KindCluster, wait_nodes_ready
from harness.backends.kind.options import KindOptions
from harness.backends.kind.tools import Progress, Tools
from harness.cilium import api, semver
from harness.cluster import Cluster
from harness.errors import LabError, UserError, WaitTimeout
from harness.topology import HOST_DEVICE, Topology
from harness.wait import until

REPOSITORY = "https://helm.cilium.io"
NAMESPACE = "kube-system"
#: Labels of the agents' and of the operator's pods (chart: templates/cilium-agent, templates/cilium-operator).
AGENT_LABELS: Mapping[str, str] = {"k8s-app": "cilium"}
OPERATOR_LABELS: Mapping[str, str] = {"name": "cilium-operator"}
#: The agent's API on its node (pkg/defaults: RuntimePath, SockPath); /v1/bgp/peers asks its BGP control plane.
_SOCKET, _BGP_PEERS = "/var/run/cilium/cilium.sock", "http://localhost/v1/bgp/peers"
#: Seconds for all of Cilium to be there. Agents were ready 14 to 30 s after Helm (kind-offline/LEARNT.md); a machine
#: whose cores are busy takes minutes.
_READY_WITHIN = 420.0
_NODES_WITHIN = 120.0
_ASKED_WITHIN = 15.0
_LOOK_EVERY = 0.5

#: Linux' capabilities by number (linux/capability.h), for those that the chart's agents ask for.
_CAPABILITIES: Mapping[str, int] = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "NET_BIND_SERVICE": 10,
    "NET_ADMIN": 12, "NET_RAW": 13, "IPC_LOCK": 14, "SYS_MODULE": 16, "SYS_CHROOT": 18, "SYS_PTRACE": 19,
    "SYS_ADMIN": 21, "SYS_RESOURCE": 24, "SYSLOG": 34, "PERFMON": 38, "BPF": 39,
}  # fmt: skip


def values(topology: Topology) -> dict[str, Any]:
    """The values of a lab, below the user's: what a lab cannot do without, and nothing that needs more images.

    Args:
        topology: With its L2 announcements decided (harness.cilium.l2).
    """
    address = topology.control_plane.address[0]
    local = {"useDigest": False, "pullPolicy": "IfNotPresent"}  # an image that was loaded has no digest of a registry
    found: dict[str, Any] = {
        "bgpControlPlane": {"enabled": True},
        "kubeProxyReplacement": True,
        "k8sServiceHost": str(address),
        "k8sServicePort": 6443,
        "ipam": {"mode": "kubernetes"},
        "devices": HOST_DEVICE,  # of a node's two interfaces the topology's, not Docker's
        "image": local,
        "operator": {
            "replicas": 1,
            "image": local,
            # faults on the topology's nodes are not to take it along, as in an embedded lab
            "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
        },
        "envoy": {"enabled": False},
        "l7Proxy": False,
        "hubble": {"enabled": False},
    }
    if any(cidr.version == 6 for cidr in topology.cluster.pod_cidrs):
        found["ipv6"] = {"enabled": True}
    l2 = topology.cilium.l2announcements
    if l2.enabled:
        found["l2announcements"] = {
            "enabled": True,
            "leaseDuration": f"{l2.lease_duration:g}s",
            "leaseRenewDeadline": f"{l2.lease_renew_deadline:g}s",
            "leaseRetryPeriod": f"{l2.lease_retry_period:g}s",
        }
    if (limit := topology.cilium.k8s_client_rate_limit) is not None:
        found["k8sClientRateLimit"] = {"qps": limit.qps, "burst": limit.burst}
    return found


def image_values(images: Mapping[str, str]) -> dict[str, Any]:
    """Values that put other images in the chart's place: `agent` and `operator`."""
    found: dict[str, Any] = {}
    if agent := images.get("agent"):
        found["image"] = {"override": agent}
    if operator := images.get("operator"):
        found["operator"] = {"image": {"override": operator}}
    return found


def kube_proxy(own: Mapping[str, Any], users: Iterable[Mapping[str, Any]]) -> str:
    """Which kube-proxy a cluster has beside Cilium: none where Cilium takes its place, else the iptables one.

    Args:
        own: lblab's values.
        users: The user's, each on top of the one before.
    """
    replaces = charts.merged([own, *users]).get("kubeProxyReplacement")
    # strict: what up to Cilium 1.13 was true (facts/cilium.md, section 8); partial leaves kube-proxy in place
    return "none" if str(replaces).lower() in ("true", "strict") else "iptables"


def without(capabilities: Mapping[str, Any], withheld: Iterable[str]) -> dict[str, Any]:
    """The chart's `securityContext.capabilities` without those that the machine withholds."""
    gone = set(withheld)
    return {
        container: [one for one in wanted if one not in gone]
        for container, wanted in capabilities.items()
        if isinstance(wanted, list) and gone & set(wanted)
    }


def withheld(bounding: int) -> list[str]:
    """The capabilities that are not in a bounding set (proc(5), CapBnd)."""
    return [name for name, number in _CAPABILITIES.items() if not bounding >> number & 1]


def prepare(
    tools: Tools,
    topology: Topology,
    version: str,
    chosen: KindOptions,
    folder: Path,
    kubernetes: str,
    bounding: int,
    more: Mapping[str, Any] | None = None,
) -> Release:
    """Have the chart, and render it with the values of a lab; nothing is started.

    Args:
        tools: Helm.
        topology: With its L2 announcements decided.
        version: The exact Cilium version.
        chosen: The user's chart, values and images.
        folder: The lab's folder; lblab's values files go there.
        kubernetes: Version of the cluster that is to be.
        bounding: Capabilities that a node's containers may have.
        more: Values on top of everything else.

    Raises:
        MissingCapability: The chart cannot be downloaded.
        UserError: It refuses a value, or is that of another version.
    """
    product = f"Cilium {version}"
    chart = charts.fetch(tools, "cilium", product, chosen.cilium_chart, REPOSITORY, version)
    own = values(topology)
    if gone := withheld(bounding):
        context = charts.default_values(tools, chart).get("securityContext") or {}
        if less := without(context.get("capabilities") or {}, gone):
            own["securityContext"] = {"capabilities": less}
    files = [charts.write_values(folder, f"lblab-{version}", own), *(path.absolute() for path in chosen.cilium_values)]
    on_top = charts.merged([image_values(chosen.cilium_images), more or {}])
    if on_top:
        files.append(charts.write_values(folder, f"on-top-{version}", on_top))
    found = charts.render(tools, Release("cilium", product, chart, NAMESPACE, tuple(files)), kubernetes)
    if found.version and found.version != version and chosen.cilium_chart:
        raise UserError(
            f"--cilium-chart is that of Cilium {found.version}, not of {version}",
            file=chart,
            hint=f"--cilium-version {found.version}",
        )
    return found


def install(tools: Tools, made: KindCluster, release: Release, version: str, progress: Progress) -> None:
    """Install Cilium, or move to another version in place; returns when BGP can work.

    Raises:
        LabError: Helm fails, or Cilium does not get ready; with what its pods wait for.
    """
    progress(f"helm: {release.product}")
    charts.install(tools, release, made.kubeconfig)
    progress(f"{release.product}: agents, CRDs, BGP control plane")
    cluster = Cluster(made.kubeconfig)
    try:
        wait_ready(tools, made, cluster, version)
    finally:
        cluster.close()


def wait_ready(tools: Tools, made: KindCluster, cluster: Cluster, version: str) -> None:
    """Wait for what BGP needs: the CRDs are served, every agent runs this version and its BGP control plane answers.

    Raises:
        LabError: With what is missing, and what the pods say.
    """
    kinds = needed_kinds(version)

    def missing() -> list[str]:
        found = [f"{kind} is not served" for kind in sorted(kinds - {one.kind for one in cluster.kinds()})]
        found += rollout(cluster, "DaemonSet", "cilium", NAMESPACE)
        found += rollout(cluster, "Deployment", "cilium-operator", NAMESPACE)
        return found or _unanswered(tools, made)

    try:
        until("Cilium", missing, lambda left: not left, within=_READY_WITHIN, every=_LOOK_EVERY, show="; ".join)
    except WaitTimeout as error:
        lines = failures.of_pods(cluster, NAMESPACE, AGENT_LABELS) + failures.of_pods(
            cluster, NAMESPACE, OPERATOR_LABELS
        )
        told = "\n".join(lines)
        raise LabError(f"Cilium {version} does not get ready: {error.message}\n{told}".rstrip()) from None
    wait_nodes_ready(cluster, made.nodes, _NODES_WITHIN)


def needed_kinds(version: str) -> set[str]:
    """The kinds by which BGP and LoadBalancer addresses are configured in a Cilium version."""
    at = semver.parse(version)
    wanted = re.compile(r"CiliumBGP(ClusterConfig|PeeringPolicy|Advertisement)|CiliumLoadBalancerIPPool")
    return {kind for (_, kind), served in api.table().items() if wanted.fullmatch(kind) and at in served.span}


def rollout(cluster: Cluster, kind: str, name: str, namespace: str) -> list[str]:
    """What is left of a rollout, as `kubectl rollout status` judges it."""
    if not cluster.exists(kind, name, namespace=namespace):
        return [f"there is no {kind} {name}"]
    found = cluster.get(kind, name, namespace=namespace)
    status = found.get("status") or {}
    if status.get("observedGeneration") != found["metadata"].get("generation"):
        return [f"{name} is being changed"]
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        counts = (status.get("updatedNumberScheduled", 0), status.get("numberReady", 0))
    else:
        wanted = found["spec"].get("replicas", 1)
        counts = (status.get("updatedReplicas", 0), status.get("readyReplicas", 0))
        if status.get("replicas", 0) > wanted:
            return [f"{name}: an old pod ends"]
    if wanted and min(counts) >= wanted:
        return []
    return [f"{name}: {counts[0]} of {wanted} pods are new, {counts[1]} ready"]


def _unanswered(tools: Tools, made: KindCluster) -> list[str]:
    """The nodes whose agent's BGP control plane gives no answer at its socket."""

    def ask(node: str, container: str) -> str | None:
        argv = [
            "curl",
            "--silent",
            "--max-time",
            "5",
            "--unix-socket",
            _SOCKET,
            "--write-out",
            "\n%{http_code}",
            _BGP_PEERS,
        ]
        with contextlib.suppress(LabError):
            done = tools.run(tools.docker, "exec", container, *argv, within=_ASKED_WITHIN)
            if done.code == 0 and done.output and done.output[-1] == "200":
                with contextlib.suppress(ValueError):
                    json.loads("\n".join(done.output[:-1]) or "[]")
                    return None
            return f"{node}: its BGP control plane does not answer ({done.last(1) or done.code})"
        return f"{node}: its BGP control plane does not answer"

    with ThreadPoolExecutor(len(made.nodes)) as pool:
        return [one for one in pool.map(ask, made.nodes.keys(), made.nodes.values()) if one]


def users_values(chosen: KindOptions) -> list[dict[str, Any]]:
    """The user's values files, read."""
    return [options.values(path) for path in chosen.cilium_values]
