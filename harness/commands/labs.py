"""`lblab list` and `lblab down`: the running labs, and their end."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from harness.commands.common import JsonOption, LabOption, choose, print_json, running, show


def list_(as_json: JsonOption = False) -> None:
    """List the running labs."""
    labs = running()
    if as_json:
        print_json([asdict(info) for info in labs])
        return
    if not labs:
        print("no lab is running")
        return
    from rich.table import Table

    table = Table("lab", "backend", "topology", "Cilium", "since", "ends with", box=None, pad_edge=False)
    for info in labs:
        since = datetime.fromtimestamp(info.created).strftime("%Y-%m-%d %H:%M:%S")
        ends = f"process {info.pid}'s owner" if info.owner == "process" else "lblab down"
        table.add_row(info.name, info.backend, info.topology, info.cilium_version, since, ends)
    show(table)


def down(
    lab: LabOption = None,
    everything: Annotated[bool, typer.Option("--all", help="End every running lab.")] = False,
    as_json: JsonOption = False,
) -> None:
    """End a lab; nothing of it is left."""
    from harness.backends import registry

    found = running()
    chosen = list(found) if everything else [choose(found, lab)]
    for info in chosen:
        registry.end(info)
        if not as_json:
            print(f"lab {info.name} is down")
    if as_json:
        print_json([info.name for info in chosen])
