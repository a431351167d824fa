"""Moving a running cluster to another Cilium version in place, by Helm, as its users do."""

from __future__ import annotations

from pathlib import Path

from harness.backends.kind import charts, cilium, images, preparation
from harness.backends.kind.charts import Release
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
ONE_BY_ONE = {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}


def upgrade(
    tools: Tools,
    made: KindCluster,
    topology: Topology,
    chosen: KindOptions,
    folder: Path,
    version: str,
    progress: Progress = lambda _: None,
) -> None:
    """Move everything to another version; returns when every agent runs it and its BGP control plane answers.

    Raises:
        MissingCapability: The chart or an image of that version cannot be had.
        UserError: The chart refuses a value.
        LabError: Helm fails, or the new version does not get ready.
    """
    release = _ready(tools, made, topology, chosen, folder, version, progress, one_by_one=False)
    cilium.install(tools, made, release, version, progress)


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

    Raises:
        MissingCapability, UserError, LabError: As `upgrade`.
    """
    release = _ready(tools, made, topology, chosen, folder, version, progress, one_by_one=True)
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


def _ready(
    tools: Tools,
    made: KindCluster,
    topology: Topology,
    chosen: KindOptions,
    folder: Path,
    version: str,
    progress: Progress,
    *,
    one_by_one: bool,
) -> Release:
    """Have the chart, and its images in the nodes: nothing of that is to cost time while traffic is measured."""
    kubernetes = made.kubernetes.removeprefix("v")
    node = str(tools.engine.containers.get(made.control_plane).image.id)
    _, bounding = preparation.look_into(tools.engine, node, folder.name)
    more = ONE_BY_ONE if one_by_one else None
    release = cilium.prepare(tools, topology, version, chosen, folder, kubernetes, bounding, more)
    wanted = [Image(name, "cilium") for name in release.images]
    images.provide(tools.engine, wanted, chosen.image_archives, progress)
    images.load_into_nodes(tools, made.name, wanted, progress)
    return release
