"""The leader's speaker ends or hangs, or its node goes: who notices, when the next one announces, what clients lose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.expect import Expect
from harness.faults import NodeCrashed, NodeSilent, SpeakerKilled, SpeakerStalled, SpeakerStopped
from harness.lab import Lab
from harness.measure import Measured
from harness.metallb.expected import EXCLUDED
from harness.metallb.settled import BACK_WITHIN
from harness.timeline import event
from harness.verdict.predict import metallb_speaker_left, metallb_speaker_lost
from harness.wait import let_pass
from scenarios.l2_baseline.conftest import Announced, within

pytestmark = [pytest.mark.lab(topology="metallb-l2")]

Run = Callable[[Callable[[], None]], Measured]
#: Members of the memberlist in this topology.
N = 3
LOST = metallb_speaker_lost(N)
LEFT = metallb_speaker_left()
#: A Linux router verifies an entry that is used after at most 45 s and three unanswered questions (facts 2.2).
VERIFIED_WITHIN = 60.0


@pytest.mark.scorecard("announcer killed", web="metallb-l2")
def test_speaker_killed(
    lab: Lab, expect: Expect, web: str, leader: str, heir: str, announced: Announced, measured: Run
) -> None:
    """The others notice after memberlist's suspicion; no packet is lost, as the node goes on forwarding meanwhile."""
    times: list[float] = []

    def act() -> None:
        with lab.fault(SpeakerKilled(leader)) as fault:
            times.append(announced(web, heir, fault.at_ns, within=2 * LOST.high))
            lab.l2.wait_owner(web, heir, within=2)
            let_pass(1)
        lab.l2.wait_owner(web, leader, within=BACK_WITHIN)

    runs = expect.runs(lambda: measured(act))
    expect.no_outage(runs, window=LOST.low, precondition="the address moved to another node and back", held=True)
    within(times[-len(runs) :], LOST)


@pytest.mark.scorecard("announcer stopped in order", web="metallb-l2")
def test_speaker_stopped(
    lab: Lab, expect: Expect, web: str, leader: str, heir: str, announced: Announced, measured: Run
) -> None:
    """A planned leave is told: the next one announces within a second, and no packet is lost."""
    times: list[float] = []

    def act() -> None:
        with lab.fault(SpeakerStopped(leader)) as fault:
            times.append(announced(web, heir, fault.at_ns, within=5))
            lab.l2.wait_owner(web, heir, within=2)
            let_pass(LOST.high)

    runs = expect.runs(lambda: measured(act))
    expect.no_outage(runs, window=LOST.high, precondition="the address moved to another node", held=True)
    within(times[-len(runs) :], LEFT, slack=0)


@pytest.mark.scorecard("announcer stalls", web="metallb-l2")
def test_speaker_stalled(
    lab: Lab, expect: Expect, web: str, leader: str, heir: str, announced: Announced, measured: Run
) -> None:
    """A speaker that hangs is given up like a dead one; when it runs again it has the address back, and tells nobody.

    It never knew that it was given up, so it has no reason to announce anything; the other withdraws without a word.
    The router sends to a node that does not answer for the address any more until it verifies its entry. No packet is
    lost for that, as long as that node forwards (policy Cluster).
    """
    times: list[float] = []

    def act() -> None:
        with lab.fault(SpeakerStalled(leader)) as fault:
            times.append(announced(web, heir, fault.at_ns, within=2 * LOST.high))
            lab.l2.wait_owner(web, heir, within=2)
        lab.l2.wait_owner(web, leader, within=VERIFIED_WITHIN)
        assert fault.undone_at_ns is not None
        assert not lab.timeline.events(fault.undone_at_ns).of(event.ARP_ANNOUNCED, address=web, node=leader)

    runs = expect.runs(lambda: measured(act))
    expect.no_outage(runs, window=LOST.low, precondition="the address moved to another node and back", held=True)
    within(times[-len(runs) :], LOST)


@pytest.mark.scorecard("node dies silently", web="metallb-l2")
@pytest.mark.parametrize("fault", [NodeSilent, NodeCrashed])
def test_node_lost(
    lab: Lab, expect: Expect, web: str, leader: str, heir: str, measured: Run, fault: type[NodeSilent | NodeCrashed]
) -> None:
    """A node that says nothing more takes every flow with it until the next one has announced the address."""

    def act() -> None:
        with lab.fault(fault(leader)):
            lab.l2.wait_owner(web, heir, within=2 * LOST.high)
            let_pass(2)
        lab.l2.wait_owner(web, leader, within=BACK_WITHIN)

    runs = expect.runs(lambda: measured(act))
    expect.outage_between(runs, min_ms=LOST.low * 1e3 - 100, max_ms=LOST.high * 1e3 + 500, predicted=LOST)


def test_the_old_leader_takes_its_address_back(
    lab: Lab, web: str, leader: str, heir: str, announced: Announced
) -> None:
    """No stickiness: one incident is two moves, and both are announced."""
    fault = lab.fault(SpeakerStopped(leader))
    announced(web, heir, fault.at_ns, within=5)
    lab.l2.wait_owner(web, heir, within=2)
    started = lab.node(leader).speaker.start()
    lab.l2.wait_owner(web, leader, within=BACK_WITHIN)
    lab.l2.hold_owner(web, leader, window=6)  # longer than the loser's own announcements last (4.4 s)
    moves = [each.data["node"] for each in lab.timeline.events(fault.at_ns).of(event.ARP_ANNOUNCED, address=web)]
    assert list(dict.fromkeys(moves)) == [heir, leader]
    assert lab.timeline.events(started).first(event.ARP_ANNOUNCED, address=web, node=leader)


@pytest.mark.scorecard("node drained", web="metallb-l2")
def test_a_drained_node_leads_on_until_it_is_excluded(
    lab: Lab, expect: Expect, web: str, leader: str, heir: str, measured: Run
) -> None:
    """Draining moves pods, not addresses: the speaker's DaemonSet stays. The label moves them; no packet is lost."""

    def act() -> None:
        lab.node(leader).drain()
        lab.l2.hold_owner(web, leader, window=LOST.high)
        node = lab.node(leader)
        node.add_label(EXCLUDED, "")
        lab.l2.wait_owner(web, heir, within=3)
        let_pass(1)
        node.remove_label(EXCLUDED)
        node.cordon(False)
        lab.l2.wait_owner(web, leader, within=BACK_WITHIN)

    runs = expect.runs(lambda: measured(act))
    expect.no_outage(runs, window=LOST.high, precondition="the address moved to another node", held=True)
