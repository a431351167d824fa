"""`lblab migrate`: the objects that it makes of a CiliumBGPPeeringPolicy give the routers what the policy gave them.

For versions that serve both APIs, 1.16 to 1.18: `pytest scenarios/upgrade/test_migrate.py --cilium-version 1.18.0`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from harness import manifests
from harness.cilium import semver
from harness.cilium.migrate.translate import migrate
from harness.cilium.peering import Communities, Generation, Peering, generations, render
from harness.errors import MissingCapability
from harness.lab import Lab
from harness.wait import until

#: Seconds in which a session that ended with a Cease is up again and has told its routes: Cilium waits 5 s before it
#: connects (facts/cilium.md 1.1), the quick peer retries each second.
RECONNECT = 15.0

Paths = dict[str, set[tuple[Any, ...]]]


@pytest.fixture
def policy(lab: Lab, quick_peering: Callable[..., Peering]) -> list[dict[str, Any]]:
    """The lab's peering as a CiliumBGPPeeringPolicy that a user might have, in force."""
    version = semver.parse(lab.cilium_version)
    if Generation.POLICY not in generations(version) or len(generations(version)) < 2:
        raise MissingCapability(
            f"Cilium {version} does not serve CiliumBGPPeeringPolicy and the API after it", hint="1.16 to 1.18 do"
        )
    peering = quick_peering(restart_time=20, communities=Communities(standard=("64513:100",)))
    lab.peer(peering, Generation.POLICY)
    lab.wait_next_hops(lab.service("web").prefix, lab.nodes, within=RECONNECT)
    return render(peering, version, Generation.POLICY)


def translated(policy: Iterable[Mapping[str, Any]], lab: Lab) -> list[dict[str, Any]]:
    done = migrate(manifests.load_objects(policy), semver.parse(lab.cilium_version))
    assert done.complete, [str(message) for message in done.messages]
    return [document.object for documents in done.documents.values() for document in documents]


def routes(lab: Lab) -> Paths:
    """What the nodes announce: every prefix with its paths' next hops and attributes."""
    return {
        prefix: {(path.next_hop, path.as_path, path.communities, path.origin, path.med) for path in route.paths}
        for prefix, route in lab.router().bgp.routes().items()
        if any(path.as_path for path in route.paths)
    }


def sessions(lab: Lab) -> dict[str, tuple[Any, ...]]:
    """What was negotiated with each node."""
    return {
        address: (peer.remote_as, peer.hold_time, peer.graceful_restart) for address, peer in lab.router().bgp.peers().items()
    }


def test_old_and_new_objects_give_the_same_routes(lab: Lab, policy: list[dict[str, Any]]) -> None:
    """The policy is swapped for its translation; sessions and routes are the same afterwards."""
    before, negotiated = routes(lab), sessions(lab)
    assert lab.service("web").prefix in before
    lab.apply(translated(policy, lab))
    lab.delete(policy)
    lab.wait_next_hops(lab.service("web").prefix, lab.nodes, within=RECONNECT)
    until(lambda: routes(lab) == before, within=RECONNECT, waiting_for="the same routes")
    assert sessions(lab) == negotiated
