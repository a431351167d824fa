"""`lblab lag matrix`: which single change of a set-up removes its periodic lag."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import print_json, progress, show

DEFAULT_TOPOLOGY = Path("topologies/lag.yaml")
#: FreeBSD gives an unanswered entry up 5 s after it began to ask: what is less late does no harm to a lone announcer.
_LATE, _SCALE, _REFRESHES = 30.0, 0.02, 3


def matrix(
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures; - is stdout.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Every cell, not only those that decide.")] = False,
    late: Annotated[float, typer.Option(min=0.0, max=600.0, help="How many seconds late MetalLB answers.")] = _LATE,
    time_scale: Annotated[
        float, typer.Option(metavar="K", help="Factor on the router's ARP timers and the lateness; 1 takes hours.")
    ] = _SCALE,
    refreshes: Annotated[int, typer.Option(min=1, max=20, help="Three gaps make a period.")] = _REFRESHES,
    cilium_version: Annotated[str | None, typer.Option(help="Exact, a minor, or auto.")] = None,
    topology: Annotated[Path, typer.Option(help="The lag lab's topology.")] = DEFAULT_TOPOLOGY,
    timeline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep what happened, for lblab timeline and lblab diagnose.")
    ] = None,
    build: Annotated[bool, typer.Option(help="Build what is missing.")] = True,
) -> None:
    """Play a game in every set-up at once, over several refreshes, and say which single change removes the lag."""
    from harness.errors import UserError

    quiet = str(json_file) == "-"
    for file in (html_file, timeline, None if quiet else json_file):
        if file is not None and not file.absolute().parent.is_dir():
            raise UserError("there is no such folder to write into", file=file.parent)
    from harness.lag import course
    from harness.lag.matrix import decisive, every
    from harness.report import lag_matrix as report

    with progress("lag matrix", quiet=quiet) as tell:
        found = course.measure(
            course.Wanted(
                topology=topology,
                cells=every() if full else decisive(),
                late=late,
                refreshes=refreshes,
                time_scale=time_scale,
                cilium_version=cilium_version,
                timeline=timeline,
                build=build,
            ),
            tell,
        )
    if html_file is not None:
        html_file.write_text(report.html(found))
    if quiet:
        print_json(found.facts())
        return
    if json_file is not None:
        json_file.write_text(json.dumps(found.facts(), indent=2) + "\n")
    show(report.render(found))
