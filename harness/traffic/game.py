"""What a player feels: gaps in the stream of server updates, by how long they last.

The thresholds are lblab's own (facts/l2_and_lag.md, section 4): a server like Unreal's sends 30 updates a second by
default (NetServerMaxTickRate), clients extrapolate over a few of them, and give the connection up after a minute. In
scaled time all thresholds but that of a hitch scale; those that would be below a hitch's three ticks cannot be told.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from harness.traffic.packets import Flow

_MILLISECOND = 1_000_000
_SECOND = 1000 * _MILLISECOND

#: Longer than this many ticks without an update is a hitch.
HITCH_TICKS = 3


class Grade(enum.IntEnum):
    """How bad a gap is; a worse one is greater."""

    HITCH = 1  # more than three ticks
    SPIKE = 2  # 250 ms or more: a lag spike
    FREEZE = 3  # 1 s or more
    SEVERE = 4  # 30 s or more
    DISCONNECT = 5  # 60 s or more


#: From which gap on, in nanoseconds, each grade above a hitch is given.
THRESHOLDS = {
    Grade.DISCONNECT: 60 * _SECOND,
    Grade.SEVERE: 30 * _SECOND,
    Grade.FREEZE: _SECOND,
    Grade.SPIKE: 250 * _MILLISECOND,
}


@dataclass(frozen=True)
class Disturbance:
    """A gap between two updates; times in nanoseconds."""

    flow: int
    grade: Grade
    start: int  # when the update before came
    length: int  # without the prober's own gap


def grade(gap: int, tick: int, scale: float = 1.0) -> Grade | None:
    """How bad a gap between two updates is; None when nobody notices.

    Args:
        gap: Nanoseconds between two updates.
        tick: Nanoseconds between two updates as they should be.
        scale: Factor on the thresholds, where time is scaled.
    """
    for each, least in THRESHOLDS.items():
        if gap >= least * scale > HITCH_TICKS * tick:
            return each
    return Grade.HITCH if gap > HITCH_TICKS * tick else None


def disturbances(flow: Flow, *, until: int | None = None, scale: float = 1.0) -> list[Disturbance]:
    """The gaps in what a client received.

    Late packets do count as updates when they come: the gap before them is what hurts. Where the prober itself missed
    slots of its schedule, that time is taken off the gap.

    Args:
        flow: A flow at the rate of a game's ticks.
        until: When the client stopped listening; a gap that lasts until then counts as well.
        scale: Factor on the thresholds, where time is scaled.
    """
    if not flow.packets:
        return []
    begin = flow.packets[0].sent
    ends = sorted((p.received, p.sent) for p in flow.packets if p.received is not None) or [(begin, begin)]
    if until is not None:
        ends.append((max(until, ends[-1][0]), flow.packets[-1].sent))
    found: list[Disturbance] = []
    missed = _missed(flow)
    for (before, sent), (after, _) in pairwise(ends):
        length = after - before
        if grade(length, flow.interval, scale) is None:
            continue  # the usual case; own gaps only make it shorter
        length -= sum(skipped for at, skipped in missed if sent < at <= after)
        worth = grade(length, flow.interval, scale)
        if worth is not None:
            found.append(Disturbance(flow.number, worth, before, length))
    return found


def count(found: Iterable[Disturbance]) -> dict[Grade, int]:
    """How many disturbances there were of each grade."""
    result = dict.fromkeys(Grade, 0)
    for each in found:
        result[each.grade] += 1
    return result


def _missed(flow: Flow) -> list[tuple[int, int]]:
    """Where the prober missed slots: (stamp of the packet after, time without a packet beyond the interval)."""
    return [
        (after.sent, after.sent - before.sent - flow.interval)
        for before, after in pairwise(flow.packets)
        if after.sent - before.sent > 1.5 * flow.interval
    ]
