"""`lblab doctor` on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.check import Check


def render(checks: Sequence[Check]) -> RenderableType:
    """Lay out what was found, then what each missing thing means and what to do about it."""
    table = Table("", "capability", "found", box=None, pad_edge=False)
    for check in checks:
        style = "green" if check.ok else "yellow" if check.fallback else "red"
        mark = "ok" if check.ok else "instead" if check.fallback else "missing"
        table.add_row(Text(mark, style=style), Text(check.name), Text(check.found))
    return Group(table, Text(), *(Text(line) for line in advice(checks)))


def advice(checks: Sequence[Check]) -> Iterator[str]:
    """Say, a line for each missing capability, what needs it, what happens without it, and what to do."""
    missing = [check for check in checks if not check.ok]
    for check in missing:
        parts = [f"needed for {check.needed_for}"]
        if check.fallback:
            parts.append(f"without it: {check.fallback}")
        if check.remedy:
            parts.append(f"to have it: {check.remedy}")
        yield f"{check.name}: {'; '.join(parts)}"
    yield f"{len(missing)} missing" if missing else "nothing is missing"
