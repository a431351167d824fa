"""Cilium's L2 announcements: the holder, or its way to the API server, is gone without a word."""

from __future__ import annotations

import time

import pytest

from harness.errors import MissingCapability
from harness.expect import Expect
from harness.faults import ApiServerFiltered, ApiServerGone, LinkDown, NodeCrashed, NodeSilent
from harness.faults.base import Fault
from harness.lab import Lab
from harness.measure import Measured
from harness.timeline import event
from harness.verdict.predict import Lease, cilium_l2_given_up, cilium_l2_node_lost
from harness.wait import let_pass, steady, until
from scenarios.l2_baseline.cilium import GIVES_UP_SINCE, Announced, minor

pytestmark = [pytest.mark.lab(topology="cilium-l2")]

#: Seconds that a busy machine may add to what the timers say.
_MARGIN = 1.5


@pytest.fixture
def announced(lab: Lab) -> Announced:
    """The service whose backends are on a node that does not announce."""
    return Announced(lab)


def lost(lab: Lab, expect: Expect, announced: Announced, fault: type[NodeSilent | LinkDown | NodeCrashed]) -> None:
    """The holder vanishes: all traffic is lost until its lease has run out and another node has taken it."""
    predicted = cilium_l2_node_lost(announced.lease)

    def run() -> Measured:
        holder = announced.holder()
        other = announced.other(holder)

        def act() -> None:
            injected = lab.fault(_made(fault, holder))
            announced.wait_at_router(other, within=predicted.high + 10)
            injected.undo()
            # it does not come back: a lease stays with who has it, where MetalLB's election takes the address back
            steady("the lease", announced.service.lease_holder, lambda seen: seen == other, window=3)

        return announced.measure(act)

    expect.outage_between(
        expect.runs(run),
        min_ms=predicted.low * 1e3 - 500,
        max_ms=predicted.high * 1e3 + _MARGIN * 1e3,
        predicted=predicted,
    )


def _made(kind: type[NodeSilent | LinkDown | NodeCrashed], holder: str) -> Fault:
    return kind(holder)


@pytest.mark.scorecard("node dies silently", cluster="cilium-l2")
def test_node_silent(lab: Lab, expect: Expect, announced: Announced) -> None:
    """All frames of the holder are lost in between, and nobody notices but the lease."""
    lost(lab, expect, announced, NodeSilent)


@pytest.mark.scorecard("node's link down", cluster="cilium-l2")
def test_link_down(lab: Lab, expect: Expect, announced: Announced) -> None:
    """The holder's interface goes down: Cilium's lease does not follow it (cilium#35507), it runs out."""
    lost(lab, expect, announced, LinkDown)


@pytest.mark.scorecard("node loses its power", cluster="cilium-l2")
def test_power_loss(lab: Lab, expect: Expect, announced: Announced) -> None:
    """Everything on the holder ends at once, its responder, too."""
    lost(lab, expect, announced, NodeCrashed)


@pytest.mark.scorecard("node loses IP, still answers ARP", cluster="cilium-l2")
def test_node_silent_for_ip_only(lab: Lab, expect: Expect, announced: Announced) -> None:
    """Only IP is dropped, ARP still works: other than MetalLB's, Cilium's holder falls silent, as its lease is lost.

    On a real cluster MetalLB's isolated speaker kept the router's entry for the whole partition
    (facts/l2_and_lag.md, section 7).
    """
    predicted = cilium_l2_node_lost(announced.lease)

    def run() -> Measured:
        holder = announced.holder()
        other = announced.other(holder)

        def act() -> None:
            with lab.fault(NodeSilent(holder, arp=False)):
                assert announced.answering() == {holder}, "ARP was dropped, too"
                announced.wait_at_router(other, within=predicted.high + 10)
                # up to 1.16 the old one answers on, and only its missing gratuitous ARP keeps the router where it is
                left = {other} if minor(lab) >= GIVES_UP_SINCE else {holder, other}
                announced.wait_answering(left, within=cilium_l2_given_up(announced.lease).high)
                # long enough that the router has asked again where it verifies its entry
                steady("the router's entry", announced.at_router, lambda seen: seen == other, window=3)

        return announced.measure(act)

    expect.outage_between(
        expect.runs(run),
        min_ms=predicted.low * 1e3 - 500,
        max_ms=predicted.high * 1e3 + _MARGIN * 1e3,
        predicted=predicted,
    )


@pytest.mark.slow
@pytest.mark.lab(topology="cilium-l2", timers="manifest")
def test_node_silent_with_ciliums_timers(lab: Lab, expect: Expect, announced: Announced) -> None:
    """Lease 15 s, retry 2 s: 14 to 18 s on a real cluster (facts/l2_and_lag.md, section 7)."""
    assert announced.lease == Lease(15.0, 2.0, 5.0)
    lost(lab, expect, announced, NodeSilent)


def test_api_server_away_from_the_holder(lab: Lab, expect: Expect, announced: Announced) -> None:
    """The lease is lost although the node is well: it answers no more after two renew deadlines, another one later.

    In between nobody answers, and clients notice nothing as long as the router does not ask. Up to 1.16 the holder
    never gives up while the API server is away: two nodes answer until it is back.
    """
    predicted, gives_up = cilium_l2_node_lost(announced.lease), cilium_l2_given_up(announced.lease)
    took = []

    def run() -> Measured:
        holder = announced.holder()
        other = announced.other(holder)

        def act() -> None:
            with lab.fault(ApiServerFiltered(holder)) as fault:
                if minor(lab) >= GIVES_UP_SINCE:
                    within = gives_up.high + _MARGIN
                    until("the holder to give up", announced.programmed, lambda seen: holder not in seen, within=within)
                    gone = (time.monotonic_ns() - fault.at_ns) / 1e9
                    assert gone >= gives_up.low - 0.1, f"given up after {gone:.1f} s, {gives_up}"
                taken = lab.timeline.wait(event.LEASE, within=60, after_ns=fault.at_ns, holder=other)
                took.append((taken.at_ns - fault.at_ns) / 1e9)
                announced.wait_at_router(other)
                announced.wait_answering({other} if minor(lab) >= GIVES_UP_SINCE else {holder, other}, within=2)
            steady("the lease", announced.service.lease_holder, lambda seen: seen == other, window=2)

        return announced.measure(act)

    runs = expect.runs(run)
    for seconds in took:
        assert predicted.low - 0.5 <= seconds <= predicted.high + _MARGIN, f"taken after {seconds:.1f} s, {predicted}"
    for one in runs:
        assert one.analysis.moves, "no flow moved: the control is blind"
    expect.no_outage(runs, window=announced.lease.duration, precondition="the lease was lost", held=bool(took))


def test_router_asks_while_nobody_answers(lab: Lab, expect: Expect, announced: Announced) -> None:
    """The control of the one before: the router forgets its entry in the gap, and packets wait for the next holder."""
    if minor(lab) < GIVES_UP_SINCE:
        raise MissingCapability(f"with Cilium {lab.cilium_version} there is no time in which nobody answers")
    predicted = cilium_l2_node_lost(announced.lease)

    def run() -> Measured:
        holder = announced.holder()
        other = announced.other(holder)

        def act() -> None:
            with lab.fault(ApiServerFiltered(holder)):
                until("nobody to answer", announced.answering, lambda seen: not seen, within=predicted.high)
                lab.router().forget_neighbour(announced.address)
                announced.wait_at_router(other, within=predicted.high + 5)

        return announced.measure(act)

    # from the moment in which the holder gives up until the other one has the lease, and a second until the router asks
    longest = predicted.high - cilium_l2_given_up(announced.lease).low + 1 + _MARGIN
    expect.outage_between(expect.runs(run), min_ms=30, max_ms=longest * 1e3)


def test_api_server_gone(lab: Lab, announced: Announced) -> None:
    """Without an API server nobody can hold a lease: no node answers, until it is back. MetalLB needs none for that."""
    announced.wait_connected()
    holder, address = announced.holder(), announced.address
    announced.wait_answering({holder}, within=10)
    with lab.fault(ApiServerGone()):
        gives_up = cilium_l2_given_up(announced.lease).high + _MARGIN
        until("the holder to give up", lambda: announced.answering(address), lambda seen: not seen, within=gives_up)
        # longer than the lease: nobody takes it
        window = announced.lease.duration + 1
        steady("nobody", lambda: announced.answering(address), lambda seen: not seen, window=window)
    lab.cluster.wait_ready(within=30)
    new = announced.service.wait_lease_holder(within=30)
    announced.wait_answering({new}, within=10)
    assert new in {holder, announced.other(holder)}
    let_pass(1)
    assert announced.answering() == {new}
