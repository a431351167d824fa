"""How reports write durations and intervals."""

from __future__ import annotations

from harness.verdict.interval import Interval


def duration(milliseconds: float) -> str:
    """An outage in the unit that suits it; no more digits than are known."""
    if milliseconds <= 0:
        return "0"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s"


def change(milliseconds: float) -> str:
    """A difference of two outages, with its sign."""
    sign = "+" if milliseconds > 0 else "-" if milliseconds < 0 else "±"
    return f"{sign}{duration(abs(milliseconds))}"


def between(low: float, high: float) -> str:
    """A range of outages; one figure where its ends read the same."""
    ends = dict.fromkeys((duration(low), duration(high)))
    return " to ".join(ends)


def spread(found: Interval | None) -> str:
    """The range in which the middle lies with 95 % confidence; empty for a single run."""
    return "" if found is None else between(found.low, found.high)
