"""95 % confidence intervals over several runs, each with the method that made it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, median, stdev

LEVEL = 0.95

#: With fewer runs not even the range from the least to the greatest value covers the median with 95 %:
#: 1 - 2 * 0.5**n is 0.938 for five runs and 0.969 for six.
FEWEST_FOR_MEDIAN = 6

_RESAMPLES = 10_000
#: Any fixed number: the same runs always give the same interval.
_SEED = 7680

#: Student's t, two-sided 95 %, for 1 to 30 degrees of freedom (any table of the distribution).
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_NORMAL = 1.959964


@dataclass(frozen=True)
class Interval:
    """Where the true middle lies with 95 % confidence.

    Attributes:
        low: Lower end.
        high: Upper end.
        middle: The estimate itself: the median or the mean.
        runs: How many values it was made of.
        method: How, as it is printed beside it.
    """

    low: float
    high: float
    middle: float
    runs: int
    method: str

    def __str__(self) -> str:
        return f"{self.middle:.1f} ({self.low:.1f} to {self.high:.1f}, {self.method}, n={self.runs})"


def of_median(values: Sequence[float], *, seed: int = _SEED, resamples: int = _RESAMPLES) -> Interval | None:
    """Percentile bootstrap of the median, seeded; None for fewer than two values.

    It assumes nothing about the distribution, and outages have none to rely on: timers make them uniform or two-humped.
    """
    if len(values) < 2:
        return None
    pick = random.Random(seed)
    medians = sorted(median(pick.choices(values, k=len(values))) for _ in range(resamples))
    tail = int((1 - LEVEL) / 2 * resamples)
    return Interval(medians[tail], medians[-tail - 1], median(values), len(values), "95 % bootstrap of the median")


def of_mean(values: Sequence[float], *, floor: float | None = 0.0) -> Interval | None:
    """Student's t interval of the mean; None for fewer than two values.

    Args:
        values: The measurements.
        floor: What a value cannot fall below, durations not below zero; None: no limit.
    """
    if len(values) < 2:
        return None
    middle = fmean(values)
    half = _t(len(values) - 1) * stdev(values) / sqrt(len(values))
    low = middle - half if floor is None else max(floor, middle - half)
    return Interval(low, middle + half, middle, len(values), "95 % t interval of the mean")


def interval(values: Sequence[float]) -> Interval | None:
    """The interval that the number of runs allows: of the median from six on, of the mean below, none for one run."""
    return of_median(values) if len(values) >= FEWEST_FOR_MEDIAN else of_mean(values)


def _t(freedom: int) -> float:
    if freedom <= len(_T):
        return _T[freedom - 1]
    # The first terms of the expansion in 1/freedom around the normal quantile; exact to 0.001 above 30.
    z = _NORMAL
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
