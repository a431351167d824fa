"""`lblab history`: how the figures of scenarios have gone over dates or versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from harness.commands.common import JsonOption, print_json, show


def history(
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]...", help="Parts of node ids; all without them.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", envvar="LBLAB_HISTORY", metavar="FILE", help="What pytest --lab-history FILE has kept."),
    ] = None,
    add: Annotated[
        list[Path] | None, typer.Option("--add", metavar="RESULTS.jsonl", help="First add these results; repeatable.")
    ] = None,
    by: Annotated[str, typer.Option(help="What is one step: run, date or version (of Cilium).")] = "date",
    figure: Annotated[str | None, typer.Option(help="Only figures whose name has this in it.")] = None,
    backend: Annotated[str | None, typer.Option(help="Only runs on this backend.")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Only so many newest steps.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the trend of what scenarios have measured, and the newest step against those before it."""
    from harness.errors import UserError
    from harness.report import history as report
    from harness.results import history as kept
    from harness.results import saved
    from harness.results.trend import By, trends

    if file is None:
        raise UserError("which history?", hint=f"--file FILE, or the environment variable {kept.VARIABLE}")
    if by not in get_args(By):
        raise UserError(f"there are no steps by '{by}'", hint=", ".join(get_args(By)))
    for results in add or ():
        kept.add(file, saved.load(results))
    chosen = [
        entry
        for entry in kept.load(file)
        if (not scenarios or any(part in entry.scenario for part in scenarios))
        and (backend is None or entry.backend == backend)
    ]
    found = [each for each in trends(chosen, cast(By, by), last=last) if figure is None or figure in each.figure]
    if not found:
        raise UserError("nothing in it is asked for", file=file, hint="lblab history --file FILE shows all of it")
    if as_json:
        print_json([each.facts() for each in found])
    elif scenarios:
        for each in found:
            show(report.details(each))
    else:
        show(report.overview([each for each in found if each.figure] or found))
