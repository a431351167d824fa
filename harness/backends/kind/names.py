"""How the parts of a kind lab are named and labelled, so that nothing of anybody else is ever taken for one of them.

Docker has one space of names for everybody who may use it, so whose something is stands in its labels.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping

from harness.backends import registry

#: Docker labels of everything that lblab makes itself: the lab's name, and whose lab it is.
LAB_LABEL, OWNER_LABEL = "lblab.lab", "lblab.owner"
#: The label that kind gives to a cluster's node containers (kind, pkg/cluster/constants).
KIND_LABEL = "io.x-k8s.kind.cluster"
#: The Kubernetes name of the node that runs the control plane; in a topology it is no node of its own.
CONTROL_PLANE = "control-plane"
#: What tells the processes of one lab's tools from everything else: their environment holds the lab's folder.
ENVIRONMENT = "LBLAB_KIND_LAB"

_PREFIX = "lblab-"


def cluster(lab: str) -> str:
    """The name that kind has for a lab's cluster; it is also that of the lab's Docker network."""
    return _PREFIX + lab


def owner() -> str:
    """Whose labs these are: a user's on a machine, and of this folder of labs (LBLAB_RUN makes another one)."""
    return f"{os.getuid()}@{socket.gethostname()}:{registry.root()}"


def labels(lab: str) -> dict[str, str]:
    """The Docker labels of everything that lblab makes for a lab."""
    return {LAB_LABEL: lab, OWNER_LABEL: owner()}


def is_ours(found: Mapping[str, str] | None, lab: str) -> bool:
    """Whether labels say that something belongs to this lab of this user."""
    return found is not None and labels(lab).items() <= found.items()


def containers(lab: str, nodes: Iterable[str]) -> dict[str, str]:
    """The containers that kind makes, by the Kubernetes names of their nodes.

    kind calls them after the cluster: `-control-plane`, then `-worker`, `-worker2`, `-worker3` in the order of its
    configuration (kind, pkg/cluster/internal/providers/common/namer.go).

    Args:
        lab: The lab's name.
        nodes: The topology's nodes, in its order.
    """
    made = {CONTROL_PLANE: f"{cluster(lab)}-control-plane"}
    for number, node in enumerate(nodes, 1):
        made[node] = f"{cluster(lab)}-worker{number if number > 1 else ''}"
    return made
