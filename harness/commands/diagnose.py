"""`lblab diagnose`: which mechanism a lag is, from a lab's timeline or from a capture of one's own network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import JsonOption, print_json, progress


def diagnose(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="A timeline of lblab's, or captures (pcap, pcapng).")
    ] = None,
    logs: Annotated[
        list[Path] | None,
        typer.Option(
            "--router-log", "--log", metavar="FILE", help="The router's system log, MetalLB's speakers' logs."
        ),
    ] = None,
    kubectl: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="kubectl get lease|events|pods|nodes -A -o json (or yaml)."),
    ] = None,
    address: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The game's address: only its lags.")] = None,
    at_node: Annotated[
        bool, typer.Option("--at-node", help="The captures were made at the node that answers, not at the router.")
    ] = False,
    time_scale: Annotated[
        float, typer.Option(min=0.0001, max=1.0, help="The lab's: 0.02 when 20 minutes were 24 seconds.")
    ] = 1.0,
    details: Annotated[bool, typer.Option("--details", help="Also every question and its answer, lag by lag.")] = False,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the lags in a recording, and say which mechanism they are, and which they are not.

    Where it cannot be told, it is said what to record next.
    """
    from harness.diagnose.decide import diagnose as decide
    from harness.diagnose.load import Given, load
    from harness.errors import UserError
    from harness.report import diagnosis as report

    if not files and not logs:
        raise UserError("nothing to diagnose", hint="lblab diagnose nodes.pcap --router-log system.log")
    given = Given(files or (), logs or (), kubectl or (), time_scale, address, at_node)
    with progress("diagnose") as tell:
        seen = load(given, tell)
    found = decide(seen, address)
    if html_file is not None:
        try:
            html_file.write_text(report.html(seen, found))
        except OSError as error:
            raise UserError(f"the page cannot be written: {error.strerror}", file=html_file) from error
    if as_json:
        print_json(report.facts(seen, found))
    else:
        print(report.render(seen, found, details=details))
