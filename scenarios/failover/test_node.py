"""One of two announcing nodes goes away: which share of the flows breaks, and for how long.

Backends are on a third node (service `cluster`), so that what is measured is the announcement and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness.expect import Expect
from harness.faults.link import LinkDown
from harness.faults.node import NodeCrashed, NodeShutDown, NodeSilent
from harness.lab import Lab
from harness.measure import Measured
from harness.traffic.outages import share_of_flows
from harness.verdict.predict import BgpTimers, Prediction, node_killed, silent_node
from harness.wait import let_pass

Row = Callable[..., Mapping[str, Measured]]
MODES = ("graceful", "plain")
_MS = 1_000_000


def hit(measured: Measured, *, longer_than_ms: float = 200) -> float:
    """The share of the flows that had an outage worth the name."""
    return share_of_flows(measured.analysis.flows, longer_than=int(longer_than_ms * _MS))


def some_but_not_all(run: Mapping[str, Measured]) -> None:
    """Only flows that the router had hashed to the lost node are hit: half of them, give or take the hash."""
    for mode in MODES:
        assert 0.1 <= hit(run[mode]) <= 0.9, f"{mode}: {hit(run[mode]):.0%} of the flows were hit"


def silently(
    lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row, fault: NodeSilent | LinkDown | NodeCrashed
) -> None:
    """A node that says nothing more, until both routers have given it up."""

    def act() -> None:
        with lab.fault(fault):
            let_pass(negotiated.hold + negotiated.restart + 2)

    runs = expect.runs(lambda: row("cluster", act))
    for run in runs:
        some_but_not_all(run)
    for mode in MODES:
        predicted = silent_node(negotiated, graceful_restart=mode == "graceful")
        expect.outage_between(
            [run[mode] for run in runs],
            min_ms=predicted.low * 1e3 - 300,
            max_ms=predicted.high * 1e3 + 600,
            predicted=predicted,
        )


@pytest.mark.gate
@pytest.mark.scorecard("node dies silently", graceful="cilium-bgp-gr", plain="cilium-bgp")
@pytest.mark.lab(topology="failover")
def test_silent(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row) -> None:
    """All packets of the node are lost in between: hold time without graceful restart, hold + restart time with it."""
    silently(lab, expect, negotiated, row, NodeSilent("worker1"))


@pytest.mark.scorecard("node loses IP, still answers ARP", graceful="cilium-bgp-gr", plain="cilium-bgp")
@pytest.mark.lab(topology="failover")
def test_silent_for_ip_only(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row) -> None:
    """The node still answers ARP: for BGP that changes nothing (it does for L2: facts/l2_and_lag.md, section 7)."""
    silently(lab, expect, negotiated, row, NodeSilent("worker1", arp=False))


@pytest.mark.scorecard("node's link down", graceful="cilium-bgp-gr", plain="cilium-bgp")
@pytest.mark.lab(topology="failover")
def test_link_down_at_the_node(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row) -> None:
    """The node's interface goes down; behind a switch the router's carrier stays, so only the hold timer tells."""
    silently(lab, expect, negotiated, row, LinkDown("worker1"))


@pytest.mark.scorecard("node loses its power", graceful="cilium-bgp-gr", plain="cilium-bgp")
@pytest.mark.lab(topology="failover")
def test_power_loss(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row) -> None:
    """Everything on the node ends at once and nobody hears it."""
    silently(lab, expect, negotiated, row, NodeCrashed("worker1"))


@pytest.mark.lab(topology="failover", timers="manifest")
def test_silent_with_the_real_clusters_timers(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row) -> None:
    """Hold 9, restart 20: 27 to 28 s with graceful restart and 6 to 8.5 s without it on a real cluster."""
    assert (negotiated.hold, negotiated.restart) == (9, 20)

    def act() -> None:
        with lab.fault(NodeSilent("worker1")):
            let_pass(31)

    runs = expect.runs(lambda: row("cluster", act))
    for run in runs:
        some_but_not_all(run)
    for mode, low, high in (("graceful", 26.0, 29.5), ("plain", 5.9, 9.5)):
        predicted = silent_node(negotiated, graceful_restart=mode == "graceful")
        expect.outage_between([run[mode] for run in runs], min_ms=low * 1e3, max_ms=high * 1e3, predicted=predicted)


@pytest.mark.lab(topology="failover")
def test_user_space_ends(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row) -> None:
    """The node's processes end and its kernel closes their sockets, then its link goes (`docker kill` of a node).

    The router hears the end of TCP at once: without graceful restart it switches over at once, with it after the
    restart time, for which it sends packets to a node that is not there.
    """

    def act() -> None:
        with lab.fault(NodeCrashed("worker1", silent=False)):
            let_pass(negotiated.restart + 2)

    runs = expect.runs(lambda: row("cluster", act))
    for mode in MODES:
        predicted = node_killed(negotiated, graceful_restart=mode == "graceful")
        measured = [run[mode] for run in runs]
        if mode == "graceful":
            expect.outage_at_least(measured, min_ms=predicted.low * 1e3 - 500, predicted=predicted)
        expect.outage(measured, max_ms=predicted.high * 1e3 + 500, predicted=predicted)


@pytest.mark.scorecard("node shut down in order", graceful="cilium-bgp-gr", plain="cilium-bgp")
@pytest.mark.lab(topology="failover", fresh=True)  # the drained pods stay where they went
def test_shut_down_in_order(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row) -> None:
    """Drain, take the label off, stop, power off (facts/cilium.md 3.4, S4): both routers are told, and no flow waits.

    Cilium withdraws by a Cease, which with the N-bit is a Hard Reset, so graceful restart does not hold the route.
    """

    def act() -> None:
        with lab.fault(NodeShutDown("worker1", label="io.cilium/bgp")):
            let_pass(negotiated.hold + negotiated.restart + 2)

    runs = expect.runs(lambda: row("cluster", act))
    predicted = Prediction(0, 0.05, 0.4, "withdrawn before the node stops forwarding", "facts/cilium.md section 2.5")
    # a drained node of kind is busy for a second: kubelet, containerd and Cilium's eBPF share the pods' cores
    max_ms = 400 if lab.backend.kind == "netns" else 1500
    for mode in MODES:
        expect.outage([run[mode] for run in runs], max_ms=max_ms, predicted=predicted)


@pytest.mark.scorecard("node drained", graceful="cilium-bgp-gr", plain="cilium-bgp")
@pytest.mark.lab(topology="failover")
def test_label_removed(lab: Lab, expect: Expect, row: Row) -> None:
    """A node that is deselected goes on forwarding what still reaches it: not one packet is lost."""

    def act() -> None:
        lab.node("worker1").remove_label("io.cilium/bgp")
        for mode in MODES:
            lab.wait_next_hops(lab.service("cluster").prefix, ["worker2"], router=mode, within=30)
        let_pass(2)

    runs = expect.runs(lambda: row("cluster", act))
    for mode in MODES:
        expect.no_outage(
            [run[mode] for run in runs],
            window=1,
            precondition="both nodes were next hops and one was withdrawn",
            held=lab.next_hops(lab.service("cluster").prefix, mode).kernel == {"worker2"},
        )


@pytest.mark.slow
@pytest.mark.lab(topology="blog", timers="manifest")
def test_the_guides_timers_blackhole_a_silent_node(lab: Lab, expect: Expect) -> None:
    """Hold 90 + restart 120 s: the guide's own settings send a quarter of the flows to a dead node for minutes."""
    from harness.measure import Probe

    address = lab.router().bgp.peer(lab.node("k-node2").address)
    assert (address.hold, address.graceful_restart.restart_time) == (90, 120)
    timers = BgpTimers(90, 30, 120)
    pod_node = lab.service("test-lb").ready_backends()[0].node
    victim = next(name for name in lab.nodes if name != pod_node)
    lab.apply([_udp_service()])
    lab.converge()
    probe = Probe(lab, lab.service("echo").address, 80, rate=20, flows=32, resolution_ms=50)
    with probe, lab.fault(NodeSilent(victim)):
        let_pass(215)
    predicted = silent_node(timers, graceful_restart=True)
    expect.outage_between(probe.measured, min_ms=175_000, max_ms=212_000, predicted=predicted)


def _udp_service() -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "echo"},
        "spec": {"type": "LoadBalancer", "selector": {"svc": "test-lb"}, "ports": [{"port": 80, "protocol": "UDP"}]},
    }
