"""`lblab upgrade`: Cilium A replaced by Cilium B under traffic, node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import progress

#: The scenarios that replace Cilium in a running lab.
_SCENARIOS = "scenarios/upgrade/test_rollout.py"
_FOLDER = Path("results")


def upgrade(
    a: Annotated[str, typer.Argument(metavar="A", help="The Cilium version that runs.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The one that replaces it; an older one is a rollback.")],
    scenario: Annotated[
        str, typer.Option(metavar="WHAT", help="Scenarios that take --upgrade-to: a path or a node id.")
    ] = _SCENARIOS,
    backend: Annotated[str, typer.Option(help="netns or kind.")] = "netns",
    results: Annotated[
        Path | None, typer.Option("--lab-results", metavar="FILE.jsonl", help="Where the results go.")
    ] = None,
) -> None:
    """Replace Cilium's operator and then one agent after the other while probes run; say what was lost.

    Exit code 0: nothing that should not have been lost; 1: it was; 2: bad input; 3: these runs cannot tell.
    """
    from harness.errors import UserError
    from harness.gate import pytest_run, start
    from harness.gate.selection import selection
    from harness.results import saved

    if backend not in ("netns", "kind"):
        raise UserError(f"there is no backend '{backend}'", hint="netns or kind")
    versions = [start.exact(one).version for one in (a, b)]
    paths, _ = selection([scenario], Path.cwd(), "")
    file = results or _FOLDER / f"upgrade-{versions[0]}-{versions[1]}.jsonl"
    command = pytest_run.Command(
        versions[0], paths, "slow or not slow", backend, "quick", 1, file.absolute(), 1, upgrade_to=versions[1]
    )
    with progress("upgrade") as tell:
        tell(f"Cilium {versions[0]} to {versions[1]}")
        code = pytest_run.run(command, lambda count: tell(f"scenario {count} has ended"))
    found = saved.load(file).scenarios
    for line in found:
        figures = ", ".join(f"{one.probe}: {one.middle_ms:.0f} ms" for one in line.figures)
        why = f": {line.message.splitlines()[0]}" if line.message else ""
        print(f"{line.outcome:10} {line.short_name}{f' ({figures})' if figures else ''}{why}")
    print(f"\nresults and timelines: {file}")
    told = any(line.outcome in ("passed", "failed", "error") for line in found)
    raise typer.Exit(1 if code else 0 if told else 3)
