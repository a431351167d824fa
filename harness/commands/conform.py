"""`lblab conform`: how far embedded labs are confirmed by a real cluster."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import JsonOption, print_json, show
from harness.commands.kind_options import (
    CiliumChart,
    CiliumImage,
    CiliumValues,
    FrrImage,
    FrrVersion,
    ImageArchive,
    KindImage,
)


def conform(
    scenarios: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO...]", help="In place of the fixed set: files or node ids, as for pytest."),
    ] = None,
    cilium_version: Annotated[str, typer.Option(metavar="VERSION", help="Exact, a minor, or auto.")] = "auto",
    runs: Annotated[int, typer.Option(min=1, max=100, help="Runs of each measurement; medians are compared.")] = 1,
    embedded: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Results of an embedded run that was made already.")
    ] = None,
    kind: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Results of a run on kind that was made already.")
    ] = None,
    kind_image: KindImage = None,
    cilium_chart: CiliumChart = None,
    cilium_values: CiliumValues = None,
    cilium_image: CiliumImage = None,
    frr_version: FrrVersion = None,
    frr_image: FrrImage = None,
    image_archive: ImageArchive = None,
    as_json: JsonOption = False,
) -> None:
    """Run the same scenarios on both backends, and print how far the embedded lab's figures are the real cluster's.

    Routes, next hops, bits and subcodes have to be equal, times within 10 % or 150 ms. The record is kept, and stands
    beside the figures of embedded labs from then on. Exit code 1 when a figure differs without a reason.
    """
    from harness import conformance
    from harness.backends.kind import doors
    from harness.cilium import versions
    from harness.conformance import run as both
    from harness.report.conform import render

    version = str(versions.resolve(cilium_version))
    of_kind = doors.as_arguments(
        kind_image=kind_image,
        cilium_chart=cilium_chart,
        cilium_values=cilium_values,
        cilium_image=cilium_image,
        frr_version=frr_version,
        frr_image=frr_image,
        image_archive=image_archive,
    )
    wanted = scenarios or list(both.SCENARIOS)
    # the same timers on both: on kind these are the quick ones, as a whole agent needs them
    common = [f"--cilium-version={version}", f"--runs={runs}", "--timers=whole-agent"]
    with tempfile.TemporaryDirectory(prefix="lblab-conform-") as scratch:
        # the cluster first: what is missing for it is said at once
        if kind is None:
            kind = Path(scratch) / "kind.jsonl"
            both.run("kind", wanted, kind, [*common, *of_kind])
        if embedded is None:
            embedded = Path(scratch) / "netns.jsonl"
            both.run("netns", wanted, embedded, common)
        record, rows = both.record(both.read(embedded), both.read(kind))
    path = conformance.save(record)
    if as_json:
        print_json(asdict(record))
    else:
        show(render(record, rows))
        print(f"kept in {path}")
    if record.differs:
        raise typer.Exit(1)
