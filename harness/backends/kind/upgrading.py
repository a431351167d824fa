"""Moving a running cluster to another Cilium version in place, by Helm, as its users do."""

from __future__ import annotations

from pathlib import Path

from harness.backends.kind import charts, cilium, images, preparation
from harness.backends.kind.cluster import KindCluster
from harness.backends.kind.images import Image
from harness.backends.kind.options import KindOptions
from harness.backends.kind.tools import Progress, Tools
from harness.cluster import Cluster
from harness.errors import LabError, WaitTimeout
from harness.topology import Topology
from harness.wait import until

#: Seconds for the operator's new pod.
_OPERATOR_WITHIN = 240.0
#: The chart's value that leaves agents as they are until somebody deletes their pods: one node after the other.
_ONE_BY_ONE = {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}


def stage(
    tools: Tools,
    made: KindCluster,
    topology: Topology,
    chosen: KindOptions,
    folder: Path,
    version: str,
    progress: Progress = lambda _: None,
) -> None:
    """Move the operator to another version, and each agent when its pod is deleted; returns when the operator is new.

    The chart and its images are had first: nothing of that is to cost time while traffic is measured.

    Raises:
        MissingCapability: The chart or an image of that version cannot be had.
        UserError: The chart refuses a value.
        LabError: Helm fails, or the operator does not get ready.
    """
    kubernetes = made.kubernetes.removeprefix("v")
    node = str(tools.engine.containers.get(made.control_plane).image.id)
    _, bounding = preparation.look_into(tools.engine, node, folder.name)
    release = cilium.prepare(tools, topology, version, chosen, folder, kubernetes, bounding, _ONE_BY_ONE)
    wanted = [Image(name, "cilium") for name in release.images]
    images.provide(tools.engine, wanted, chosen.image_archives, progress)
    images.load_into_nodes(tools, made.name, wanted, progress)
    charts.install(tools, release, made.kubeconfig)
    cluster = Cluster(made.kubeconfig)
    try:
        until(
            "Cilium's operator",
            lambda: cilium.rollout(cluster, "Deployment", "cilium-operator", cilium.NAMESPACE),
            lambda left: not left,
            within=_OPERATOR_WITHIN,
            every=0.5,
            show="; ".join,
        )
    except WaitTimeout as error:
        raise LabError(f"Cilium's operator does not become {version}: {error.message}") from None
    finally:
        cluster.close()
