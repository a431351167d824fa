"""What was measured: samples with a unit and a bar, and the table and JSON they are shown as. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: How a number of each unit is written; JSON has it unrounded.
_FORMAT = {"s": "{:.2f} s", "ms": "{:.3f} ms", "MB": "{:.0f} MB", "": "{:g}"}


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        what: What was measured.
        unit: "s", "ms", "MB" (10^6 bytes) or "".
        samples: One value for each run.
        bar: What the median may be at most; None for a figure that only informs.
        skipped: Why it was not measured, by name; None when it was.
        doubts: Why the samples are not to be trusted; empty when they are.
        note: What helps to read it.
    """

    what: str
    unit: str = "s"
    samples: Sequence[float] = ()
    bar: float | None = None
    skipped: str | None = None
    doubts: Sequence[str] = ()
    note: str = ""

    @property
    def median(self) -> float | None:
        """The median of the samples; None without any."""
        return statistics.median(self.samples) if self.samples else None

    @property
    def verdict(self) -> str:
        """Tell ok or over the bar; untrusted instead of either; skipped; nothing where there is no bar."""
        if self.skipped is not None or self.median is None:
            return "skipped"
        if self.bar is None:
            return "untrusted" if self.doubts else ""
        if self.doubts:
            return "untrusted"
        return "ok" if self.median <= self.bar else "over"

    def written(self, value: float | None) -> str:
        """A value with its unit."""
        return "" if value is None else _FORMAT[self.unit].format(value)

    def as_dict(self) -> dict[str, Any]:
        """The figure as JSON types."""
        return {
            "what": self.what,
            "unit": self.unit,
            "median": self.median,
            "samples": list(self.samples),
            "bar": self.bar,
            "verdict": self.verdict,
            "skipped": self.skipped,
            "doubts": list(self.doubts),
            "note": self.note,
        }


@dataclass
class Collection:
    """Samples by name, as runs deliver them, with what made them doubtful."""

    samples: dict[str, list[float]] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def add(self, measured: Mapping[str, float], doubt: str | None = None) -> None:
        """Add what one run measured."""
        for name, value in measured.items():
            self.samples.setdefault(name, []).append(value)
        if doubt is not None:
            self.doubts.append(doubt)

    def median(self, name: str) -> float | None:
        """The median of what was measured under a name."""
        values = self.samples.get(name)
        return statistics.median(values) if values else None


def per_node(small: float | None, large: float | None, added: int) -> list[float]:
    """What each of `added` nodes costs, from the medians without and with them; nothing where one is missing."""
    return [] if small is None or large is None else [(large - small) / added]


def lines(figures: Iterable[Figure]) -> list[tuple[str, ...]]:
    """The rows of the table: what, median, range, number of samples, bar, verdict."""
    return [
        (
            one.what,
            one.written(one.median),
            f"{one.written(min(one.samples))} – {one.written(max(one.samples))}" if len(one.samples) > 1 else "",
            str(len(one.samples)) if one.samples else "",
            f"≤ {one.written(one.bar)}" if one.bar is not None else "",
            one.verdict,
        )
        for one in figures
    ]


def remarks(figures: Iterable[Figure]) -> list[str]:
    """Why figures are missing or doubtful, and notes; one line each, equal ones once."""
    said: dict[str, None] = {}
    for one in figures:
        if one.skipped is not None:
            said[f"{one.what}: skipped: {one.skipped}"] = None
        for doubt in one.doubts[:1]:
            more = f" (and {len(one.doubts) - 1} more)" if len(one.doubts) > 1 else ""
            said[f"{one.what}: untrusted: {doubt}{more}"] = None
        if one.note and one.samples:
            said[f"{one.what}: {one.note}"] = None
    return list(said)
