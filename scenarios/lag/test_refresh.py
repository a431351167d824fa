"""What becomes of players when a refresh of the router's ARP entry goes wrong: F1, F2, F5, and the plain flip of S3.

`scenarios/l2_baseline/test_router_arp_timers.py` holds the formulas; here a game is played over them. Seconds in this
file are unscaled; the lab's are `topology.time_scale` of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.arp.announcer import Announcer
from harness.errors import Untrusted
from harness.expect import Expect
from harness.lab import Lab
from harness.lag.gaps import Gaps
from harness.lag.mechanisms import Mechanism
from harness.lag.watch import Players, Watch
from harness.play import Played
from harness.timeline import event
from harness.verdict.arp import Freebsd
from scenarios.lag.conftest import Note, Refreshed, Witness, dead

pytestmark = [pytest.mark.slow, pytest.mark.lab(topology="lag")]

ARP = Freebsd(1.0)
PLAYERS = Players(tick_rate=250.0)
#: Up to a second until the router asks again, five packets, and what a busy machine adds.
WITHIN = 3.0

Act = Callable[[Refreshed, Announcer, Announcer], None]


@pytest.fixture
def play(lab: Lab, expect: Expect, witness: Witness, note: Note) -> Callable[..., Gaps]:
    """Let something happen to a game that worker1 announces, and give the players' gaps since it was heard last."""

    def carry_out(mechanism: Mechanism, act: Act, until: float, players: Players = PLAYERS, row: str = "") -> Gaps:
        since = time.monotonic_ns()
        game = Refreshed(lab, lab.service("game").address)

        def run() -> dict[str, Played]:
            nonlocal since
            since = time.monotonic_ns()
            with lab.node("worker1").announcer as first, lab.node("worker2").announcer as second:
                first.announce(game.address, gratuitous=False)
                game.learn()
                watch = Watch(lab, "game", node="worker1", client="client-freebsd", players=players)
                with watch:
                    act(game, first, second)
                    game.at(until)
            return {"game": watch.game}

        (found,) = expect.runs(run, count=1)
        witness(mechanism, since, game.scale, row)
        gaps = Gaps.of(found["game"], game.scale, zero_ns=game.heard_ns)
        note(gaps, scale=game.scale)
        print(f"{mechanism.value}: {gaps}, {len(found['game'].reconnects)} reconnects")
        if not found["game"].trust.trusted:
            raise Untrusted(str(found["game"].trust))
        return gaps

    return carry_out


def test_nobody_answers_the_broadcasts(play: Callable[..., Gaps], dice: random.Random) -> None:
    """F1: mute over the refresh: nothing for 1201 s, then a gap until the first question after the end."""
    end = dice.uniform(1220, 1260)

    def act(game: Refreshed, first: Announcer, second: Announcer) -> None:
        game.at(dice.uniform(900, 1190))
        first.mute(game.address)
        game.at(end)
        first.unmute(game.address)

    gaps = play(Mechanism.ARP_UNANSWERED, act, end + 60)
    assert len(gaps.spans) == 1
    assert abs(gaps.spans[0][0] - ARP.deleted) <= WITHIN
    assert abs(gaps.lengths[0] - (end - ARP.deleted)) <= WITHIN


def test_only_a_gratuitous_arp_is_heard(play: Callable[..., Gaps], dice: random.Random) -> None:
    """F2: requests never get an answer; the gap lasts until the node happens to announce the address again."""
    again = ARP.deleted + dice.uniform(30, 80)

    def act(game: Refreshed, first: Announcer, second: Announcer) -> None:
        game.at(300)
        first.mute(game.address)
        game.at(again)
        first.announce(game.address)

    gaps = play(Mechanism.ARP_UNANSWERED, act, again + 60, row="F2")
    assert len(gaps.spans) == 1
    assert abs(gaps.lengths[0] - (again - ARP.deleted)) <= WITHIN


def test_the_gratuitous_arp_is_lost(lab: Lab, play: Callable[..., Gaps], dice: random.Random) -> None:
    """F5: the old node is dead, the new one answers and has told nobody: lost until the router asks anew at 1196 s.

    Then packets take the other node, for whose address translation the players are strangers: they greet anew.
    """
    died = dice.uniform(1100, 1170)

    def act(game: Refreshed, first: Announcer, second: Announcer) -> None:
        game.at(died)
        with dead(lab, "worker1", game.address):
            first.withdraw(game.address)
            game.at(died + 6)
            second.announce(game.address, gratuitous=False)
            game.at(1300)

    gaps = play(Mechanism.GARP_LOST, act, 1310, replace(PLAYERS, reconnect_after=5.0))
    assert len(gaps.spans) == 1
    assert ARP.asks[0] - died - WITHIN <= gaps.lengths[0] <= ARP.asks[0] - died + 5.0 + WITHIN


def test_two_prompt_announcers(lab: Lab, play: Callable[..., Gaps], dice: random.Random) -> None:
    """S3: the entry flips at a gratuitous ARP and back at the next refresh; the gap is what players need to reconnect.

    The server knows them by address, so it is the application that decides how long each gap is: 60 s here.
    """
    flip = dice.uniform(400, 500)

    def act(game: Refreshed, first: Announcer, second: Announcer) -> None:
        first.delay(game.address, 0.5 * game.scale)
        game.at(flip)
        second.announce(game.address)

    end = flip + 10 + ARP.asks[0] + 120
    gaps = play(Mechanism.TWO_ANNOUNCERS, act, end, replace(PLAYERS, disconnect_after=60.0), row="S3")
    assert len(gaps.spans) == 2
    assert all(abs(length - 60.0) <= WITHIN for length in gaps.lengths), gaps
    apart = gaps.spans[1][0] - gaps.spans[0][0]
    assert abs(apart - ARP.asks[0]) <= 10, f"{apart:.0f} s between two flips"
    moved = [each.data["at"] for each in lab.timeline.events().of(event.ARP_MOVED)][-2:]
    assert moved == ["worker2", "worker1"]
