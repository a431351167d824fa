"""The lag matrix for people: a table for a terminal, and one HTML file that needs nothing else."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.lag.matrix import BASE, TITLES, Cell, Figures, Matrix

HEADINGS = (
    "announced by",
    "address",
    "router's ARP",
    "policy",
    "gap",
    "predicted",
    "every",
    "players hit",
    "ARP moves",
)


def row(cell: Cell, figures: Figures, late: float) -> tuple[str, ...]:
    """A cell as words, in the order of `HEADINGS`; seconds are unscaled."""
    about = (
        TITLES[cell.announcer] if cell.address == "on-link" or cell.announcer != "none" else "-",
        cell.address,
        TITLES[cell.arp],
        cell.policy,
    )
    gap, period = cell.predicted(late)
    predicted = "nobody answers" if not cell.reachable else f"{gap:.0f} s every {period:.0f} s" if period else "none"
    gaps = figures.gaps
    if gaps is None:
        return (*about, "no answer at all", predicted, "-", "all", "-")
    length = "none" if gaps.length is None else f"{gaps.length:.1f} s"
    if gaps.length is not None and max(gaps.lengths) - min(gaps.lengths) >= 0.1:
        length += f" ({min(gaps.lengths):.1f} to {max(gaps.lengths):.1f})"
    often = f"{gaps.period.seconds:.0f} s" if gaps.period else f"{len(gaps.spans)} times" if gaps.spans else "-"
    hit = f"{gaps.players[0]} of {gaps.players[1]}"
    moves = f"{figures.moves}" + (f", expired {figures.expiries}" if figures.expiries else "")
    return (*about, length + ("" if figures.trusted else " ?"), predicted, often, hit, moves)


def render(matrix: Matrix) -> RenderableType:
    """Lay the matrix out as a table, what follows from it below."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in HEADINGS:
        table.add_column(heading)
    for cell, figures in matrix.cells.items():
        style = "bold" if cell == BASE else "red" if figures.lags else "green"
        table.add_row(*(Text(part, style=style) for part in row(cell, figures, matrix.late)))
    told = [Text(sentence) for sentence in matrix.verdict()]
    return Group(Text(conditions(matrix), style="dim"), Text(), table, Text(), *told, *_doubt(matrix))


def conditions(matrix: Matrix) -> str:
    """Under which conditions the matrix was made."""
    about = matrix.conditions
    parts = [
        f"MetalLB's speaker answers {matrix.late:g} s late, Cilium's answer comes at once",
        f"all times are FreeBSD's seconds, measured at a scale of {about['time_scale']:g}",
        f"{about['refreshes']} refreshes, {about['players']} players in each set-up",
        f"Cilium {about['cilium']}",
        about["backend"],
    ]
    return "; ".join(parts)


def _doubt(matrix: Matrix) -> list[Text]:
    if matrix.trusted:
        return []
    return [Text("?: the machine was too busy for the figure to be believed.", style="yellow")]


def html(matrix: Matrix) -> str:
    """One page with the matrix and what follows from it."""
    environment = Environment(
        loader=PackageLoader("harness.report"), undefined=StrictUndefined, autoescape=True, trim_blocks=True
    )
    rows = [
        {
            "words": row(cell, figures, matrix.late),
            "lags": figures.lags,
            "base": cell == BASE,
            "trusted": figures.trusted,
        }
        for cell, figures in matrix.cells.items()
    ]
    return environment.get_template("lag_matrix.html.j2").render(
        headings=HEADINGS,
        rows=rows,
        verdict=matrix.verdict(),
        conditions=conditions(matrix),
        stand_ins=matrix.conditions["stand_ins"],
        not_scaled=matrix.conditions["not_scaled"],
    )
