"""A comparison of two versions in the terminal: the verdict first, then each scenario."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.gate.model import Exit, Result, Scenario, Verdict

_STYLE = {
    Verdict.WORSE: "bold red",
    Verdict.NEW_FAILURE: "bold red",
    Verdict.UNTRUSTED: "yellow",
    Verdict.SKIPPED: "dim",
    Verdict.BETTER: "green",
    Verdict.FIXED: "green",
    Verdict.SAME: "",
}
_EXIT_STYLE = {Exit.NO_WORSE: "bold green", Exit.WORSE: "bold red", Exit.CANNOT_TELL: "bold yellow"}
#: What needs a look stands first.
_ORDER = list(_STYLE)


def render(result: Result) -> RenderableType:
    """The result as it is printed."""
    head = Text.assemble(
        f"Cilium {result.b.version} against {result.a.version}: ",
        (str(result.verdict), _EXIT_STYLE[result.verdict]),
        f" ({result.text}; {len(result.order)} runs in {result.seconds / 60:.1f} min)",
    )
    table = Table(box=None, pad_edge=False, show_edge=False)
    for title in ("scenario", "verdict", "A", "B", "why"):
        table.add_column(title, overflow="fold")
    for one in sorted(result.scenarios, key=lambda one: (_ORDER.index(one.verdict), one.scenario)):
        name, verdict = one.scenario.removeprefix("scenarios/"), Text(str(one.verdict), _STYLE[one.verdict])
        table.add_row(Text(name), verdict, _side(one, "a"), _side(one, "b"), Text(one.text))
    return Group(head, Text(), table)


def _side(one: Scenario, side: str) -> Text:
    counts: dict[str, int] = getattr(one, side)
    return Text(", ".join(f"{number} {outcome}" for outcome, number in counts.items()) or "-")
