"""The history of scenarios as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.report.units import change, duration, spread
from harness.results.trend import Step, Trend
from harness.verdict.compare import Verdict

_COLOURS = {Verdict.WORSE: "bold red", Verdict.BETTER: "green", Verdict.SAME: "", Verdict.UNTRUSTED: "yellow"}


def overview(trends: Sequence[Trend]) -> RenderableType:
    """One line for each figure: where it stands, where it comes from."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("scenario", "figure", "trend", "newest", "", "against those before"):
        table.add_column(column, no_wrap=column == "trend", justify="right" if column == "newest" else "left")
    for trend in trends:
        last = trend.steps[-1]
        table.add_row(
            Text(trend.scenario.removeprefix("scenarios/")),  # no markup: [cluster] is a part of the name
            Text(trend.figure or "-"),
            trend.bars,
            _figure(last),
            last.key,
            _newest(trend),
        )
    return table


def details(trend: Trend) -> RenderableType:
    """Every step of one figure."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "median", "95 % interval", "runs", "outcomes", "Cilium"):
        table.add_column(column, justify="right" if column in ("median", "runs") else "left")
    for step in trend.steps:
        table.add_row(
            step.key,
            _figure(step),
            spread(step.interval),
            str(len(step.values)),
            ", ".join(f"{count} {outcome}" for outcome, count in step.outcomes.items()),
            ", ".join(step.versions),
        )
    heading = Text(f"{trend.scenario}  {trend.figure}  {trend.bars}", style="bold")
    newest = trend.newest
    said = Text("" if newest is None else f"{trend.steps[-1].key}: {newest.decision.text}", style="dim")
    return Group(heading, table, said, Text())


def _figure(step: Step) -> Text:
    if step.middle_ms is None:
        return Text("-", style="dim")
    return Text(duration(step.middle_ms) + ("" if step.trusted else " ?"), style="" if step.trusted else "yellow")


def _newest(trend: Trend) -> Text:
    newest, shift = trend.newest, trend.shift_ms
    if newest is None:
        return Text("-" if shift is None else f"{change(shift)}, too few runs to tell", style="dim")
    verdict = newest.decision.verdict
    effect = "" if newest.effect is None else f" ({change(newest.effect)})"
    return Text(verdict.value + effect, style=_COLOURS.get(verdict, ""))
