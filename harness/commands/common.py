"""What commands have in common: options, the choice of a lab, ways to print facts and progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from harness.backends.registry import LabInfo
    from harness.lab import Lab

#: Columns of what is not a terminal: a file or a pipe breaks no lines.
_WIDE = 240

LabOption = Annotated[
    str | None, typer.Option("--lab", metavar="NAME", help="The lab; without it the one that was brought up last.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]


def running() -> list[LabInfo]:
    """Return the running labs, the oldest first."""
    from harness.backends import registry

    return registry.running()


def choose(labs: Sequence[LabInfo], name: str | None) -> LabInfo:
    """Choose a lab by name, or the one that was brought up last.

    Raises:
        UserError: There is none, or none of that name.
    """
    if not labs:
        raise UserError("no lab is running", hint="lblab up topologies/small.yaml")
    if name is None:
        return max(labs, key=lambda info: info.created)
    for info in labs:
        if info.name == name:
            return info
    raise UserError(f"no lab named '{name}' is running", hint=f"running: {', '.join(info.name for info in labs)}")


def attach(name: str | None) -> Lab:
    """Use a running lab.

    Raises:
        UserError: There is none, or none of that name.
    """
    chosen = choose(running(), name).name
    from harness import bringup

    return bringup.attach(chosen)


def show(rendered: RenderableType) -> None:
    """Print a table: on a terminal as wide as it is, elsewhere as wide as it needs to be."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _WIDE).print(rendered)


def print_json(facts: Any) -> None:
    """Print facts for programs."""
    print(json.dumps(facts, indent=2, default=str))


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Show what is being done on stderr, with the seconds since the start.

    On a terminal that is one line that stays alive, elsewhere a line for each stage.

    Args:
        title: What it is about.
        quiet: Show nothing.
    """
    start = time.monotonic()
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
        with Progress(*columns, console=Console(stderr=True), transient=True) as live:
            task = live.add_task(title)
            yield lambda stage: live.update(task, description=f"{title}: {stage}")
    else:

        def line(stage: str) -> None:
            print(f"{time.monotonic() - start:6.1f} s  {title}: {stage}", file=sys.stderr, flush=True)

        yield line
