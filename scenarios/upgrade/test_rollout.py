"""Cilium is upgraded under traffic: agents one node after the other, versions mixed in between, and the API changed.

These take a second Cilium version, `--upgrade-to`, or the next minor that lblab knows: `lblab upgrade 1.18.0 1.19.4`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness import negotiation
from harness.cilium import semver
from harness.cilium.peering import Generation, Peering, generations, render
from harness.errors import MissingCapability
from harness.expect import Expect
from harness.lab import Lab
from harness.measure import Measured, Probe, together
from harness.node import Node
from harness.router import Router
from harness.timeline import event
from harness.verdict.predict import Prediction
from harness.wait import let_pass, until

pytestmark = [pytest.mark.slow]

#: Flows of each probe: all on one next hop of two has a probability of 1 in 2^15.
FLOWS, RATE = 16, 50
#: Outages of seconds are told from none: a busy core that delays the prober does not blur them.
RESOLUTION_MS = 50
PORT = 7777
#: Seconds for a restarted agent to be connected and heard: 5 to 10 s before GoBGP 3.35 (facts/cilium.md 3.3).
BACK_WITHIN = 30.0
#: A node that says nothing of itself for that long has no next hop: idle hold 5 s, connect 1 to 10 s, start 1 s.
SWITCHED_MS = 20_000


def announcing(lab: Lab) -> list[Node]:
    """The nodes that speak BGP."""
    return [node for node in lab.nodes.values() if "io.cilium/bgp" in node.labels]


def sessions(lab: Lab, node: Node) -> dict[str, int]:
    """How often each router has had a session with a node: what `heard` waits to see grow."""
    return {name: router.bgp.peer(node.address).established_count for name, router in lab.routers.items()}


def heard(lab: Lab, node: Node, prefix: str, before: Mapping[str, int]) -> None:
    """Wait until every router has a new session with a node, and has heard its route on it."""
    for name, count in before.items():
        _heard_by(lab.router(name), node, prefix, count)


def _heard_by(router: Router, node: Node, prefix: str, before: int) -> None:
    until(
        f"{router.name}'s next session with {node.name}",
        lambda: router.bgp.peer(node.address),
        lambda peer: peer.established and peer.established_count > before,
        within=BACK_WITHIN,
        show=lambda peer: f"{peer.state}, {peer.established_count} sessions so far",
    )
    until(
        f"{router.name} to have {prefix} of {node.name}, fresh",
        lambda: router.bgp.next_hops(prefix, stale=False),
        lambda hops: node.address in hops,
        within=BACK_WITHIN,
        show=lambda hops: f"fresh next hops {', '.join(sorted(hops)) or 'none'}",
    )


def roll(lab: Lab, target: str, prefix: str) -> None:
    """Replace the operator, then one agent after the other; each has to be back before the next one goes."""
    lab.cilium.upgrade_operator(target)
    speakers = {node.name for node in announcing(lab)}
    for number, node in enumerate(lab.nodes.values()):
        before = sessions(lab, node) if node.name in speakers else {}
        lab.cilium.upgrade_agent(node.name, target)
        heard(lab, node, prefix, before)
        assert lab.cilium.mixed == (number + 1 < len(lab.nodes)), "the precondition: versions are mixed in between"


@pytest.mark.lab(topology="failover", fresh=True, timers="manifest")
def test_agents_are_replaced_node_by_node(lab: Lab, expect: Expect, target: str) -> None:
    """With graceful restart no packet is lost, and no flow moves; without it flows move to the other node and back."""
    modes = ("graceful", "plain")
    timers = [negotiation.graceful(lab, "graceful", node.name) for node in announcing(lab)]
    web = lab.service("cluster")
    probes = {
        mode: Probe(
            lab,
            web.address,
            PORT,
            client=f"client-{mode}",
            rate=RATE,
            flows=FLOWS,
            resolution_ms=RESOLUTION_MS,
            name=f"upgrade, {mode}",
        )
        for mode in modes
    }

    with together(probes):
        roll(lab, target, web.prefix)
        let_pass(2)
    measured: Mapping[str, Measured] = {mode: probe.measured for mode, probe in probes.items()}
    assert {*lab.cilium.versions.values()} == {target}
    for mode in modes:
        dropped = [lab.router(mode).bgp.peer(node.address).dropped_count for node in announcing(lab)]
        expect.no_outage(
            measured[mode],
            window=timers[0].hold,
            precondition="each agent's session was lost and came back, one node after the other",
            held=all(dropped),
        )
    assert measured["graceful"].analysis.moves == [], "flows moved although the routes were kept"
    assert measured["plain"].analysis.moves, "no flow moved although routes were gone: the control is blind"


@pytest.mark.lab(topology="small", fresh=True, timers="manifest")
def test_policy_gives_way_to_cluster_config_by_an_upgrade(
    lab: Lab, expect: Expect, target: str, quick_peering: Callable[..., Peering]
) -> None:
    """Both APIs' objects are there before the upgrade: 1.18 obeys the policy, 1.19 knows the other one only.

    So each node changes over with its agent's restart, under graceful restart: facts/cilium.md 1.4.
    """
    version = semver.parse(lab.cilium_version)
    if Generation.POLICY not in generations(version) or Generation.V2 not in generations(version):
        raise MissingCapability(f"Cilium {version} does not serve both APIs; 1.18 does")
    if Generation.POLICY in generations(semver.parse(target)):
        raise MissingCapability(f"Cilium {target} still obeys policies; 1.19 does not")
    web = lab.service("web")
    before = {node.name: sessions(lab, node) for node in announcing(lab)}
    lab.peer(quick_peering(), Generation.POLICY)
    for node in announcing(lab):
        heard(lab, node, web.prefix, before[node.name])
    lab.apply(render(quick_peering(), version, Generation.V2))
    lab.hold_next_hops(web.prefix, lab.nodes, window=3)
    timers = negotiation.graceful(lab, lab.router().name, "worker1")
    probe = _probe(lab, "policy to cluster config")
    with probe:
        roll(lab, target, web.prefix)
        let_pass(2)
    dropped = [lab.router().bgp.peer(node.address).dropped_count for node in announcing(lab)]
    expect.no_outage(
        probe.measured,
        window=timers.hold,
        precondition="each node's session was lost and came back by the other API",
        held=all(dropped),
    )


@pytest.mark.lab(topology="small", fresh=True, timers="manifest")
@pytest.mark.parametrize("step", ["at once", "node by node"])
def test_policy_gives_way_to_cluster_config_in_place(
    lab: Lab, expect: Expect, step: str, quick_peering: Callable[..., Peering]
) -> None:
    """The policy is deleted with its successor in place: a full destroy with a Cease, not a graceful restart.

    Every node at once: all routes are gone until the sessions are back. Node by node, by the label that the policy
    selects: the other node takes the flows. Cilium 3a9fe756ca, facts/cilium.md 1.4 and 2.5.
    """
    version = semver.parse(lab.cilium_version)
    newest = next((one for one in generations(version) if one is not Generation.POLICY), None)
    if newest is None or Generation.POLICY not in generations(version):
        raise MissingCapability(f"Cilium {version} serves one API only; 1.16 to 1.18 serve both")
    label = "lblab/policy"
    for node in lab.nodes.values():
        node.add_label(label, "old")
    old = quick_peering()
    selected = Peering(instances=old.instances, name="old", nodes={"matchLabels": {label: "old"}})
    web = lab.service("web")
    before = {node.name: sessions(lab, node) for node in announcing(lab)}
    lab.peer(selected, Generation.POLICY)
    for node in announcing(lab):
        heard(lab, node, web.prefix, before[node.name])
    lab.apply(render(old, version, newest, nodes=list(lab.nodes)))
    lab.hold_next_hops(web.prefix, lab.nodes, window=3)
    before = {node.name: sessions(lab, node) for node in announcing(lab)}
    probe = _probe(lab, f"policy to cluster config {step}")
    with probe:
        if step == "at once":
            lab.cluster.delete("ciliumbgppeeringpolicies.cilium.io", "old")
        for node in announcing(lab):
            if step != "at once":
                node.remove_label(label)
            heard(lab, node, web.prefix, before[node.name])
        let_pass(2)
    ends = [one.text for one in lab.timeline.events().of(event.PEER_DOWN) if "NOTIFICATION" in one.text]
    assert ends, "a full destroy says so by a NOTIFICATION"
    gone = Prediction(0.5, 3.0, SWITCHED_MS / 1e3, "until the sessions are back", "facts/cilium.md 2.5, 3.3")
    if step == "at once":
        expect.outage_between(probe.measured, min_ms=300, max_ms=SWITCHED_MS, predicted=gone)
    else:
        expect.outage(probe.measured, max_ms=300)


def _probe(lab: Lab, name: str) -> Probe:
    address = lab.service("web").address
    return Probe(lab, address, PORT, rate=RATE, flows=FLOWS, resolution_ms=RESOLUTION_MS, name=name)
