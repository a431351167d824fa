"""The kind backend's options for commands; what they mean is in `harness.backends.kind.doors`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.backends.kind import doors
from harness.backends.kind.doors import Option


def _option(one: Option) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(one.flag, metavar=one.metavar, help=one.help)
    return found


KindImage = Annotated[str | None, _option(doors.KIND_IMAGE)]
CiliumChart = Annotated[str | None, _option(doors.CILIUM_CHART)]
CiliumValues = Annotated[list[Path] | None, _option(doors.CILIUM_VALUES)]
CiliumImage = Annotated[list[str] | None, _option(doors.CILIUM_IMAGE)]
MetallbChart = Annotated[str | None, _option(doors.METALLB_CHART)]
FrrVersion = Annotated[str | None, _option(doors.FRR_VERSION)]
FrrImage = Annotated[str | None, _option(doors.FRR_IMAGE)]
ImageArchive = Annotated[list[Path] | None, _option(doors.IMAGE_ARCHIVE)]
