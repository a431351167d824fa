"""Whether something recurs at regular intervals, and at which: from when its gaps began. Pure.

A refresh whose gap is too short to be seen leaves out a beat: intervals are multiples of the period (20, 40, 60 min in
facts/l2_and_lag.md, section 2.3, F6). So the longest period is looked for of which all intervals are multiples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

#: An interval may be off by so many seconds, or by this share of the period if that is more: what a busy machine adds.
TOLERANCE_S, TOLERANCE_SHARE = 5.0, 0.01
#: The probability with which intervals of any length would have fitted that well by chance must be below this.
BY_CHANCE = 0.05
#: Beats that may be left out between two gaps.
MOST_BEATS = 6


@dataclass(frozen=True)
class Period:
    """A period; seconds.

    Attributes:
        seconds: The best fit of all intervals.
        low: The shortest interval, divided by its beats.
        high: The longest one.
        beats: How many periods lie in each interval: 1 throughout if no beat was left out.
        chance: With which probability intervals of any length would fit as well.
    """

    seconds: float
    low: float
    high: float
    beats: tuple[int, ...]
    chance: float

    def __str__(self) -> str:
        left_out = sum(self.beats) - len(self.beats)
        skipped = f", {left_out} beats left out" if left_out else ""
        return f"every {self.seconds:.0f} s ({self.low:.0f} to {self.high:.0f} s{skipped})"


def period(starts: Sequence[float], *, tolerance: float | None = None) -> Period | None:
    """The period of what began at these moments; None when there is none, or too few to tell.

    Args:
        starts: Seconds, at least three of them for an answer: one interval is no period.
        tolerance: By how many seconds an interval may be off; by default as the module says.
    """
    moments = sorted(starts)
    intervals = [later - earlier for earlier, later in pairwise(moments)]
    if len(intervals) < 2 or min(intervals) <= 0:
        return None
    shortest = min(intervals)
    for divisor in range(1, MOST_BEATS + 1):
        found = _fit(intervals, shortest / divisor, tolerance)
        if found is not None:
            return found
    return None


def _fit(intervals: Sequence[float], guess: float, tolerance: float | None) -> Period | None:
    beats = [max(1, round(interval / guess)) for interval in intervals]
    if max(beats) > MOST_BEATS:
        return None
    best = sum(n * interval for n, interval in zip(beats, intervals, strict=True)) / sum(n * n for n in beats)
    slack = max(TOLERANCE_S, TOLERANCE_SHARE * best) if tolerance is None else tolerance
    if any(abs(interval - n * best) > slack for n, interval in zip(beats, intervals, strict=True)):
        return None
    # the first interval sets the period; every other one had to fall beside a multiple of it
    chance = min(1.0, 2 * slack / best) ** (len(intervals) - 1)
    if chance > BY_CHANCE:
        return None
    each = [interval / n for n, interval in zip(beats, intervals, strict=True)]
    return Period(best, min(each), max(each), tuple(beats), chance)


def merged(gaps: Sequence[tuple[float, float]], *, apart: float = 0.0) -> list[tuple[float, float]]:
    """Gaps of several flows, as (start, end), as gaps of the whole: those that overlap, or nearly, are one.

    Args:
        gaps: In any order.
        apart: Between two that still make them one.
    """
    found: list[tuple[float, float]] = []
    for start, end in sorted(gaps):
        if found and start <= found[-1][1] + apart:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found
