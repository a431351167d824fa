"""Two announcers of one address on different nodes, behind FreeBSD's ARP: the lag that comes every twenty minutes.

The twins are watched at the same time: the same game behind a static route, behind BGP, and behind a Linux router that
hears the same two answers. Seconds in this file are unscaled; the lab's are `topology.time_scale` of them.
"""

from __future__ import annotations

import random
import time

import pytest

from harness.errors import Untrusted
from harness.expect import Expect
from harness.lab import Lab
from harness.lag.gaps import Gaps
from harness.lag.mechanisms import Mechanism
from harness.lag.watch import Players, Watch
from harness.measure import together
from harness.play import SOURCE_PORT, Game, Played
from harness.timeline import event
from harness.verdict.arp import Freebsd, two_announcers
from scenarios.lag.conftest import Note, Refreshed, Witness

pytestmark = [pytest.mark.lab(topology="lag")]

#: How late MetalLB's speaker answers: a process that is allowed a tenth of a CPU, and stalls.
LATE = 30.0
#: The bars of the lag lab: a gap within a second, the period within five.
GAP_WITHIN, PERIOD_WITHIN = 1.0, 5.0
#: Inputs a second in the lab's own time: one each 4 ms, which is a fifth of a scaled second.
RATE = 250.0
REFRESHES = 3
TWINS = {
    "static route": ("game-static", "client-freebsd"),
    "BGP": ("game-bgp", "client-freebsd"),
    "Linux ARP": ("game", "client-linux"),
}


def test_gaps_of_the_slower_answer(lab: Lab, expect: Expect, witness: Witness, note: Note, dice: random.Random) -> None:
    """S6: at each refresh the router visits the faster announcer's node until the slower answer has come.

    That node translates players' addresses otherwise, and the server refuses their inputs as a stranger's; its updates
    go on coming through the other node: players rubber-band, and nobody has to reconnect. Two moves, one gap, every
    1196 + 30 s. None of the twins has a gap.
    """
    since = time.monotonic_ns()
    began = 0
    game = Refreshed(lab, lab.service("game").address)

    def run() -> dict[str, Played]:
        nonlocal began
        with lab.node("worker1").announcer as slow, lab.node("worker2").announcer as quick:
            slow.announce(game.address, gratuitous=False)
            game.learn()
            slow.delay(game.address, LATE * game.scale)
            quick.announce(game.address, gratuitous=False)
            watch = Watch(
                lab, "game", node="worker1", client="client-freebsd", players=Players(tick_rate=RATE), name="game"
            )
            twins = {
                name: Game(
                    lab,
                    lab.service(service).address,
                    client=client,
                    tick_rate=RATE / 5,
                    players=2,
                    scale=game.scale,
                    source_port=SOURCE_PORT + 100 * number,
                    name=f"game, {name}",
                )
                for number, (name, (service, client)) in enumerate(TWINS.items(), start=1)
            }
            with together({**twins, **watch.probes}):
                began = game.heard_ns
                game.at(REFRESHES * two_announcers(Freebsd(1.0), LATE).period + dice.uniform(20, 40))
            return {"game": watch.game, **{name: twin.measured for name, twin in twins.items()}}

    (found,) = expect.runs(run, count=1)
    witness(Mechanism.TWO_ANNOUNCERS, since, game.scale)
    gaps = Gaps.of(found["game"], game.scale)
    moves = lab.timeline.events(began + 1).of(event.ARP_MOVED, subject="freebsd", address=game.address)
    refreshes = [each for each in moves if each.data["at"] == "worker2"]
    print(f"S6, D = {LATE:g} s, scale {game.scale:g}: {gaps}; {len(moves)} moves in {len(refreshes)} refreshes")
    for name in TWINS:
        print(f"{name}: {Gaps.of(found[name], game.scale)}")
    note(gaps, scale=game.scale, predicted_s=LATE, moves=len(moves), refreshes=len(refreshes))
    if not found["game"].trust.trusted:
        raise Untrusted(f"{found['game'].trust}; {gaps}")
    predicted = two_announcers(Freebsd(1.0), LATE)
    assert [abs(length - predicted.length) <= GAP_WITHIN for length in gaps.lengths] == [True] * REFRESHES, gaps
    assert gaps.period is not None
    assert abs(gaps.period.seconds - predicted.period) <= PERIOD_WITHIN
    assert len(moves) == predicted.moves * len(refreshes) == predicted.moves * REFRESHES
    assert all(gap.rubber_band for gap in gaps.worst)
    assert found["game"].reconnects == found["game"].disconnects == []
    for name in TWINS:
        twin = Gaps.of(found[name], game.scale)
        assert twin.period is None, f"{name}: {twin}"
        assert not twin.lengths, f"{name}: {twin}"
