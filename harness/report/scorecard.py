"""A scorecard for people: a table for a terminal, and one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness import conformance
from harness.scorecard.model import BROKEN_MS, Cell, Score


def duration(milliseconds: float) -> str:
    """An outage in the unit that suits it; no more digits than are known."""
    if milliseconds <= 0:
        return "0"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s"


def spread(cell: Cell) -> str:
    """The 95 % interval of a cell; empty for a single run."""
    about = cell.interval
    return "" if about is None else f"{duration(about.low)} to {duration(about.high)}"


def render(score: Score) -> RenderableType:
    """Lay a scorecard out as a table; the least outage of a row is bold."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("event")
    for column in score.columns:
        table.add_column(column.title, justify="right")
    table.add_column("least")
    for row in score.rows:
        cells: list[RenderableType] = []
        for column in score.columns:
            cell = row.cells.get(column)
            best = column in row.winners
            cells.append(Text("-", style="dim") if cell is None or not cell.runs else _cell(cell, bold=best))
        table.add_row(row.title, *cells, ", ".join(column.title for column in row.winners) or "equal")
    notes = [
        "Outage as the client sees it: median of the runs, 95 % interval, packets lost, share of the flows with an "
        f"outage of more than {BROKEN_MS:g} ms.",
        *(
            f"{row.title}, {column.title}: {cell.finding}"
            for row in score.rows
            for column, cell in row.cells.items()
            if cell.runs and cell.finding
        ),
        *(
            f"{row.title}, {column.title}: untrusted, {'; '.join(cell.runs[-1].reasons)}"
            for row in score.rows
            for column, cell in row.cells.items()
            if cell.runs and not cell.trusted
        ),
    ]
    return Group(
        Text(conditions(score), style="dim"), Text(), table, Text(), *(Text(note, style="dim") for note in notes)
    )


def _cell(cell: Cell, *, bold: bool) -> Text:
    style = "bold green" if bold else ""
    text = Text(duration(cell.p50_ms) + ("" if cell.trusted else " ?"), style=style)
    details = [part for part in (spread(cell), f"{cell.lost} lost, {cell.broken:.0%}" if cell.lost else "") if part]
    for part in details:
        text.append(f"\n{part}", style="dim")
    return text


def conditions(score: Score) -> str:
    """Under which conditions a scorecard was made, in one or two lines."""
    about = score.conditions
    timers = about["timers"]
    parts = [
        f"{about['nodes']} nodes of {about['topology']}",
        f"Cilium {about['cilium']}",
        *([f"MetalLB {about['metallb']}"] if about["metallb"] else []),
        f"routers with {about['router_arp']}'s ARP",
        f"hold {timers['hold_s']:g} s, restart {timers['restart_s']:g} s, lease {timers['lease_s']:g} s",
        f"{about['runs']} runs, {about['flows']} flows of {about['rate']} packets/s for each column",
        about["backend"],
        *([conformance.sentence(about["cilium"])] if about["backend"] == "netns" else []),
    ]
    return "; ".join(parts)


def html(score: Score, folder: Path) -> str:
    """One page with the table and, folded below it, the timeline of every run as a picture.

    Args:
        score: The scorecard.
        folder: Where its timelines lie.
    """
    environment = Environment(
        loader=PackageLoader("harness.report"), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    return environment.get_template("scorecard.html.j2").render(
        score=score,
        conditions=conditions(score),
        facts=score.conditions,
        duration=duration,
        spread=spread,
        broken_ms=BROKEN_MS,
        pictures=_pictures(score, folder),
    )


def _pictures(score: Score, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The pictures of each event, by its key: one for each run, shared by all columns."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in score.rows:
        files = dict.fromkeys(run.timeline for cell in row.cells.values() for run in cell.runs if run.timeline)
        found[row.key] = [
            {"name": file, "svg": (folder / file).with_suffix(".svg").read_text()}
            for file in files
            if (folder / file).with_suffix(".svg").exists()
        ]
    return found
