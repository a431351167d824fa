"""Fixtures that scenarios of every family share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.cilium.peering import EVERY_SERVICE, Instance, Peer, Peering
from harness.lab import Lab

#: The guide's AS numbers (shared/facts/seed.md).
ROUTER_ASN, CLUSTER_ASN = 64512, 64513
#: Nodes that the guide's manifests select.
BGP_NODES = {"matchLabels": {"io.cilium/bgp": "worker"}}


@pytest.fixture
def quick_peer(lab: Lab) -> Callable[..., Peer]:
    """A peer at the lab's first router, with timers short enough to wait for; any field may be given anew."""
    network = lab.topology.control_plane.network
    address = str(next(iter(lab.topology.routers.values())).interfaces[network].address[0])

    def make(**changes: Any) -> Peer:
        timers = {"connect_retry_time": 1, "hold_time": 9, "keepalive_time": 3, "restart_time": 20}
        return Peer(**{"address": address, "asn": ROUTER_ASN, **timers, **changes})

    return make


@pytest.fixture
def quick_peering(quick_peer: Callable[..., Peer]) -> Callable[..., Peering]:
    """A peering of every labelled node with the lab's first router; `services` and the peer's fields may be given."""

    def make(services: Any = EVERY_SERVICE, **peer: Any) -> Peering:
        instance = Instance(local_asn=CLUSTER_ASN, peers=(quick_peer(**peer),), services=services)
        return Peering(instances=(instance,), nodes=BGP_NODES)

    return make
