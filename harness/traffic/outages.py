"""Outages: maximal runs of consecutive packets without an answer (loss episodes, RFC 6534), as intervals of time.

An outage began after the last good packet was sent and ended before the first good one was: so it is known within one
send interval at each end, and that is the resolution. A time in which the prober itself sent nothing is no evidence of
anything: it is left out of the duration, and stated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.traffic.packets import Fate, Flow, Packet, Place

#: Flow number of outages of all flows together.
ALL = -1

#: A spacing above this multiple of the interval means that a slot was missed: the prober's own gap.
_OWN_GAP = 1.5

_DIRECTION = {
    Fate.LOST_UP: "up",
    Fate.UNSENT: "up",
    Fate.LOST_DOWN: "down",
    Fate.LATE: "late",
    Fate.LOST: "unknown",
}


@dataclass(frozen=True)
class Outage:
    """One run of consecutive lost packets. All times are nanoseconds, stamps of sending.

    Attributes:
        flow: The flow's number, or ALL.
        first_sequence: Of the first lost packet; 0 for ALL.
        lost: How many packets.
        last_good: The good packet before; None when there was none: it began before the probe did.
        first_lost: The first lost packet.
        last_lost: The last lost packet.
        first_good: The good packet after; None when the probe ended in the outage.
        unobserved: Time between the first and the last lost packet in which the prober missed slots of its own.
        directions: How many packets were lost up, down, late (answered after the waiting time) or unknown.
        places: How many were lost where, as far as taps tell.
        interval: Nanoseconds between two packets.
    """

    flow: int
    first_sequence: int
    lost: int
    last_good: int | None
    first_lost: int
    last_lost: int
    first_good: int | None
    unobserved: int
    directions: dict[str, int]
    places: dict[Place, int]
    interval: int

    @property
    def shortest(self) -> int:
        """What is certain: from the first to the last lost packet, without the prober's own gaps."""
        return self.last_lost - self.first_lost - self.unobserved

    @property
    def longest(self) -> int | None:
        """What is possible: from the good packet before to the one after; None when one of them is missing."""
        if self.last_good is None or self.first_good is None:
            return None
        return self.first_good - self.last_good

    @property
    def start(self) -> int:
        """Best estimate of the beginning: half an interval before the first lost packet, after the last good one."""
        return self.first_lost - self._border(self.last_good, self.first_lost)

    @property
    def end(self) -> int:
        """Best estimate of the end: half an interval after the last lost packet, before the first good one."""
        return self.last_lost + self._border(self.last_lost, self.first_good)

    @property
    def duration(self) -> int:
        """Best estimate: from start to end, without the prober's own gaps."""
        return self.end - self.start - self.unobserved

    @property
    def direction(self) -> str:
        """Where all of its packets were lost: up, down, late or unknown; mixed when in several."""
        return next(iter(self.directions)) if len(self.directions) == 1 else "mixed"

    @property
    def place(self) -> Place | None:
        """The stretch on which most of its packets were lost, when taps tell."""
        return max(self.places, key=lambda place: self.places[place]) if self.places else None

    def _border(self, before: int | None, after: int | None) -> int:
        distance = self.interval if before is None or after is None else after - before
        return min(distance, self.interval) // 2


def outages(flow: Flow, *, at_least: int = 1) -> list[Outage]:
    """The outages of one flow.

    Args:
        flow: Its packets.
        at_least: Leave out runs of fewer lost packets than this; single losses are noise on some networks.
    """
    runs = _runs([(flow.number, packet) for packet in flow.packets])
    return [_outage(run, flow.number, flow.interval) for run in runs if len(run.lost) >= at_least]


def outages_of_all(flows: Sequence[Flow], *, at_least: int = 1) -> list[Outage]:
    """The times in which no flow at all got through: the flows together as one stream, in order of sending.

    Args:
        flows: All flows of a run.
        at_least: Leave out what cost fewer than so many packets of each flow; below one, only some flows were tried.
    """
    if not flows:
        return []
    packets = [(flow.number, packet) for flow in flows for packet in flow.packets]
    packets.sort(key=lambda each: each[1].sent)
    interval = flows[0].interval // len(flows)
    return [
        _outage(run, ALL, interval)
        for run in _runs(packets)
        # A run within one flow's own outage, while the prober missed the other flows' slots, says nothing of those.
        if all(sum(number == flow.number for number, _ in run.lost) >= at_least for flow in flows)
    ]


def outages_of_any(flows: Sequence[Flow], *, at_least: int = 1) -> list[tuple[int, int]]:
    """The times, as (start, end), in which at least one flow had an outage."""
    merged: list[tuple[int, int]] = []
    for outage in sorted((o for flow in flows for o in outages(flow, at_least=at_least)), key=lambda o: o.start):
        if merged and outage.start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], outage.end))
        else:
            merged.append((outage.start, outage.end))
    return merged


def share_of_flows(flows: Sequence[Flow], *, longer_than: int) -> float:
    """Which share of the flows had an outage of more than so many nanoseconds: what the loss of one next hop costs."""
    hit = sum(any(outage.duration > longer_than for outage in outages(flow)) for flow in flows)
    return hit / len(flows) if flows else 0.0


def own_gaps(flow: Flow) -> list[tuple[int, int]]:
    """The times in which the prober missed slots of its schedule: (before, after) stamps of sending."""
    packets = flow.packets
    return [
        (before.sent, after.sent)
        for before, after in pairwise(packets)
        if after.sent - before.sent > _OWN_GAP * flow.interval
    ]


def resolution(flows: Iterable[Flow]) -> int:
    """How finely the ends of an outage are known, ns: the send interval with the prober's jitter (p99 of spacing)."""
    spacings: list[int] = []
    interval = 0
    for flow in flows:
        interval = max(interval, flow.interval)
        packets = flow.packets
        spacings.extend(after.sent - before.sent for before, after in pairwise(packets))
    if not spacings:
        return interval
    spacings.sort()
    return max(interval, spacings[min(len(spacings) - 1, int(len(spacings) * 0.99))])


@dataclass(frozen=True)
class _Run:
    """Consecutive lost packets with their flows' numbers, and when the good ones around them were sent."""

    lost: list[tuple[int, Packet]]
    last_good: int | None
    first_good: int | None


def _runs(packets: Iterable[tuple[int, Packet]]) -> list[_Run]:
    found: list[_Run] = []
    last_good: int | None = None
    lost: list[tuple[int, Packet]] = []
    for number, packet in packets:
        if not packet.fate.good:
            lost.append((number, packet))
            continue
        if lost:
            found.append(_Run(lost, last_good, packet.sent))
            lost = []
        last_good = packet.sent
    if lost:
        found.append(_Run(lost, last_good, None))
    return found


def _outage(run: _Run, flow: int, interval: int) -> Outage:
    lost = [packet for _, packet in run.lost]
    spacings = (after.sent - before.sent for before, after in pairwise(lost))
    return Outage(
        flow=flow,
        first_sequence=0 if flow == ALL else lost[0].sequence,
        lost=len(lost),
        last_good=run.last_good,
        first_lost=lost[0].sent,
        last_lost=lost[-1].sent,
        first_good=run.first_good,
        unobserved=sum(spacing - interval for spacing in spacings if spacing > _OWN_GAP * interval),
        directions=dict(Counter(_DIRECTION[packet.fate] for packet in lost)),
        places=dict(Counter(packet.place for packet in lost if packet.place is not None)),
        interval=interval,
    )
