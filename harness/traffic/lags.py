"""What became of each player of a game: when its inputs were not acknowledged, and what went on meanwhile. Pure.

A player lags while none of its inputs are acknowledged. If updates go on coming meanwhile, others move and the
player's own steps are taken back: rubber-banding. If none come, everything stands still.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.traffic import game
from harness.traffic.analysis import Move
from harness.traffic.game import Grade
from harness.traffic.game_records import Refusal, Update
from harness.traffic.packets import Fate, Flow
from harness.traffic.records import Run


@dataclass(frozen=True)
class Lag:
    """A time in which none of a player's inputs were acknowledged. Times are nanoseconds of CLOCK_MONOTONIC.

    Attributes:
        player: The flow's number.
        start: When the last input before it was acknowledged.
        length: Until the next one was, without what the prober missed itself.
        grade: How bad it is.
        updates: How many updates came meanwhile.
        refused: How many inputs the server took for a stranger's meanwhile.
        lost: The share of the inputs of that time that were never acknowledged: a machine that is busy only delays.
        server_pause: The longest time in which the server itself did not tick, by its own stamps.
    """

    player: int
    start: int
    length: int
    grade: Grade
    updates: int
    refused: int
    server_pause: int
    lost: float = 1.0

    @property
    def end(self) -> int:
        """When it was over."""
        return self.start + self.length

    @property
    def rubber_band(self) -> bool:
        """Whether the world went on while the player's own inputs did not get through."""
        return self.updates > 0 and self.server_pause < self.length // 2


def lags(run: Run, flows: Sequence[Flow], *, scale: float = 1.0) -> list[Lag]:
    """Every player's lags, in order of their starts; one that lasts until its last input counts until then.

    Args:
        run: A game's records.
        flows: Of the same run.
        scale: Factor on the thresholds, where time is scaled.
    """
    found: list[Lag] = []
    for flow in flows:
        updates = sorted(each for each in run.updates if each.flow == flow.number)
        sent = [packet.sent for packet in flow.packets]
        stamps = [each.at for each in updates]
        refusals = sorted(each for each in run.refusals if each.flow == flow.number)
        until = flow.packets[-1].sent + flow.interval if flow.packets else None
        for gap in game.disturbances(flow, until=until, scale=scale):
            end = gap.start + gap.length
            found.append(
                Lag(
                    player=flow.number,
                    start=gap.start,
                    length=gap.length,
                    grade=gap.grade,
                    updates=_between(stamps, gap.start, end, flow.interval),
                    refused=_refused(refusals, gap.start, end + flow.interval),
                    server_pause=server_pause(
                        updates[max(0, bisect_left(stamps, gap.start) - 2) : bisect_right(stamps, end) + 2],
                        flow.interval,
                    ),
                    lost=_lost(flow, sent, gap.start, end),
                )
            )
    return sorted(found, key=lambda lag: (lag.start, lag.player))


def server_pause(updates: Sequence[Update], interval: int) -> int:
    """The longest time between two ticks of the server, by the server's own stamps.

    Ticks whose updates were lost on the way are counted as having happened: their numbers are missing.

    Args:
        updates: One player's, in order.
        interval: Nanoseconds between two ticks as they should be.
    """
    pauses = [
        later.replied - earlier.replied - (later.tick - earlier.tick - 1) * interval
        for earlier, later in pairwise(updates)
        if later.tick > earlier.tick
    ]
    return max(pauses, default=0)


def _between(stamps: Sequence[int], begin: int, end: int, interval: int) -> int:
    """Updates that came within, not with its first and last tick."""
    return max(0, bisect_left(stamps, end - interval) - bisect_right(stamps, begin + interval))


def _lost(flow: Flow, sent: Sequence[int], begin: int, end: int) -> float:
    """The share of the inputs that were sent in a time, but for its first tick, and never acknowledged."""
    within = flow.packets[bisect_right(sent, begin) : bisect_left(sent, end - flow.interval)]
    if not within:
        return 0.0
    return sum(not packet.fate.good and packet.fate is not Fate.LATE for packet in within) / len(within)


def _refused(refusals: Iterable[Refusal], begin: int, end: int) -> int:
    before, total = 0, 0
    for each in refusals:
        if begin <= each.at <= end:
            total += max(0, each.refused - before)
        before = each.refused
    return total


def strangers(run: Run) -> list[Move]:
    """Each address from which the server has refused a player's inputs, beside the one that it knew."""
    found: list[Move] = []
    for player in range(run.header.flows):
        known = [each for each in run.seen_as if each.flow == player]
        last = ""
        for each in sorted(refusal for refusal in run.refusals if refusal.flow == player):
            before = next((seen.address for seen in reversed(known) if seen.at <= each.at), "")
            if each.stranger != last:
                found.append(Move(each.at, player, before, each.stranger))
            last = each.stranger
    return sorted(found, key=lambda move: move.at)
