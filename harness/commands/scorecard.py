"""`lblab scorecard`: what each way of announcing an address costs, event by event, on one clock."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from harness.commands.common import print_json, progress

DEFAULT_TOPOLOGY = Path("topologies/small.yaml")

Part = TypeVar("Part")


def scorecard(
    topology: Annotated[Path, typer.Option(help="Whose nodes and networks are used.")] = DEFAULT_TOPOLOGY,
    runs: Annotated[int, typer.Option(min=1, max=100, help="How often each event happens.")] = 3,
    events: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Only these rows; --events list names them.")
    ] = None,
    columns: Annotated[str | None, typer.Option(metavar="NAME,...", help="Only these announcers.")] = None,
    cilium_version: Annotated[str | None, typer.Option(help="Exact, a minor, or auto.")] = None,
    metallb_version: Annotated[str | None, typer.Option(help="Exact, a minor, or auto.")] = None,
    timers: Annotated[
        str, typer.Option(help="quick (seconds), or manifest (the guide's: hold 90, restart 120).")
    ] = "quick",
    router_arp: Annotated[str, typer.Option(help="How the routers keep ARP entries: linux or freebsd.")] = "linux",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures; - is stdout.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page.")
    ] = None,
    build: Annotated[bool, typer.Option(help="Build what is missing.")] = True,
) -> None:
    """Let one event after the other happen to every announcer at once, and print who lost what."""
    from rich.console import Console

    from harness.errors import UserError
    from harness.report import scorecard as report
    from harness.scorecard.events import EVENTS
    from harness.scorecard.model import COLUMNS
    from harness.scorecard.run import Wanted, make

    if events == "list":
        for event in EVENTS:
            print(f"{event.key:14} {event.title}{'' if event.usual else ' (only when named)'}")
        return
    if timers not in ("quick", "manifest"):
        raise UserError(f"there are no timers '{timers}'", hint="quick or manifest")
    if router_arp not in ("linux", "freebsd"):
        raise UserError(f"no router's ARP is called '{router_arp}'", hint="linux or freebsd")
    beside = html_file or json_file
    kept = beside is not None and str(beside) != "-"
    with tempfile.TemporaryDirectory(prefix="lblab-scorecard-") as temporary:
        folder = beside.with_suffix(".runs") if kept and beside is not None else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with progress("scorecard", quiet=str(json_file) == "-") as tell:
            score = make(
                Wanted(
                    topology=topology,
                    events=_chosen(
                        "event",
                        events or ",".join(event.key for event in EVENTS if event.usual),
                        {event.key: event for event in EVENTS},
                    ),
                    columns=_chosen("column", columns, {column.key: column for column in COLUMNS}),
                    runs=runs,
                    folder=folder,
                    cilium_version=cilium_version,
                    metallb_version=metallb_version,
                    timers="quick" if timers == "quick" else "manifest",
                    router_arp=router_arp,
                    build=build,
                ),
                tell,
            )
        if str(json_file) == "-":
            print_json(score.facts())
        elif json_file is not None:
            json_file.write_text(json.dumps(score.facts(), indent=2) + "\n")
        if html_file is not None:
            html_file.write_text(report.html(score, folder))
    if str(json_file) != "-":
        Console().print(report.render(score))


def _chosen(what: str, names: str | None, known: Mapping[str, Part]) -> list[Part]:
    """The parts that are named, in the order in which they are known; all of them without names."""
    from harness.errors import UserError

    wanted = list(known) if names is None else [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in known:
            raise UserError(f"there is no {what} '{name}'", hint=f"there are: {', '.join(known)}")
    return [part for name, part in known.items() if name in wanted]
