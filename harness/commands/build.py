"""`lblab build`: the programs that labs run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import JsonOption, print_json, show

if TYPE_CHECKING:
    from harness.binaries import Built


def build(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WHAT...]",
            help="kube, node-agent, lablet, cilium@1.20.2 or metallb@0.16.1; without it, all at the newest versions.",
        ),
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="List what is built, and build nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove what is outdated; build nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build the programs that labs run, once.

    They are kept in the user's cache folder; a build that was interrupted goes on where it was.
    """
    from harness import binaries

    if prune:
        binaries.prune()
    built = binaries.list_built() if only_list or prune else binaries.build(what or ())
    if as_json:
        print_json([asdict(one) for one in built])
        return
    _say(built)


def _say(built: Sequence[Built]) -> None:
    if not built:
        print("nothing is built")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("program", "version", "size", "Go", "", "folder", box=None, pad_edge=False)
    for one in built:
        go = str(one.provenance.get("go", "-"))
        state = Text("" if one.current else "outdated", style="yellow")
        table.add_row(one.program, one.version, f"{one.size / 1e6:.0f} MB", go, state, Text(str(one.folder)))
    show(table)
