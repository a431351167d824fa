"""`lblab bisect`: the first Cilium version that fails a scenario."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import progress

if TYPE_CHECKING:
    from harness.gate.bisect import Outcome, Step

_FOLDER = Path("results")
#: Lines of a timeline that are shown of each of the two versions.
_SHOWN = 60
_CANNOT_TELL = 3


def bisect(
    good: Annotated[str, typer.Argument(help="A Cilium version that passes.")],
    bad: Annotated[str, typer.Argument(help="One that fails; an older one, if it was mended since.")],
    scenario: Annotated[str, typer.Option(metavar="NODE-ID", help="The scenario: path::name.")],
    runs: Annotated[int, typer.Option(min=1, max=50, help="Runs of each version; one that fails makes it bad.")] = 1,
    more: Annotated[
        list[str] | None, typer.Option("--try", metavar="VERSION", help="A release to look at, too; repeatable.")
    ] = None,
    repository: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A clone of Cilium: go on with the commits in between.")
    ] = None,
    timers: Annotated[str, typer.Option(help="quick or manifest, as in pytest.")] = "quick",
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write every step.")] = None,
    build: Annotated[bool, typer.Option(help="Build what is missing; otherwise skip it.")] = True,
) -> None:
    """Halve the releases between a good and a bad version, then the commits, and show both sides' timelines.

    Exit code 0: found; 2: bad input; 3: the ends are not what they were said to be, or what is left was skipped.
    """
    from harness.cilium import semver, versions
    from harness.errors import UserError
    from harness.gate import bisect as gate
    from harness.gate import releases
    from harness.gate.selection import selection

    if timers not in ("quick", "manifest"):
        raise UserError(f"there are no timers '{timers}'", hint="quick or manifest")
    ends = (versions.resolve(good), versions.resolve(bad))
    (chosen, *others), _ = selection([scenario], Path.cwd(), "")
    if others or "::" not in chosen:
        raise UserError(f"'{scenario}' is not one scenario", hint="a node id, such as scenarios/f/test_x.py::test_y")
    folder = json_file.with_suffix(".runs") if json_file else _FOLDER / f"bisect-{ends[0]}-{ends[1]}.runs"
    row = releases.between(*ends, [semver.parse(one) for one in more or ()])
    wanted = gate.Wanted(chosen, runs, folder, timers=timers, build=build)
    with progress("bisect") as tell:
        tell(f"{len(row)} releases: {', '.join(map(str, row))}")
        outcome = gate.search(wanted, row, repository, tell)
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(outcome), indent=1, default=str) + "\n")
    _say(outcome)
    raise typer.Exit(_CANNOT_TELL if outcome.skipped else 0)


def _say(outcome: Outcome) -> None:
    for step in outcome.steps:
        print(f"{step.version:24} {step.found}{f': {step.why}' if step.why else ''}")
    for step, what in ((outcome.good, "last good"), (outcome.bad, "first bad")):
        print(f"\n{what}: Cilium {step.version}\n{_timeline(step)}")
    if outcome.skipped:
        print(f"\nnot known, as they were skipped: {', '.join(outcome.skipped)}")
    print(f"\nthe first bad one is Cilium {outcome.bad.version}: {outcome.bad.why}")
    if outcome.note:
        print(outcome.note)


def _timeline(step: Step) -> str:
    from harness.timeline import journal, text
    from harness.timeline.timeline import Timeline

    if step.timeline is None:
        return "no timeline"
    return text.render(Timeline(journal.load(step.timeline)), at_most=_SHOWN)
