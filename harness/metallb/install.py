"""MetalLB's part of a lab's API: its kinds, its namespace, and what its programs look for there.

In a cluster its manifest makes a DaemonSet of the speakers. Here they are processes of the nodes (`netns/plan.py`), and
their Pod objects only say where they are: a speaker joins the addresses of those that match its labels, and owns its
ServiceL2Status objects by its own Pod. No scheduler and no kubelet gets to see them.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from harness.cluster import Cluster, condition
from harness.metallb.crds import Obj

if TYPE_CHECKING:
    from harness.backends.base import Backend

#: Where MetalLB and all of its objects live.
NAMESPACE = "metallb-system"
#: Labels of the speakers' Pods, as in MetalLB's manifests.
SPEAKER_LABELS: Mapping[str, str] = {"app": "metallb", "component": "speaker"}
_CONTROLLER_LABELS: Mapping[str, str] = {"app": "metallb", "component": "controller"}
#: The controller's name among the lab's processes.
CONTROLLER = "control-plane/metallb-controller"
#: The name of the controller's Pod.
CONTROLLER_POD = "controller"
#: Seconds for a CRD to be Established; the API server takes some 0.1 s.
_SERVED_WITHIN = 20.0


def speaker(node: str) -> str:
    """The name of a node's speaker among the lab's processes."""
    return f"{node}/metallb-speaker"


def speaker_pod(node: str) -> str:
    """The name of a node's speaker Pod."""
    return f"speaker-{node}"


def install(backend: Backend, cluster: Cluster, crds: list[Obj]) -> None:
    """Make what MetalLB needs, and start it; returns when its processes run.

    Raises:
        LabError: a part does not start.
        UserError: a CRD, from a manifest of the user's, is refused.
    """
    topology, version = backend.topology, str(backend.metallb_version)
    cluster.apply([*crds, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
    for node in topology.speakers():
        address = str(topology.nodes[node].address[0])
        _pod(cluster, speaker_pod(node), "speaker", SPEAKER_LABELS, address, version)
    control_plane = str(topology.control_plane.address[0])
    _pod(cluster, CONTROLLER_POD, "controller", _CONTROLLER_LABELS, control_plane, version)
    for crd in crds:
        cluster.wait(
            "customresourcedefinitions", crd["metadata"]["name"], condition("Established"), within=_SERVED_WITHIN
        )
    names = [CONTROLLER, *(speaker(node) for node in topology.speakers())]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(backend.start, names))


def _pod(cluster: Cluster, name: str, part: str, labels: Mapping[str, str], address: str, version: str) -> None:
    metadata: dict[str, Any] = {"name": name, "namespace": NAMESPACE, "labels": dict(labels)}
    spec = {
        "hostNetwork": True,
        # not bound to its node, where lblab's node agent would run it, and no scheduler of that name binds it
        "schedulerName": "lblab",
        "containers": [{"name": part, "image": f"quay.io/metallb/{part}:v{version}"}],
    }
    cluster.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}])
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    cluster.patch("Pod", name, {"status": status}, namespace=NAMESPACE, sub="status")
