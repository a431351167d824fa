"""What a scenario expects of its outages: budgets over several runs; and runs that cannot be trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from harness.errors import Untrusted
from harness.measure import Measured
from harness.verdict import budget
from harness.verdict.budget import Result, Verdict
from harness.verdict.deviation import deviation
from harness.verdict.predict import Prediction

#: How many runs may be repeated because the machine was busy.
_REPEATS = 2

Run = TypeVar("Run", bound=Measured | Mapping[str, Measured])


class Expect:
    """Decides, and keeps every figure for the scenario's record.

    Args:
        runs: How many runs a scenario makes; `--runs`.
    """

    def __init__(self, runs: int = 1) -> None:
        self.count = runs
        self.records: list[dict[str, Any]] = []

    def runs(self, run: Callable[[], Run], *, count: int | None = None) -> list[Run]:
        """Make the scenario's runs; one that cannot be trusted is repeated, at most twice in all.

        Args:
            run: Makes one.
            count: Where more of them would say nothing new; by default as many as were asked for.
        """
        found: list[Run] = []
        repeats = 0
        while len(found) < (self.count if count is None else count):
            one = run()
            parts = list(one.values()) if isinstance(one, Mapping) else [one]
            if repeats < _REPEATS and not all(part.trust.trusted for part in parts):
                repeats += 1
                continue
            found.append(one)
        return found

    def outage(
        self,
        measured: Measured | Sequence[Measured],
        *,
        max_ms: float,
        since_ns: int = 0,
        predicted: Prediction | None = None,
    ) -> Result:
        """An outage of at most so many milliseconds, as a median with its confidence interval over the runs."""
        runs = _listed(measured)
        return self._settle(
            budget.outage(self._samples(runs, since_ns), max_ms=max_ms, runs=len(runs)), runs, predicted
        )

    def no_outage(
        self,
        measured: Measured | Sequence[Measured],
        *,
        window: float,
        precondition: str,
        held: bool,
        since_ns: int = 0,
    ) -> Result:
        """Not one packet lost for a window of seconds; `precondition` is what makes that something to prove."""
        runs = _listed(measured)
        samples = self._samples(runs, since_ns)
        result = budget.no_outage(samples, window_ms=window * 1e3, precondition=precondition, held=held, runs=len(runs))
        return self._settle(result, runs, Prediction(0, 0, 0, "no packet lost", "RFC 4724 section 4"))

    def outage_at_least(
        self,
        measured: Measured | Sequence[Measured],
        *,
        min_ms: float,
        since_ns: int = 0,
        predicted: Prediction | None = None,
    ) -> Result:
        """A negative control: there must be an outage of at least so many milliseconds, or the test is blind."""
        runs = _listed(measured)
        samples = self._samples(runs, since_ns)
        return self._settle(budget.outage_at_least(samples, min_ms=min_ms, runs=len(runs)), runs, predicted)

    def outage_between(
        self,
        measured: Measured | Sequence[Measured],
        *,
        min_ms: float,
        max_ms: float,
        since_ns: int = 0,
        predicted: Prediction | None = None,
    ) -> None:
        """An outage that is neither shorter nor longer than the protocol's timers say."""
        self.outage_at_least(measured, min_ms=min_ms, since_ns=since_ns, predicted=predicted)
        self.outage(measured, max_ms=max_ms, since_ns=since_ns, predicted=predicted)

    def _samples(self, runs: Sequence[Measured], since_ns: int) -> list[budget.Sample]:
        return [run.sample(since_ns) for run in runs]

    def _settle(self, result: Result, runs: Sequence[Measured], predicted: Prediction | None) -> Result:
        facts = result.facts()
        if facts["interval_ms"] is None and len(runs) == 1:
            facts["interval_ms"] = _of_one_run(runs[0])
        finding = None
        if predicted is not None and result.verdict is not Verdict.UNTRUSTED:
            measured = result.interval or (result.samples[0].outage_ms if result.samples else 0.0)
            finding = deviation(measured, predicted)
        for run in runs:
            run.prediction = predicted
        self.records.append(
            {
                **facts,
                "prediction": predicted.facts() if predicted else None,
                "finding": None if finding is None else str(finding),
                "runs": [run.facts() for run in runs],
            }
        )
        if result.verdict is Verdict.UNTRUSTED:
            raise Untrusted(result.message)
        if result.verdict is Verdict.FAILED:
            raise AssertionError(result.message)
        return result


def _listed(measured: Measured | Sequence[Measured]) -> list[Measured]:
    return [measured] if isinstance(measured, Measured) else list(measured)


def _of_one_run(run: Measured) -> dict[str, Any]:
    """One run has no confidence interval; what it has are the bounds that its packets leave."""
    worst = run.worst()
    low = worst.shortest / 1e6 if worst else 0.0
    high = (worst.longest or worst.duration) / 1e6 if worst else run.analysis.resolution / 1e6
    return {"low": low, "high": high, "middle": worst.duration / 1e6 if worst else 0.0, "method": "bounds", "runs": 1}
