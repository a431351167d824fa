"""Two speakers that do not hear one another both claim an address: whom the router believes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.expect import Expect
from harness.faults import MemberlistFiltered, NodeSilent, SpeakerKilled, SpeakerStopped
from harness.lab import Lab
from harness.measure import Measured
from harness.metallb.settled import BACK_WITHIN
from harness.timeline import event
from harness.verdict.predict import metallb_speaker_lost
from harness.wait import let_pass
from scenarios.l2_baseline.conftest import Announced, within

Run = Callable[[Callable[[], None]], Measured]
N = 3
LOST = metallb_speaker_lost(N)
#: Seconds of the partition: until every announcement of both sides is over (two suspicions, one after the other, and a
#: series of 4.4 s), and less than memberlist's 30 s of gossip to the dead, after which a join takes up to a minute.
PARTITION = 24.0


def claims(lab: Lab, address: str, since_ns: int) -> list[str]:
    """The nodes that have announced an address since a moment, one for each frame."""
    return [str(each.data["node"]) for each in lab.timeline.events(since_ns).of(event.ARP_ANNOUNCED, address=address)]


@pytest.mark.scorecard("node loses IP, still answers ARP", web="metallb-l2")
@pytest.mark.lab(topology="metallb-l2", fresh=True)  # a member that was lost is joined only once a minute
def test_a_node_without_ip_that_still_answers_arp(
    lab: Lab, expect: Expect, web: str, leader: str, heir: str, measured: Run
) -> None:
    """IP is dropped, ARP is not: the isolated speaker elects itself, and a Linux router comes back to it.

    AF_PACKET passes the packet filter by. The others' verdict moves the address for a moment at most; the isolated
    speaker gives the others up one after the other, announces again each time, and has the last word, and packets are
    lost for as long as the partition lasts (facts/l2_and_lag.md section 7: 30 to 40 s, until it healed).
    """

    def act() -> None:
        with lab.fault(NodeSilent(leader, arp=False)) as fault:
            let_pass(PARTITION)
            told = claims(lab, web, fault.at_ns)
            assert {leader, heir} <= set(told), "both sides announce the address"
            assert told[-1] == leader, "the isolated one announces last"
            assert lab.l2.owner(web) == leader
        lab.l2.wait_owner(web, leader, within=BACK_WITHIN)

    runs = expect.runs(lambda: measured(act))
    expect.outage_at_least(runs, min_ms=LOST.low * 1e3)
    for run in runs:
        lost = sum(outage.duration for outage in run.analysis.outages) / 1e9
        assert lost >= 0.6 * PARTITION, f"lost for {lost:.1f} s of {PARTITION:g} s"


@pytest.mark.lab(topology="metallb-l2", fresh=True)
def test_a_leader_that_is_not_heard(
    lab: Lab, expect: Expect, web: str, leader: str, heir: str, announced: Announced, measured: Run
) -> None:
    """Memberlist's port dropped from the leader: the next one takes over beside it, and both nodes forward.

    Two answer for one address and nobody loses a packet, as either node's datapath serves it (policy Cluster).
    """
    times: list[float] = []

    def act() -> None:
        with lab.fault(MemberlistFiltered(leader, direction="from")) as fault:
            times.append(announced(web, heir, fault.at_ns, within=2 * LOST.high))
            let_pass(LOST.high)
            assert lab.node(leader).speaker.running
        lab.l2.wait_owner(web, leader, within=BACK_WITHIN)

    runs = expect.runs(lambda: measured(act))
    expect.no_outage(runs, window=LOST.low, precondition="another node announced the address", held=True)
    within(times[-len(runs) :], LOST)


@pytest.mark.slow
@pytest.mark.lab(topology="metallb-five", fresh=True)  # memberlist remembers those that have left
def test_nobody_confirms_a_suspicion(lab: Lab, record_property: Callable[[str, object], None]) -> None:
    """Of five speakers three have just been stopped when the fourth dies: the last one waits 24 s, not 4 s.

    With four known members and more memberlist wants two confirmations (facts/l2_and_lag.md 1.4), and those that have
    left are known for another 30 s. The control is the same loss with everybody there.
    """
    web = lab.service("web").address
    lab.converge()
    leader, *others = (lab.l2.leader(web) or "", *lab.l2.expected()[web].candidates)
    assert len(others) == 4
    confirmed = metallb_speaker_lost(5)
    fault = lab.fault(SpeakerKilled(leader))
    heard = lab.timeline.wait(event.ARP_ANNOUNCED, within=15, after_ns=fault.at_ns, address=web, node=others[0])
    within([(heard.at_ns - fault.at_ns) / 1e9], confirmed)
    fault.undo()
    lab.l2.wait_owner(web, leader, within=BACK_WITHIN)
    for node in others[1:]:
        lab.fault(SpeakerStopped(node))
    fault = lab.fault(SpeakerKilled(leader))
    heard = lab.timeline.wait(event.ARP_ANNOUNCED, within=45, after_ns=fault.at_ns, address=web, node=others[0])
    alone = (heard.at_ns - fault.at_ns) / 1e9
    record_property("takeover_seconds", round(alone, 3))
    print(f"nobody confirms: {alone:.2f} s")
    within([alone], metallb_speaker_lost(5, confirmed=False))
