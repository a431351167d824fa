"""`lblab timeline`: what has happened in a lab, as text, as JSON lines or as a picture."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import LabOption, attach
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.timeline.live import LiveTimeline
    from harness.timeline.timeline import Timeline

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def timeline(
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only the last 30s, 5m, 1h; 'fault': from just before the last.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Wait for more.")] = False,
    details: Annotated[bool, typer.Option("--details", help="Also what says nothing new.")] = False,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it into a file instead.")] = None,
    lab: LabOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the events as JSON lines.")] = False,
) -> None:
    """Show what has happened in a lab.

    Faults, outages, BGP, kernel routes, neighbours, links, Kubernetes, processes and logs on one clock; times are
    relative to the first fault that is shown.
    """
    live = attach(lab).timeline
    begin = _begin(since, live)
    if follow:
        _follow(live, begin, details=details, as_json=as_json)
        return
    shown = live.events(begin)
    if svg is not None:
        _draw(shown, svg)
    elif as_json:
        sys.stdout.writelines(each.line().decode() for each in shown)
    else:
        from harness.timeline.text import render

        print(render(shown, details=details))


def _begin(since: str | None, live: LiveTimeline) -> int:
    """The first moment that is asked for."""
    if since is None:
        return 0
    if since == "fault":
        faults = [each for each in live.events() if each.is_fault]
        if not faults:
            raise UserError("no fault has happened in this lab", hint="lblab fault --help")
        return faults[-1].at_ns - 1_000_000_000
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", since)
    if found is None:
        raise UserError(f"'{since}' is no time", hint="such as 30s, 5m, or fault")
    return time.monotonic_ns() - int(float(found[1]) * _UNITS[found[2]] * 1e9)


def _follow(live: LiveTimeline, begin: int, *, details: bool, as_json: bool) -> None:
    from harness.timeline.lanes import notable
    from harness.timeline.text import line

    zero: int | None = None
    for each in live.follow():
        if each.at_ns < begin or not (details or any(notable([each]))):
            continue
        zero = each.at_ns if zero is None or each.is_fault else zero
        print(each.line().decode().rstrip() if as_json else line(each, zero), flush=True)


def _draw(shown: Timeline, file: Path) -> None:
    from harness.timeline.svg import render

    try:
        file.write_text(render(shown))
    except OSError as error:
        raise UserError(f"the picture cannot be written: {error.strerror}", file=file) from error
    print(f"{len(shown)} events drawn into {file}")
