"""Two announcers in their own time: one refresh of FreeBSD's entry, and what a Linux router makes of a late answer.

What scaling has to be true of, and what it cannot show: Linux's neighbour timers are not scaled in a lab, so that
there a late answer comes within the second in which Linux takes no other.
"""

from __future__ import annotations

import pytest

from harness.errors import Untrusted
from harness.lab import Lab
from harness.lag.gaps import Gaps
from harness.lag.watch import Players, Watch
from harness.timeline import event
from harness.verdict.arp import Freebsd
from harness.wait import let_pass, until
from scenarios.lag.conftest import Note, Refreshed, answers

pytestmark = [pytest.mark.slow, pytest.mark.lab(topology="lag", time_scale=1.0)]

#: How late MetalLB's speaker answers, and how far a gap may be from it.
LATE, WITHIN = 30.0, 1.0
#: Linux verifies an entry after 15 to 45 s, waits 5 s and asks its owner three times (facts/l2_and_lag.md, 2.2): one
#: that answers 30 s late loses it, twice at least within this time.
LINUX_WATCHED = 180.0


def judged(watch: Watch) -> Gaps:
    """The players' gaps of a run that may be believed."""
    if not watch.game.trust.trusted:
        raise Untrusted(str(watch.game.trust))
    return Gaps.of(watch.game, 1.0)


@pytest.mark.parametrize(("late", "lags"), [(0.5, False), (LATE, True)])
def test_a_late_answer_at_a_linux_router(lab: Lab, note: Note, late: float, lags: bool) -> None:
    """Late by less than a second it is not taken (locktime); later it is, and the entry goes back and forth.

    So a Linux router hides a second announcer only as long as both are prompt. It does not lag every twenty minutes
    then, but about once a minute: as often as it verifies its entry.
    """
    address = lab.service("game").address
    linux = lab.router("linux").arp
    with lab.node("worker1").announcer as slow, lab.node("worker2").announcer as quick:
        lab.router("linux").forget_neighbour(address)
        slow.announce(address, gratuitous=False)
        slow.delay(address, late)
        quick.announce(address, gratuitous=False)
        until("an answer", lambda: answers(lab, "client-linux", address), within=10)
        before = linux.moves(address)
        with (watch := Watch(lab, "game", node="worker1", client="client-linux", players=Players(number=2))):
            let_pass(LINUX_WATCHED)
        moves = linux.moves(address) - before
    gaps = judged(watch)
    note(gaps, arp_moves=moves)
    if lags:
        assert moves >= 2
        assert gaps.spans
    else:
        assert moves == 0
        assert not gaps.spans


def test_one_refresh_of_two_announcers(lab: Lab, note: Note) -> None:
    """S6 at a scale of 1, with a game at 30 Hz: 30 s of rubber-banding 1196 s after the address was heard last."""
    game = Refreshed(lab, lab.service("game").address)
    with lab.node("worker1").announcer as slow, lab.node("worker2").announcer as quick:
        slow.announce(game.address, gratuitous=False)
        game.learn()
        slow.delay(game.address, LATE)
        quick.announce(game.address, gratuitous=False)
        with (watch := Watch(lab, "game", node="worker1", client="client-freebsd", players=Players(number=2))):
            game.at(Freebsd().asks[0] + LATE + 30)
    gaps = judged(watch)
    moved = lab.timeline.events(game.heard_ns + 1).of(event.ARP_MOVED, subject="freebsd", address=game.address)
    note(gaps, predicted_s=LATE, arp_moves=len(moved))
    assert len(gaps.spans) == 1
    assert abs(gaps.lengths[0] - LATE) <= WITHIN
    assert [each.data["at"] for each in moved] == ["worker2", "worker1"]
    assert abs(game.since(moved[0].at_ns) - Freebsd().asks[0]) <= WITHIN
