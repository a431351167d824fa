"""What a scenario expects of its outages, and whether several runs show it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.verdict.interval import Interval, interval
from harness.verdict.trust import Trust


class Verdict(enum.Enum):
    """The outcome of an expectation."""

    PASSED = "passed"
    FAILED = "failed"
    UNTRUSTED = "untrusted"


@dataclass(frozen=True)
class Sample:
    """One run.

    Attributes:
        outage_ms: The outage that the question is about, 0 when nothing was lost.
        resolution_ms: How finely it is known.
        lost: Packets lost in the whole run.
        watched_ms: How long traffic flowed after the fault.
        trust: Whether the run may be believed.
        detail: What a failure should say of this run: direction, place, the timeline's first events.
    """

    outage_ms: float
    resolution_ms: float
    lost: int
    watched_ms: float
    trust: Trust
    detail: str = ""


@dataclass(frozen=True)
class Result:
    """The verdict with what it rests on; the first line of `message` says it in one sentence."""

    verdict: Verdict
    expected: str
    message: str
    samples: tuple[Sample, ...]
    interval: Interval | None

    def facts(self) -> dict[str, Any]:
        """The JSON form for a result file; durations in milliseconds."""
        return {
            "verdict": self.verdict.value,
            "expected": self.expected,
            "message": self.message,
            "outages_ms": [round(sample.outage_ms, 3) for sample in self.samples],
            "resolution_ms": max((round(sample.resolution_ms, 3) for sample in self.samples), default=None),
            "interval_ms": None
            if self.interval is None
            else {
                "low": round(self.interval.low, 3),
                "high": round(self.interval.high, 3),
                "middle": round(self.interval.middle, 3),
                "method": self.interval.method,
                "runs": self.interval.runs,
            },
            "trust": [str(sample.trust) for sample in self.samples],
        }


def outage(samples: Sequence[Sample], *, max_ms: float, runs: int = 1, worst_ms: float | None = None) -> Result:
    """An outage of at most max_ms: the whole confidence interval must be within the budget.

    With one run there is no interval, and the value itself must be.

    Args:
        samples: The runs.
        max_ms: The budget.
        runs: How many trusted runs it takes.
        worst_ms: No single run may be longer than this; None: no such limit.
    """
    expected = f"an outage of at most {max_ms:g} ms over {_count(runs)}"
    doubt = _doubt(samples, runs, expected)
    if doubt is not None:
        return doubt
    values, found = _values(samples)
    worst = max(samples, key=lambda sample: sample.outage_ms)
    if worst_ms is not None and worst.outage_ms > worst_ms:
        return _result(Verdict.FAILED, expected, f"one run took {worst.outage_ms:.1f} ms{_why(worst)}", samples, found)
    if found is None:
        good = values[0] <= max_ms
        text = f"measured {values[0]:.1f} ms (one run, no interval)"
    elif found.low > max_ms:
        good, text = False, f"measured {found} ms"
    elif found.high > max_ms:
        good, text = False, f"measured {found} ms: not shown to be within the budget; more runs would tell"
    else:
        good, text = True, f"measured {found} ms"
    return _result(Verdict.PASSED if good else Verdict.FAILED, expected, text + _why(worst, not good), samples, found)


def no_outage(samples: Sequence[Sample], *, window_ms: float, precondition: str, held: bool, runs: int = 1) -> Result:
    """Not one packet lost for a whole window in any run.

    Args:
        samples: The runs.
        window_ms: How long traffic must have flowed after the fault: past the last timer that could still fire.
        precondition: What makes that something to prove ("graceful restart was negotiated both ways").
        held: Whether the precondition was true in every run; without it the check is vacuous.
        runs: How many trusted runs it takes.
    """
    expected = f"no packet lost for {window_ms:g} ms over {_count(runs)}, given that {precondition}"
    if not held:
        return _result(Verdict.FAILED, expected, f"nothing to prove: it is not true that {precondition}", samples, None)
    doubt = _doubt(samples, runs, expected)
    if doubt is not None:
        return doubt
    _, found = _values(samples)
    short = min(samples, key=lambda sample: sample.watched_ms)
    if short.watched_ms < window_ms:
        text = f"traffic was watched for {short.watched_ms:.0f} ms only"
        return _result(Verdict.FAILED, expected, text, samples, found)
    worst = max(samples, key=lambda sample: (sample.lost, sample.outage_ms))
    if worst.lost:
        text = f"{worst.lost} packets lost, longest outage {worst.outage_ms:.1f} ms{_why(worst)}"
        return _result(Verdict.FAILED, expected, text, samples, found)
    return _result(Verdict.PASSED, expected, "no packet was lost", samples, found)


def outage_at_least(samples: Sequence[Sample], *, min_ms: float, runs: int = 1) -> Result:
    """A negative control: with the protection off there must be an outage, or the test that it belongs to is blind."""
    expected = f"a control's outage of at least {min_ms:g} ms over {_count(runs)}"
    doubt = _doubt(samples, runs, expected)
    if doubt is not None:
        return doubt
    _, found = _values(samples)
    least = min(samples, key=lambda sample: sample.outage_ms)
    if least.outage_ms < min_ms:
        text = f"only {least.outage_ms:.1f} ms: the test is blind, its protected twin proves nothing{_why(least)}"
        return _result(Verdict.FAILED, expected, text, samples, found)
    return _result(Verdict.PASSED, expected, f"the least was {least.outage_ms:.1f} ms", samples, found)


def _doubt(samples: Sequence[Sample], runs: int, expected: str) -> Result | None:
    """Untrusted when a run is, or when there are too few: a figure that is not believed neither passes nor fails."""
    reasons = [str(sample.trust) for sample in samples if not sample.trust.trusted]
    if reasons:
        text = f"{len(reasons)} of {_count(len(samples))} untrusted: " + "; ".join(
            dict.fromkeys(reason.removeprefix("untrusted: ") for reason in reasons)
        )
        return _result(Verdict.UNTRUSTED, expected, text, samples, None)
    if len(samples) < max(runs, 1):
        return _result(Verdict.UNTRUSTED, expected, f"there are only {len(samples)} of them", samples, None)
    return None


def _values(samples: Sequence[Sample]) -> tuple[list[float], Interval | None]:
    values = [sample.outage_ms for sample in samples]
    return values, interval(values)


def _result(verdict: Verdict, expected: str, text: str, samples: Sequence[Sample], found: Interval | None) -> Result:
    message = f"expected {expected}: {text}" if verdict is not Verdict.PASSED else text
    return Result(verdict, expected, message, tuple(samples), found)


def _why(sample: Sample, say: bool = True) -> str:
    return f"\n{sample.detail}" if say and sample.detail else ""


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"
