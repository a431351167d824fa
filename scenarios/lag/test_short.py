"""Causes of lag that need no refresh: a server that stalls, a reply path that is lost, an address that two hosts have.

The first one is the control in which the network is innocent: only the game stands still. Nothing in them is of
FreeBSD's clock, so nothing is scaled.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from harness.errors import Untrusted
from harness.expect import Expect
from harness.faults import AddressTaken, GatewayLost, ServerStalled
from harness.lab import Lab
from harness.lag.gaps import Gaps
from harness.lag.mechanisms import Mechanism
from harness.lag.watch import Players, Watch
from harness.play import Played
from harness.timeline import event
from harness.wait import let_pass
from scenarios.lag.conftest import Note, Refreshed, Witness

pytestmark = [pytest.mark.lab(topology="lag")]

#: Seconds for which each mechanism is at work, and how far a gap may be from it: ticks and what a busy machine adds.
LONG, WITHIN = 4.0, 0.5
#: Before and after it.
BEFORE = 1.0


@pytest.fixture
def game(lab: Lab) -> Iterator[Refreshed]:
    """The game's address, announced by worker1, which the router with FreeBSD's ARP knows."""
    found = Refreshed(lab, lab.service("game").address)
    with lab.node("worker1").announcer as announcer:
        announcer.announce(found.address, gratuitous=False)
        found.learn()
        yield found


def watch(lab: Lab) -> Watch:
    """The game, the echo beside it, and worker1."""
    return Watch(lab, "game", node="worker1", client="client-freebsd", players=Players(), scale=1.0)


def one_gap(note: Note, played: Played, *, whose: str = "network") -> Gaps:
    """There was one gap, of the mechanism's length; whose fault it was, by the server's own stamps."""
    gaps = Gaps.of(played, 1.0)
    note(gaps, predicted_s=LONG)
    print(f"{whose}: {gaps}; the server's own: {gaps.servers}")
    if not played.trust.trusted:
        raise Untrusted(str(played.trust))
    mine, others = (gaps.servers, gaps.spans) if whose == "server" else (gaps.spans, gaps.servers)
    assert len(mine) == 1, f"{mine} of {LONG:g} s were expected once"
    assert not others
    assert abs(mine[0][1] - mine[0][0] - LONG) <= WITHIN
    return gaps


@pytest.mark.gate
def test_the_server_stalls(lab: Lab, expect: Expect, game: Refreshed, witness: Witness, note: Note) -> None:
    """The game stands still and nothing else does: no packet of the echo beside it is lost, and no MAC has moved."""
    since = time.monotonic_ns()

    def run() -> dict[str, Played]:
        nonlocal since
        since = time.monotonic_ns()
        with (seen := watch(lab)):
            let_pass(BEFORE)
            lab.fault(ServerStalled("game", LONG))
            let_pass(LONG + BEFORE)
        for beside in (seen.sidecar, seen.node):
            assert beside.analysis.loss.lost == 0, beside.describe()
        return {"game": seen.game}

    (found,) = expect.runs(run, count=1)
    witness(Mechanism.SERVER_STALL, since)
    one_gap(note, found["game"], whose="server")
    assert not lab.timeline.events(since).of(event.ARP_MOVED, address=game.address)


@pytest.mark.slow
def test_the_reply_path_is_lost(lab: Lab, expect: Expect, game: Refreshed, witness: Witness, note: Note) -> None:
    """Inputs arrive and updates do not come back: all that is lost is lost on the way down."""
    since = time.monotonic_ns()

    def run() -> dict[str, Played]:
        nonlocal since
        since = time.monotonic_ns()
        game.learn()
        with (seen := watch(lab)):
            let_pass(BEFORE)
            with lab.fault(GatewayLost("worker1")):
                let_pass(LONG)
            let_pass(BEFORE)
        assert seen.sidecar.analysis.loss.lost_down > 0
        assert seen.sidecar.analysis.loss.lost_up == 0
        return {"game": seen.game}

    (found,) = expect.runs(run, count=1)
    witness(Mechanism.STALE_REPLY_PATH, since)
    one_gap(note, found["game"])
    assert found["game"].analysis.loss.lost_up == 0
    assert not lab.timeline.events(since).of(event.ARP_MOVED, address=game.address)


@pytest.mark.slow
def test_another_host_has_the_address(lab: Lab, expect: Expect, game: Refreshed, witness: Witness, note: Note) -> None:
    """A third MAC, of no node: players are told that the port is unreachable, until the address is announced again.

    The other host has it all the time: the last one who speaks has the router's ear.
    """
    since = time.monotonic_ns()

    def run() -> dict[str, Played]:
        nonlocal since
        since = time.monotonic_ns()
        game.learn()
        with (seen := watch(lab)):
            let_pass(BEFORE)
            with lab.fault(AddressTaken("rogue", game.address)):
                let_pass(LONG)
                lab.node("worker1").announcer.announce(game.address)
                let_pass(BEFORE)
        return {"game": seen.game}

    (found,) = expect.runs(run, count=1)
    witness(Mechanism.DUPLICATE_ADDRESS, since)
    one_gap(note, found["game"])
    moved = [each.data["at"] for each in lab.timeline.events(since).of(event.ARP_MOVED, address=game.address)]
    assert moved[:2] == ["rogue", "worker1"]
    refused = [error for error in found["game"].analysis.icmp if (error.type, error.code) == (3, 3)]
    assert refused, "nobody said that the port is unreachable (RFC 792)"
    assert {error.offender for error in refused} == {game.address}
