"""What a scorecard is made of: events in rows, announcers in columns, runs in cells. Pure; times are milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from harness.measure import Measured
from harness.traffic.outages import share_of_flows
from harness.verdict.deviation import deviation
from harness.verdict.interval import Interval, interval
from harness.verdict.predict import Prediction

_MS = 1_000_000
#: An outage that a game's player notices as more than a spike; a flow with a longer one counts as broken.
BROKEN_MS = 200.0
#: Outages that differ by less than this much of the smaller one, or by less than `_SAME_MS`, are called equal.
_SAME_SHARE = 0.2
_SAME_MS = 50.0


@dataclass(frozen=True)
class Column:
    """One way to announce an address.

    Attributes:
        key: What JSON calls it: "metallb-l2".
        title: What people call it: "MetalLB L2".
    """

    key: str
    title: str


CILIUM_BGP_GR = Column("cilium-bgp-gr", "Cilium BGP, GR")
CILIUM_BGP = Column("cilium-bgp", "Cilium BGP")
METALLB_L2 = Column("metallb-l2", "MetalLB L2")
CILIUM_L2 = Column("cilium-l2", "Cilium L2")
METALLB_BGP = Column("metallb-bgp", "MetalLB BGP")
COLUMNS = (CILIUM_BGP_GR, CILIUM_BGP, METALLB_L2, CILIUM_L2, METALLB_BGP)


@dataclass(frozen=True)
class Run:
    """One column in one run of one event.

    Attributes:
        outage_ms: The longest outage of any flow from the event on.
        resolution_ms: How finely it is known.
        lost: Packets lost from the event on, of all flows.
        broken: The share of flows with an outage of more than `BROKEN_MS`.
        trusted: Whether the run may be believed.
        reasons: Why not.
        timeline: The file with what happened in this run.
    """

    outage_ms: float
    resolution_ms: float
    lost: int
    broken: float
    trusted: bool
    reasons: tuple[str, ...] = ()
    timeline: str | None = None

    @classmethod
    def of(cls, measured: Measured, timeline: str | None = None) -> Run:
        """From a probe's run, which began before the event and lost nothing until then."""
        worst = measured.worst()
        analysis = measured.analysis
        return cls(
            outage_ms=worst.duration / _MS if worst else 0.0,
            resolution_ms=analysis.resolution / _MS,
            lost=analysis.loss.lost,
            broken=share_of_flows(analysis.flows, longer_than=int(BROKEN_MS * _MS)),
            trusted=measured.trust.trusted,
            reasons=measured.trust.reasons,
            timeline=timeline,
        )


@dataclass
class Cell:
    """One event for one announcer, over all its runs; figures are of the trusted runs when there are any."""

    runs: list[Run] = field(default_factory=list)
    prediction: Prediction | None = None

    @property
    def counted(self) -> list[Run]:
        """The runs that the figures are made of."""
        return [run for run in self.runs if run.trusted] or self.runs

    @property
    def trusted(self) -> bool:
        """Whether there is a run that may be believed."""
        return any(run.trusted for run in self.runs)

    @property
    def p50_ms(self) -> float:
        """The median outage."""
        return median(run.outage_ms for run in self.counted)

    @property
    def interval(self) -> Interval | None:
        """Where the median lies with 95 % confidence; None for one run."""
        return interval([run.outage_ms for run in self.counted])

    @property
    def lost(self) -> int:
        """The median of the packets lost."""
        return int(median(run.lost for run in self.counted))

    @property
    def broken(self) -> float:
        """The median share of broken flows."""
        return median(run.broken for run in self.counted)

    @property
    def finding(self) -> str | None:
        """Where measurement and prediction part."""
        if self.prediction is None or not self.runs:
            return None
        found = deviation(self.interval or self.p50_ms, self.prediction)
        return None if found is None else str(found)

    def facts(self) -> dict[str, Any]:
        """The JSON form."""
        about, predicted = self.interval, self.prediction
        return {
            "p50_ms": round(self.p50_ms, 3),
            "interval_ms": None
            if about is None
            else {"low": round(about.low, 3), "high": round(about.high, 3), "method": about.method},
            "resolution_ms": round(max(run.resolution_ms for run in self.runs), 3),
            "lost": self.lost,
            "broken": round(self.broken, 3),
            "trusted": self.trusted,
            "prediction": predicted.facts() if predicted else None,
            "finding": self.finding,
            "runs": [
                {
                    "outage_ms": round(run.outage_ms, 3),
                    "lost": run.lost,
                    "broken": round(run.broken, 3),
                    "trusted": run.trusted,
                    "reasons": list(run.reasons),
                    "timeline": run.timeline,
                }
                for run in self.runs
            ],
        }


@dataclass
class Row:
    """One event, with a cell for each announcer that it can happen to."""

    key: str
    title: str
    cells: dict[Column, Cell] = field(default_factory=dict)

    @property
    def winners(self) -> tuple[Column, ...]:
        """Who lost least; several when the differences are too small to tell, none when nothing can be compared."""
        known = {column: cell.p50_ms for column, cell in self.cells.items() if cell.runs}
        if len(known) < 2:
            return ()
        best = min(known.values())
        same = tuple(column for column, value in known.items() if value - best <= max(_SAME_MS, _SAME_SHARE * best))
        return () if len(same) == len(known) else same

    def ratio(self, column: Column) -> float | None:
        """How many times the least outage of the row a column lost; None where the least is nothing."""
        best = min((cell.p50_ms for cell in self.cells.values() if cell.runs), default=0.0)
        cell = self.cells.get(column)
        return None if cell is None or not cell.runs or best <= 0 else cell.p50_ms / best

    def facts(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "event": self.key,
            "title": self.title,
            "winners": [column.key for column in self.winners],
            "cells": {
                column.key: {**cell.facts(), "ratio": None if (r := self.ratio(column)) is None else round(r, 2)}
                for column, cell in self.cells.items()
                if cell.runs
            },
        }


@dataclass
class Score:
    """A whole scorecard, with the conditions under which it was made."""

    rows: list[Row]
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> Sequence[Column]:
        """The columns that have a cell."""
        return [column for column in COLUMNS if any(row.cells.get(column, Cell()).runs for row in self.rows)]

    def facts(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "kind": "scorecard",
            "columns": {column.key: column.title for column in self.columns},
            "conditions": dict(self.conditions),
            "rows": [row.facts() for row in self.rows],
        }
