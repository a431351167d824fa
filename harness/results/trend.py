"""How a scenario's figure has gone over dates or versions. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from harness.cilium import semver
from harness.results.history import Entry
from harness.verdict import compare
from harness.verdict.interval import Interval, interval

By = Literal["run", "date", "version"]

_BARS = "▁▂▃▄▅▆▇█"
#: Outages below this look alike in the line of bars: differences of one or two packets mean nothing (ms).
_FLAT_MS = 100.0
#: Values that a comparison takes on each side at least (`harness.verdict.compare`).
_FEWEST = 2


@dataclass(frozen=True)
class Step:
    """One run, the runs of one day, or those with one version.

    Attributes:
        key: The moment, the date or the version.
        values: What was measured, milliseconds; only trusted runs where there are any.
        resolution_ms: How finely that is known.
        trusted: Whether there is a run that may be believed.
        outcomes: How often the scenario passed, failed, ...
        versions: The Cilium versions that ran.
    """

    key: str
    values: tuple[float, ...]
    resolution_ms: float
    trusted: bool
    outcomes: dict[str, int]
    versions: tuple[str, ...]

    @property
    def middle_ms(self) -> float | None:
        """The median; None where nothing was measured."""
        return median(self.values) if self.values else None

    @property
    def interval(self) -> Interval | None:
        """Where the middle lies with 95 % confidence."""
        return interval(self.values)


@dataclass(frozen=True)
class Trend:
    """One figure of one scenario, step by step, the oldest first."""

    scenario: str
    figure: str
    steps: tuple[Step, ...]

    @property
    def bars(self) -> str:
        """The medians as a line of bars; a dot where nothing was measured."""
        known = [step.middle_ms for step in self.steps if step.middle_ms is not None]
        top = max([*known, _FLAT_MS])
        return "".join(
            "·" if step.middle_ms is None else _BARS[min(int(step.middle_ms / top * len(_BARS)), len(_BARS) - 1)]
            for step in self.steps
        )

    @property
    def shift_ms(self) -> float | None:
        """How far the newest median lies above that of all before it; None when either has no trusted value."""
        earlier, last = self._sides
        return median(last) - median(earlier) if earlier and last else None

    @property
    def newest(self) -> compare.Compared | None:
        """The newest step against all before it; None with fewer than two trusted values on a side."""
        earlier, last = self._sides
        if min(len(earlier), len(last)) < _FEWEST:
            return None
        resolution = max(step.resolution_ms for step in self.steps)
        return compare.figure(compare.Figure(earlier, last, resolution))

    @property
    def _sides(self) -> tuple[list[float], list[float]]:
        *before, last = self.steps
        earlier = [value for step in before if step.trusted for value in step.values]
        return earlier, list(last.values) if last.trusted else []

    def facts(self) -> dict[str, Any]:
        """The JSON form."""
        newest = self.newest
        return {
            "scenario": self.scenario,
            "figure": self.figure,
            "steps": [
                {
                    "key": step.key,
                    "median_ms": step.middle_ms,
                    "interval_ms": None if (about := step.interval) is None else [about.low, about.high],
                    "values_ms": list(step.values),
                    "resolution_ms": step.resolution_ms,
                    "trusted": step.trusted,
                    "outcomes": step.outcomes,
                    "versions": list(step.versions),
                }
                for step in self.steps
            ],
            "shift_ms": self.shift_ms,
            "newest": None
            if newest is None
            else {
                "verdict": newest.decision.verdict.value,
                "text": newest.decision.text,
                "effect_ms": newest.effect,
            },
        }


def trends(entries: Iterable[Entry], by: By, *, last: int | None = None) -> list[Trend]:
    """The trend of every figure of every scenario that is given.

    Args:
        entries: Of the history, the oldest first.
        by: Whether each run, the runs of a day, or those of a version are one step.
        last: Only so many newest steps.
    """
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        for name in entry.figures or ("",):
            groups.setdefault((entry.scenario, name), []).append(entry)
    return [
        Trend(scenario, figure, _steps(group, figure, by)[-last if last else 0 :])
        for (scenario, figure), group in sorted(groups.items())
    ]


def _steps(entries: Sequence[Entry], figure: str, by: By) -> tuple[Step, ...]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_key(entry, by), []).append(entry)
    return tuple(_step(name, groups[name], figure) for name in sorted(groups, key=_order(by)))


def _key(entry: Entry, by: By) -> str:
    if by == "version":
        return entry.cilium
    begun = entry.run or entry.at
    return begun[:10] if by == "date" else begun[:19].replace("T", " ")


def _order(by: By) -> Callable[[str], Any]:
    if by != "version":
        return str

    def order(version: str) -> tuple[bool, Any]:
        known = semver.read(version)
        return (True, known) if known else (False, version)

    return order


def _step(key: str, entries: Sequence[Entry], figure: str) -> Step:
    measured = [entry.figures[figure] for entry in entries if figure in entry.figures]
    trusted = [values for values in measured if values.trusted]
    counted = trusted or measured
    return Step(
        key=key,
        values=tuple(value for values in counted for value in values.ms),
        resolution_ms=max((values.resolution_ms for values in counted), default=0.0),
        trusted=bool(trusted),
        outcomes=dict(Counter(entry.outcome for entry in entries)),
        versions=tuple(dict.fromkeys(entry.cilium for entry in entries)),
    )
