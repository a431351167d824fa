"""MetalLB with Cilium's L2 announcements left on beside it: two nodes answer ARP for one address.

How that comes about, and what FreeBSD's ARP makes of it: facts/l2_and_lag.md, sections 0 and 2.3 (F6). The router
here is Linux, which keeps the first of two answers and does not ask again while it has one: it hides the mistake.
"""

from __future__ import annotations

import pytest

from harness.expect import Expect
from harness.faults import NodeSilent
from harness.lab import Lab
from harness.measure import Measured
from harness.verdict.predict import metallb_speaker_lost
from harness.wait import let_pass, until
from scenarios.l2_baseline.cilium import LABEL, VALUE, Announced

pytestmark = [pytest.mark.lab(topology="two-announcers")]

#: Seconds of a series of MetalLB's gratuitous ARP (facts/l2_and_lag.md, section 1.2: 4.4 s), and some.
_ANNOUNCED_AGAIN = 6.0
#: Speakers of the topology.
_SPEAKERS = 2


@pytest.fixture
def web(lab: Lab) -> Announced:
    """The service whose backends are on a node that announces nothing."""
    return Announced(lab, "web")


def apart(lab: Lab, web: Announced) -> tuple[str, str]:
    """Let Cilium announce from the node that MetalLB does not; gives MetalLB's leader and Cilium's holder."""
    leader = next(node for node in ("worker1", "worker2") if lab.l2.announced_by("default/web") == {node})
    other = web.other(leader)
    lab.node(other).add_label(LABEL, VALUE)
    lab.node(leader).remove_label(LABEL)
    web.service.wait_lease_holder(other, within=30)
    web.wait_answering({leader, other}, within=10)
    return leader, other


def test_both_answer_and_a_linux_router_does_not_mind(lab: Lab, expect: Expect, web: Announced) -> None:
    """Two hardware addresses for one address, all day long, and no packet is lost: the router has no reason to ask."""
    until("one speaker to announce it", lambda: lab.l2.announced_by("default/web"), lambda at: len(at) == 1, within=20)
    # the control: with both on one node there is one hardware address
    leader = next(iter(lab.l2.announced_by("default/web")))
    lab.node(web.other(leader)).remove_label(LABEL)
    web.service.wait_lease_holder(leader, within=30)
    web.wait_answering({leader}, within=10)

    def run() -> Measured:
        both = set(apart(lab, web))
        lab.router().forget_neighbour(web.address)
        assert lab.l2.ask(web.address) in both
        # MetalLB announces an address again when a node's labels have changed; and Linux takes an answer that is late
        # by more than a second, as a busy node's may be
        let_pass(_ANNOUNCED_AGAIN)

        def act() -> None:
            for _ in range(5):
                assert web.answering() == both
                let_pass(1)

        return web.measure(act, at_router=both)

    runs = expect.runs(run)
    for one in runs:
        assert one.analysis.moves == [], "the router has changed its mind"
    expect.no_outage(runs, window=4, precondition="two nodes answered each question", held=True)


def test_a_second_announcer_is_no_spare(lab: Lab, expect: Expect, web: Announced) -> None:
    """MetalLB's leader falls silent: Cilium's holder answers all the time, and nobody asks it.

    The router goes on sending to the silent node until the next leader's gratuitous ARP, as if MetalLB were alone.
    """
    predicted = metallb_speaker_lost(_SPEAKERS)

    def run() -> Measured:
        until(
            "one speaker to announce it", lambda: lab.l2.announced_by("default/web"), lambda at: len(at) == 1, within=60
        )
        leader, other = apart(lab, web)
        # the router is with MetalLB's leader: it asks while Cilium's holder, whose answer may be the first, is silent
        with lab.fault(NodeSilent(other)):
            until("the router to be with MetalLB", lambda: _asked(lab, web), lambda node: node == leader, within=10)

        def act() -> None:
            with lab.fault(NodeSilent(leader)):
                assert web.answering() == {other}
                let_pass(predicted.high + 2)
                assert web.at_router() == other

        return web.measure(act, at_router={leader})

    # Linux may verify its entry in the meantime: it asks the silent node, and then everybody
    expect.outage_between(expect.runs(run), min_ms=1000, max_ms=predicted.high * 1e3 + 1000, predicted=predicted)


def _asked(lab: Lab, web: Announced) -> str | None:
    """Let the router ask anew, and give whose answer it has taken."""
    lab.router().forget_neighbour(web.address)
    return lab.l2.ask(web.address)
