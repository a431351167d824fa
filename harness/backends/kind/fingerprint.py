"""What of a lab its cluster is made for: labs of one fingerprint can have one cluster, one after another. Pure.

Routers, clients, switches and manifests are not part of it: they are lblab's own, and change around the nodes.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from harness.backends.request import Request
from harness.topology import Topology


def fingerprint(request: Request) -> str:
    """The fingerprint of a lab that is wanted."""
    topology = request.topology
    return _digest(
        {
            **nodes(topology),
            "cilium": [request.cilium_version, _cilium(topology)],
            "metallb": [request.metallb_version, topology.metallb and topology.metallb.model_dump(mode="json")],
            "options": str(request.kind),
        }
    )


def group(topology: Topology) -> str:
    """What scenarios are brought together by, so that as few clusters as possible are made."""
    metallb = topology.metallb and topology.metallb.model_dump(mode="json")
    return _digest({**nodes(topology), "cilium": topology.cilium.model_dump(mode="json"), "metallb": metallb})


def nodes(topology: Topology) -> dict[str, Any]:
    """The part of a topology that kind and kubeadm are told."""
    inhabited = {topology.control_plane.network, *(node.network for node in topology.nodes.values())}
    return {
        "control plane": topology.control_plane.model_dump(mode="json"),
        "nodes": {
            name: node.model_dump(mode="json", include={"network", "address"}) for name, node in topology.nodes.items()
        },
        "subnets": {network: topology.networks[network].model_dump(mode="json") for network in inhabited},
        "cluster": topology.cluster.model_dump(mode="json"),
    }


def _cilium(topology: Topology) -> dict[str, Any]:
    """Cilium's settings, without the timers of announcements that are off."""
    settings: dict[str, Any] = topology.cilium.model_dump(mode="json")
    if not topology.cilium.l2announcements.enabled:
        settings.pop("l2announcements")
    return settings


def _digest(decisive: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
