"""A scorecard for people: a table for a terminal, and one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness import conformance
from harness.report import pictures
from harness.report.pictures import Picture
from harness.report.units import duration, spread
from harness.scorecard.model import BROKEN_MS, Cell, Row, Score


@dataclass(frozen=True)
class Remark:
    """What has to be said of one cell: that it parts from its prediction, or why it is not to be believed."""

    row: str
    column: str
    text: str


def remarks(score: Score) -> list[Remark]:
    """What has to be said of cells, those that part from their predictions first."""
    cells = [(row.title, column.title, cell) for row in score.rows for column, cell in row.cells.items() if cell.runs]
    parted = [Remark(row, column, cell.finding) for row, column, cell in cells if cell.finding]
    doubted = [
        Remark(row, column, f"untrusted, {'; '.join(cell.runs[-1].reasons)}")
        for row, column, cell in cells
        if not cell.trusted
    ]
    return [*parted, *doubted]


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
        *(f"{remark.row}, {remark.column}: {remark.text}" for remark in remarks(score)),
    ]
    return Group(
        Text(conditions(score), style="dim"), Text(), table, Text(), *(Text(note, style="dim") for note in notes)
    )


def _cell(cell: Cell, *, bold: bool) -> Text:
    style = "bold green" if bold else ""
    text = Text(duration(cell.p50_ms) + ("" if cell.trusted else " ?"), style=style)
    details = [
        part for part in (spread(cell.interval), f"{cell.lost} lost, {cell.broken:.0%}" if cell.lost else "") if part
    ]
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
    """One page with the table and, folded below it, what happened in every run.

    Args:
        score: The scorecard.
        folder: Where its timelines lie.
    """
    from harness.report.html import environment

    most = pictures.events_each(picture_count(score))
    return (
        environment()
        .get_template("scorecard.html.j2")
        .render(
            score=score,
            conditions=conditions(score),
            facts=score.conditions,
            pictures=pictures_of(score, folder, most),
            remarks=remarks(score),
        )
    )


def _timelines(row: Row) -> list[str]:
    """The timelines of an event: one for each run, shared by all columns."""
    return list(dict.fromkeys(run.timeline for cell in row.cells.values() for run in cell.runs if run.timeline))


def picture_count(score: Score) -> int:
    """How many pictures `pictures_of` makes at most."""
    return sum(len(_timelines(row)) for row in score.rows)


def pictures_of(score: Score, folder: Path, most: int) -> dict[str, list[Picture]]:
    """The pictures of each event, by its key; of timelines that are not there any more there is none.

    Args:
        score: The scorecard.
        folder: Where its timelines lie.
        most: How many events each picture may show.
    """
    found: dict[str, list[Picture]] = {}
    for row in score.rows:
        files = [folder / name for name in _timelines(row)]
        drawn = [pictures.draw(file, title=file.stem, most=most) for file in files if file.is_file()]
        found[row.key] = [picture for picture in drawn if picture is not None]
    return found
