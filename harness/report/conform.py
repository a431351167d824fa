"""A comparison of the backends on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.conformance import Record
from harness.verdict.conformance import Row, State

_STYLES = {State.HOLDS: "green", State.EXPLAINED: "yellow", State.DIFFERS: "red", State.UNKNOWN: "dim"}
#: A fact that is longer is cut in the table; the record has all of it.
_SHOWN = 44


def render(record: Record, rows: Sequence[Row]) -> RenderableType:
    """Lay the figures out, a block for each scenario, then say in a sentence how far the model holds."""
    table = Table("figure", "embedded", "kind", "difference", "model", box=None, pad_edge=False)
    last = None
    for row in rows:
        if row.scenario != last:
            table.add_row(Text(row.scenario, style="bold"))
            last = row.scenario
        state = Text(row.state.value, style=_STYLES[row.state])
        table.add_row(f"  {row.name}", shown(row.embedded), shown(row.kind), difference(row), state)
    reasons = dict.fromkeys(f"{row.scenario}, {row.name}: {row.why}" for row in rows if row.why)
    title = f"Cilium {record.cilium} on Kubernetes {record.kubernetes}: {record}"
    if record.unknown:
        title += f"; {record.unknown} without a trusted figure on both backends"
    return Group(table, Text(), *(Text(reason, style="dim") for reason in reasons), Text(), Text(title, style="bold"))


def shown(value: str | float | None) -> str:
    """A fact, or a time in milliseconds."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f} ms"
    return value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "..."


def difference(row: Row) -> str:
    """How far apart two times are; nothing for facts."""
    return "" if row.difference_ms is None else f"{row.difference_ms:+.0f} ms"
