"""`lblab graph`: draw a lab."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import LabOption, attach
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.status import Status


class Format(Enum):
    """What a drawing may be written as."""

    svg = "svg"
    mermaid = "mermaid"


def graph(
    topology: Annotated[
        Path | None, typer.Argument(metavar="[TOPOLOGY]", help="A topology file; without it, the running lab.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.svg,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to write it instead of stdout.")
    ] = None,
    lab: LabOption = None,
) -> None:
    """Draw a topology or a running lab.

    A running lab is drawn with its BGP sessions and services.
    """
    from harness.report import graph as draw

    status: Status | None = None
    if topology is not None:
        from harness.topology import load

        drawn = load(topology)
    else:
        used = attach(lab)
        drawn, status = used.topology, used.status()
    text = (draw.svg if format is Format.svg else draw.mermaid)(drawn, status)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise UserError(f"the drawing cannot be written: {error.strerror}", file=output) from error
