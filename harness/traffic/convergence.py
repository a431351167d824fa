"""Data-plane convergence times, in the terms of RFC 6412 and with the methods of RFC 6413; RFC 7747 uses them for BGP.

A flow stands for a route. Offered load and forwarding rate are counted by the time of sending: what was sent in an
instant and answered was forwarded in it. All times are nanoseconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from harness.traffic.packets import Flow

#: Packet Sampling Interval: RFC 6413 asks for 10 ms or less.
SAMPLING = 10_000_000


@dataclass(frozen=True)
class LossOfConnectivity:
    """Route Loss of Connectivity Period of every flow, its lost packets divided by its rate, and figures over all."""

    by_flow: dict[int, int]
    minimum: int
    maximum: int
    median: int
    average: int


@dataclass(frozen=True)
class RateDerived:
    """Convergence by the forwarding rate, sampled; None where the rate never fell or never came back.

    Attributes:
        instant: Convergence Event Instant: the beginning of the first sample below the offered load.
        first_route: The beginning of the first sample that is better than the worst one after the event.
        recovery: Convergence Recovery Instant: the end of the last sample below the offered load.
        sampling: Length of a sample.
    """

    instant: int | None
    first_route: int | None
    recovery: int | None
    sampling: int

    @property
    def full(self) -> int | None:
        """Full Convergence Time from the event as the data plane shows it, accurate to two samples."""
        return None if self.instant is None or self.recovery is None else self.recovery - self.instant


def loss_of_connectivity(flows: Sequence[Flow], *, since: int = 0, until: int = 1 << 62) -> LossOfConnectivity:
    """The periods without connectivity, loss-derived, of packets sent in [since, until]."""
    by_flow = {
        flow.number: sum(not p.fate.good for p in flow.packets if since <= p.sent <= until) * flow.interval
        for flow in flows
    }
    values = list(by_flow.values()) or [0]
    return LossOfConnectivity(by_flow, min(values), max(values), round(median(values)), sum(values) // len(values))


def loss_derived(flows: Sequence[Flow], *, since: int = 0, until: int = 1 << 62) -> int:
    """Loss-derived convergence time: lost packets divided by the offered load, over all flows together."""
    return loss_of_connectivity(flows, since=since, until=until).average


def rate_derived(flows: Sequence[Flow], *, since: int | None = None, sampling: int = SAMPLING) -> RateDerived:
    """Convergence from when the forwarding rate falls below the offered load until it is back for good.

    Args:
        flows: What was sent and answered.
        since: Time of the event; earlier loss is left out.
        sampling: Length of a sample. Samples in which nothing was sent say nothing; short ones of slow flows are like
            that, so it is made at least twice the time between two packets.
    """
    packets = sorted((p.sent, p.fate.good) for flow in flows for p in flow.packets)
    if not packets:
        return RateDerived(None, None, None, sampling)
    sampling = max(sampling, 2 * flows[0].interval // len(flows))
    begin = packets[0][0] if since is None else since
    stamps = [sent for sent, _ in packets]
    answered = [0]
    for _, good in packets:
        answered.append(answered[-1] + good)
    samples: list[tuple[int, float]] = []  # (begin, share of the offered load)
    while begin <= stamps[-1]:
        low, high = bisect_left(stamps, begin), bisect_left(stamps, begin + sampling)
        if high > low:
            samples.append((begin, (answered[high] - answered[low]) / (high - low)))
        begin += sampling
    below = [at for at, share in samples if share < 1]
    if not below:
        return RateDerived(None, None, None, sampling)
    worst_at, worst = min(samples, key=lambda sample: (sample[1], sample[0]))
    better = next((at for at, share in samples if at > worst_at and share > worst), None)
    recovery = below[-1] + sampling if below[-1] != samples[-1][0] else None
    return RateDerived(below[0], better, recovery, sampling)


def first_loss_after(flows: Sequence[Flow], at: int) -> int | None:
    """When the first packet that was lost after an event was sent."""
    return min((p.sent for flow in flows for p in flow.packets if p.sent >= at and not p.fate.good), default=None)


def answered_between(flow: Flow, begin: int, end: int) -> tuple[int, int]:
    """How many packets of those sent in [begin, end] there are, and how many of them were answered."""
    stamps = [packet.sent for packet in flow.packets]
    chosen = flow.packets[bisect_left(stamps, begin) : bisect_right(stamps, end)]
    return len(chosen), sum(packet.fate.good for packet in chosen)
