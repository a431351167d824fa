"""`lblab migrate`: the objects that it makes of a CiliumBGPPeeringPolicy give the routers what the policy gave them.

For versions that serve both APIs, 1.16 to 1.18: `pytest scenarios/upgrade/test_migrate.py --cilium-version 1.18.0`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from harness import manifests
from harness.cilium import semver
from harness.cilium.migrate.policy import KIND
from harness.cilium.migrate.translate import migrate
from harness.cilium.peering import Communities, Generation, Peering, generations, render
from harness.errors import MissingCapability
from harness.lab import Lab
from harness.wait import steady, until

#: Seconds in which a session that ended with a Cease is up again and has told its routes: Cilium waits 5 s before it
#: connects (facts/cilium.md 1.1), the quick peer retries each second.
RECONNECT = 15.0


@pytest.fixture
def policy(lab: Lab, quick_peering: Callable[..., Peering]) -> list[dict[str, Any]]:
    """The lab's peering as a CiliumBGPPeeringPolicy that a user might have, in force."""
    version = semver.parse(lab.cilium_version)
    served = generations(version)
    if Generation.POLICY not in served or len(served) < 2:
        raise MissingCapability(f"Cilium {version} does not serve {KIND} and the API after it", hint="1.16 to 1.18 do")
    peering = quick_peering(restart_time=20, multihop_ttl=10, communities=Communities(standard=("64513:100",)))
    lab.peer(peering, Generation.POLICY)
    lab.wait_next_hops(lab.service("web").prefix, lab.nodes, within=RECONNECT)
    return render(peering, version, Generation.POLICY)


def translated(policy: Iterable[Mapping[str, Any]], lab: Lab) -> list[dict[str, Any]]:
    """The objects that `lblab migrate` makes of it for this Cilium version."""
    done = migrate(manifests.load_objects(policy), semver.parse(lab.cilium_version))
    assert done.complete, [str(message) for message in done.messages]
    return [document.object for documents in done.documents.values() for document in documents]


def announced(lab: Lab) -> dict[str, set[tuple[Any, ...]]]:
    """What the nodes announce: every prefix, with next hops and attributes of its paths."""
    return {
        prefix: {
            (path.next_hop, path.as_path, path.communities, path.large_communities, path.origin, path.med)
            for path in route.paths
        }
        for prefix, route in lab.router().bgp.routes().items()
        if any(path.as_path for path in route.paths)
    }


def negotiated(lab: Lab) -> dict[str, tuple[Any, ...]]:
    """What each session has agreed on; empty while one is not established."""
    peers = [lab.router().bgp.peer(node.address) for node in lab.nodes.values()]
    if not all(peer.established for peer in peers):
        return {}
    return {
        peer.address: (
            peer.remote_as,
            peer.hold,
            peer.keepalive,
            peer.graceful_restart.capability,
            peer.graceful_restart.restart_time,
            frozenset(peer.prefixes_received),
        )
        for peer in peers
    }


def test_old_and_new_objects_give_the_same_routes(lab: Lab, policy: list[dict[str, Any]]) -> None:
    """The policy is swapped for what `lblab migrate` makes of it; sessions and routes are the same afterwards."""
    web = lab.service("web").prefix
    routes, sessions = announced(lab), negotiated(lab)
    assert ("64513:100",) in {communities for _, _, communities, *_ in routes[web]}, "nothing to compare"
    assert sessions, "nothing to compare"
    lab.apply(translated(policy, lab))
    lab.delete(policy)
    until("the same sessions as before", lambda: negotiated(lab), sessions.__eq__, within=RECONNECT)
    until("the same routes as before", lambda: announced(lab), routes.__eq__, within=RECONNECT)
    lab.wait_next_hops(web, lab.nodes)


def test_without_the_selector_of_advertisements_nothing_is_announced(lab: Lab, policy: list[dict[str, Any]]) -> None:
    """Negative control: the trap that the translation avoids is one; sessions come up, routes do not."""
    web = lab.service("web").prefix
    objects = translated(policy, lab)
    for config in objects:
        for family in config["spec"].get("families", ()):
            del family["advertisements"]
    lab.apply(objects)
    lab.delete(policy)
    lab.wait_next_hops(web, (), within=RECONNECT)
    until("established sessions", lambda: negotiated(lab), within=RECONNECT)
    steady("no route to the service", lambda: web not in announced(lab), window=2.0)


def test_node_after_node_by_a_label(lab: Lab, policy: list[dict[str, Any]]) -> None:
    """The advice of `lblab migrate`: nodes leave the policy by a label, and the others' sessions do not notice."""
    web = lab.service("web").prefix
    lab.apply(translated(policy, lab))
    excluded = {"key": "bgp-migrated", "operator": "DoesNotExist"}
    selector = policy[0]["spec"].setdefault("nodeSelector", {})
    selector["matchExpressions"] = [*selector.get("matchExpressions", ()), excluded]
    lab.apply(policy)
    first, *others = lab.nodes.values()
    dropped = {node.name: lab.router().bgp.peer(node.address).dropped_count for node in lab.nodes.values()}
    first.add_label("bgp-migrated", "true")
    until(
        f"a new session with {first.name}",
        lambda: lab.router().bgp.peer(first.address),
        lambda peer: peer.established and peer.dropped_count > dropped[first.name],
        within=RECONNECT,
    )
    lab.wait_next_hops(web, lab.nodes, within=RECONNECT)
    for node in others:
        assert lab.router().bgp.peer(node.address).dropped_count == dropped[node.name]
