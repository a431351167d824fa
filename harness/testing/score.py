"""The scorecard at the end of `pytest scenarios/`: what scenarios marked `scorecard` have measured, side by side.

    @pytest.mark.scorecard("node dies silently", graceful="cilium-bgp-gr", plain="cilium-bgp")

names the event, and for each probe of the scenario the announcer that it measures. `lblab scorecard` lets the same
events happen to all announcers at once; here each figure comes from a lab of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness.report.units import duration
from harness.scorecard import scenarios
from harness.scorecard.model import COLUMNS, Column, Row


def cells(event: str, columns: Mapping[str, str], records: Iterable[Mapping[str, Any]]) -> str:
    """What a scenario adds, as text that passes from a worker; its first expectation about a probe counts."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        for probe in dict.fromkeys(run["probe"] for run in record["runs"]):
            if probe in columns:
                runs = [run for run in record["runs"] if run["probe"] == probe]
                found.setdefault(columns[probe], [_run(run) for run in runs])
    return json.dumps({"event": event, "columns": found})


def _run(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "outage_ms": facts["longest_outage_ms"] or 0.0,
        "resolution_ms": facts["resolution_ms"],
        "lost": sum(facts["lost"][way] for way in ("up", "down", "unknown")),
        "broken": 0.0,
        "trusted": facts["trust"]["trusted"],
    }


def rows(properties: Iterable[str]) -> list[Row]:
    """The table; the figures of scenarios with the same event are runs of one cell."""
    return scenarios.rows(json.loads(text) for text in dict.fromkeys(properties))


def lines(table: Sequence[Row]) -> Iterator[str]:
    """The table as text: medians, with the least and greatest of several; an asterisk marks the least of a row."""
    columns = [column for column in COLUMNS if any(column in row.cells for row in table)]
    if not columns:
        return
    grid = [["longest outage", *(column.title for column in columns)]]
    grid += [[row.title, *(_text(row, column) for column in columns)] for row in table]
    widths = [max(len(line[place]) for line in grid) for place in range(len(columns) + 1)]
    for line in grid:
        first, *rest = line
        yield "  ".join(
            [first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(rest, widths[1:], strict=True))]
        )


def _text(row: Row, column: Column) -> str:
    cell = row.cells.get(column)
    if cell is None or not cell.runs:
        return "-"
    text = duration(cell.p50_ms) + ("" if cell.trusted else "?")
    values = [run.outage_ms for run in cell.counted]
    if len(values) > 1:
        text += f" ({duration(min(values))} to {duration(max(values))})"
    return text + (" *" if column in row.winners else "")
