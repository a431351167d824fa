"""Which processes of a kind cluster's nodes are parts of the lab, and what they are called: pure.

The names are those that the embedded lab gives them, so that a scenario finds the same parts on both backends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.backends.kind.proc import Seen
from harness.backends.netns.wiring import CONTROL_PLANE

#: What starts a pod's container is its child: containerd's shim.
_SHIM = "containerd-shim"


@dataclass(frozen=True)
class Component:
    """A kind of process.

    Attributes:
        name: As lblab calls it.
        single: There is one in the cluster, and it belongs to the control plane wherever it runs.
        container: Its container's name in its pod, by which its log is found; None: it runs beside the pods.
    """

    name: str
    single: bool = False
    container: str | None = None


#: By the program. Containers' names are those of Cilium's chart, MetalLB's manifests and kubeadm.
PROGRAMS: Mapping[str, Component] = {
    "cilium-agent": Component("cilium-agent", container="cilium-agent"),
    "cilium-operator": Component("cilium-operator", single=True, container="cilium-operator"),
    "cilium-operator-generic": Component("cilium-operator", single=True, container="cilium-operator"),
    "speaker": Component("metallb-speaker", container="speaker"),
    "controller": Component("metallb-controller", single=True, container="controller"),
    "kube-proxy": Component("kube-proxy", container="kube-proxy"),
    "kube-apiserver": Component("kube-apiserver", single=True, container="kube-apiserver"),
    "kube-controller-manager": Component("kube-controller-manager", single=True, container="kube-controller-manager"),
    "kube-scheduler": Component("kube-scheduler", single=True, container="kube-scheduler"),
    "etcd": Component("etcd", single=True, container="etcd"),
    "kubelet": Component("kubelet"),
}


def name_of(node: str, seen: Seen, parent: Seen | None) -> str | None:
    """The lab's name of a process on a node; None when it is no part of the lab.

    Args:
        node: The node.
        seen: The process.
        parent: What started it; None: the node's first process.
    """
    component = PROGRAMS.get(seen.program)
    if component is None:
        return None
    in_pod = parent is not None and parent.program.startswith(_SHIM)
    if in_pod != (component.container is not None):
        return None  # a program of that name that somebody runs in a shell, or a child of the component's own
    return f"{CONTROL_PLANE if component.single else node}/{component.name}"


def containers() -> dict[str, Component]:
    """The components that run in pods, by their container's name."""
    return {one.container: one for one in PROGRAMS.values() if one.container is not None}


def of(program: str) -> Component | None:
    """The component of a name that runs in pods; None: there is none."""
    return next((one for one in PROGRAMS.values() if one.name == program and one.container), None)
