"""By how much a second group of measurements lies above a first one, with a confidence interval for few runs.

With enough runs for the confidence that is wanted, the interval is exact and assumes nothing about the distribution:
Hodges and Lehmann's estimate with the interval of the Mann-Whitney rank test. Outages need that: timers make them
uniform or two-humped. With fewer runs no such interval exists, and Student's t with pooled variance stands in: it is a
screen, which more runs have to confirm (`fewest`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import comb, cos, pi, sqrt, tan
from statistics import fmean, median

from harness.verdict.interval import Interval

#: Steps of Simpson's rule and of bisection: t quantiles are exact to six digits.
_STEPS = 400
_HALVINGS = 60


def shift(a: Sequence[float], b: Sequence[float], *, alpha: float = 0.05) -> Interval | None:
    """How far b lies above a; None with fewer than two values on a side.

    Args:
        a: The first group.
        b: The second group.
        alpha: How often the interval may miss the true shift, on both ends together.
    """
    if min(len(a), len(b)) < 2:
        return None
    return _exact(a, b, alpha) if is_exact(len(a), len(b), alpha) else _student(a, b, alpha)


def is_exact(a: int, b: int, alpha: float) -> bool:
    """Whether groups of so many values can show a shift with a rank test at this confidence at all."""
    return comb(a + b, a) >= 2 / alpha


def fewest(alpha: float) -> int:
    """The least number of values in each of two equal groups for which the interval is exact."""
    number = 2
    while not is_exact(number, number, alpha):
        number += 1
    return number


def noise(a: Sequence[float], b: Sequence[float]) -> float:
    """What the middles of groups of these sizes differ by when nothing differs, 95 times of 100.

    Measured, not assumed: the 95th percentile of the differences between two runs of the same version, of both
    versions, scaled from single runs to groups. Zero without a pair of runs of one version.
    """
    pairs = sorted(
        abs(one - other) for group in (a, b) for number, one in enumerate(group) for other in group[number + 1 :]
    )
    if not pairs:
        return 0.0
    # the difference of two single values has the variance 2 s², that of two means s² (1/n + 1/m)
    scale = sqrt((1 / len(a) + 1 / len(b)) / 2)
    return pairs[min(int(0.95 * len(pairs)), len(pairs) - 1)] * scale


def fisher(failed_a: int, runs_a: int, failed_b: int, runs_b: int) -> float:
    """How likely b has at least so many of all failures by chance (Fisher's exact test, one-sided)."""
    failed, runs = failed_a + failed_b, runs_a + runs_b
    ways = sum(comb(runs_b, in_b) * comb(runs_a, failed - in_b) for in_b in range(failed_b, min(failed, runs_b) + 1))
    return ways / comb(runs, failed)


def _exact(a: Sequence[float], b: Sequence[float], alpha: float) -> Interval:
    differences = sorted(after - before for before in a for after in b)
    rank = _rank(len(a), len(b), alpha)
    found = f"{_percent(alpha)} exact interval of the shift (ranks)"
    return Interval(differences[rank], differences[-rank - 1], median(differences), len(a) + len(b), found)


def _student(a: Sequence[float], b: Sequence[float], alpha: float) -> Interval:
    middle, freedom = fmean(b) - fmean(a), len(a) + len(b) - 2
    squares = sum((one - fmean(group)) ** 2 for group in (a, b) for one in group)
    half = t_quantile(1 - alpha / 2, freedom) * sqrt(squares / freedom * (1 / len(a) + 1 / len(b)))
    found = f"{_percent(alpha)} t interval of the difference of means"
    return Interval(middle - half, middle + half, middle, len(a) + len(b), found)


@functools.cache
def _rank(a: int, b: int, alpha: float) -> int:
    """How many of the sorted differences are cut off at each end."""
    counts, total = _counts(a, b), comb(a + b, a)
    below, rank = 0, 0
    # P(U <= rank) is what is missed when `rank + 1` differences are cut off
    while (below := below + counts[rank]) <= alpha / 2 * total:
        rank += 1
    return max(rank - 1, 0)


@functools.cache
def _counts(a: int, b: int) -> tuple[int, ...]:
    """In how many orders of a + b values a pair of groups has each value of Mann and Whitney's U."""
    if not a or not b:
        return (1,)
    # the greatest value is of the first group, above all b others, or of the second
    first, second = _counts(a - 1, b), _counts(a, b - 1)
    found = [0] * (a * b + 1)
    for value, ways in enumerate(first):
        found[value + b] += ways
    for value, ways in enumerate(second):
        found[value] += ways
    return tuple(found)


@functools.cache
def t_quantile(probability: float, freedom: int) -> float:
    """Student's t: the value that a share of `probability` (above one half) lies below.

    With x = sqrt(freedom) tan(angle) the density becomes cos(angle)^(freedom - 1), which is integrated numerically.
    """

    def integral(upto: float) -> float:
        width = upto / _STEPS
        inner = sum((4 if step % 2 else 2) * cos(step * width) ** (freedom - 1) for step in range(1, _STEPS))
        return (1 + inner + cos(upto) ** (freedom - 1)) * width / 3

    wanted = (probability - 0.5) * 2 * integral(pi / 2)
    low, high = 0.0, pi / 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if integral(middle) < wanted else (low, middle)
    return sqrt(freedom) * tan(low)


def _percent(alpha: float) -> str:
    return f"{100 * (1 - alpha):.4g} %"
