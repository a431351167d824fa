"""A scorecard of what scenarios marked `scorecard` have measured, each in a lab of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.scorecard.model import COLUMNS, Cell, Row, Run


def rows(told: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The rows; figures of scenarios with the same event are runs of one cell.

    Args:
        told: What each scenario adds: the event, and for each announcer the facts of its runs.
    """
    by_key = {column.key: column for column in COLUMNS}
    found: dict[str, Row] = {}
    for one in told:
        row = found.setdefault(one["event"], Row(one["event"], one["event"]))
        for key, runs in one["columns"].items():
            row.cells.setdefault(by_key[key], Cell()).runs.extend(Run(**run) for run in runs)
    return list(found.values())
