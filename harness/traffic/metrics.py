"""Metrics of packet streams as the IETF defines them, on packets whose fate is decided.

Loss: RFC 2680 and 7680 (one-way) and RFC 2681's round trip; loss episodes: RFC 6534; reordering: RFC 4737; duplicates:
RFC 5560; delay variation: RFC 3393 with the two forms of RFC 5481, IPDV and PDV.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from harness.traffic.outages import outages
from harness.traffic.packets import Fate, Flow


@dataclass(frozen=True)
class Loss:
    """Packets of one or more flows by their fate.

    A packet that never left the client is no loss of the network (RFC 7680 begins at the wire): it is counted apart and
    is not in `sent`.
    """

    sent: int
    lost_up: int
    lost_down: int
    lost_unknown: int
    late: int
    unsent: int
    duplicates: int

    @property
    def lost(self) -> int:
        """Packets without an answer within the waiting time."""
        return self.lost_up + self.lost_down + self.lost_unknown + self.late

    @property
    def ratio(self) -> float:
        """Round-trip loss ratio: a fraction of what was sent."""
        return self.lost / self.sent if self.sent else 0.0

    @property
    def ratio_up(self) -> float:
        """One-way loss ratio to the server; packets of unknown direction count as not lost here."""
        return self.lost_up / self.sent if self.sent else 0.0

    @property
    def ratio_down(self) -> float:
        """One-way loss ratio from the server: a fraction of what it answered."""
        answered = self.sent - self.lost_up - self.lost_unknown
        return self.lost_down / answered if answered else 0.0

    @property
    def duplicate_ratio(self) -> float:
        """Answers beyond the first one, as a fraction of what was sent (RFC 5560)."""
        return self.duplicates / self.sent if self.sent else 0.0


@dataclass(frozen=True)
class Episodes:
    """Loss episodes (RFC 6534): maximal sets of consecutively lost packets. Durations in nanoseconds."""

    count: int
    frequency: float  # episodes per packet sent
    mean_packets: float
    mean_duration: float
    longest: int


@dataclass(frozen=True)
class Reordering:
    """Reordered packets (RFC 4737, section 3): those that came after one with a higher number had come."""

    received: int
    reordered: int
    greatest_extent: int  # packets that had come in between (section 4.2.2), at most

    @property
    def ratio(self) -> float:
        """A fraction of the received packets."""
        return self.reordered / self.received if self.received else 0.0


@dataclass(frozen=True)
class Spread:
    """A distribution in nanoseconds."""

    count: int
    minimum: int
    p50: int
    p95: int
    p99: int
    maximum: int


@dataclass(frozen=True)
class Variation:
    """Delay and its variation on one way: up, down or round trip."""

    delay: Spread
    pdv: Spread  # each packet's delay against the least one (RFC 5481, 4.2)
    ipdv: Spread  # absolute difference of successive packets' delays (RFC 3393, selection: numbers i and i+1 both came)


def loss(flows: Iterable[Flow]) -> Loss:
    """Count packets by fate."""
    counts = dict.fromkeys(Fate, 0)
    duplicates = 0
    for flow in flows:
        duplicates += flow.duplicates
        for packet in flow.packets:
            counts[packet.fate] += 1
    return Loss(
        sent=sum(counts.values()) - counts[Fate.UNSENT],
        lost_up=counts[Fate.LOST_UP],
        lost_down=counts[Fate.LOST_DOWN],
        lost_unknown=counts[Fate.LOST],
        late=counts[Fate.LATE],
        unsent=counts[Fate.UNSENT],
        duplicates=duplicates,
    )


def episodes(flow: Flow) -> Episodes:
    """The loss episodes of one flow; one lasts as long as the outage does, the prober's own gaps left out."""
    found = outages(flow)
    lengths = [outage.duration for outage in found]
    return Episodes(
        count=len(found),
        frequency=len(found) / len(flow.packets) if flow.packets else 0.0,
        mean_packets=sum(outage.lost for outage in found) / len(found) if found else 0.0,
        mean_duration=sum(lengths) / len(lengths) if lengths else 0.0,
        longest=max(lengths, default=0),
    )


def reordering(flow: Flow, way: str) -> Reordering:
    """Reordering on the way up (in order of the server's stamps) or on the round trip (of the client's)."""
    arrivals = sorted((at, sequence) for at, sequence in _stamps(flow, way))
    highest: list[tuple[int, int]] = []  # (sequence, position) of each new maximum, both ascending
    reordered = extent = 0
    for position, (_, sequence) in enumerate(arrivals):
        if not highest or sequence > highest[-1][0]:
            highest.append((sequence, position))
            continue
        reordered += 1
        earliest = next(at for number, at in highest if number > sequence)
        extent = max(extent, position - earliest)
    return Reordering(len(arrivals), reordered, extent)


def variation(flow: Flow, way: str) -> Variation | None:
    """Delay variation up, down or on the round trip; None when fewer than two packets came.

    Args:
        flow: Packets with their stamps; late ones count as received here.
        way: "up", "down" or "round trip".
    """
    delays = _delays(flow, way)
    if len(delays) < 2:
        return None
    values = [delay for _, delay in delays]
    least = min(values)
    successive = [
        abs(after - before) for (number, before), (following, after) in pairwise(delays) if following == number + 1
    ]
    return Variation(spread(values), spread([value - least for value in values]), spread(successive or [0]))


def spread(values: Sequence[int]) -> Spread:
    """The distribution of at least one value; quantiles are values that occurred (nearest rank)."""
    ordered = sorted(values)

    def quantile(q: float) -> int:
        return ordered[max(0, ceil(q * len(ordered)) - 1)]

    return Spread(len(ordered), ordered[0], quantile(0.50), quantile(0.95), quantile(0.99), ordered[-1])


def _stamps(flow: Flow, way: str) -> Iterable[tuple[int, int]]:
    for packet in flow.packets:
        at = packet.arrived if way == "up" else packet.received
        if at is not None:
            yield at, packet.sequence


def _delays(flow: Flow, way: str) -> list[tuple[int, int]]:
    delays: list[tuple[int, int]] = []
    for packet in flow.packets:
        begin, end = {
            "up": (packet.sent, packet.arrived),
            "down": (packet.replied, packet.received),
            "round trip": (packet.sent, packet.received),
        }[way]
        if begin is not None and end is not None:
            delays.append((packet.sequence, end - begin))
    return delays
