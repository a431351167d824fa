"""`lblab up`: bring a lab up that stays until `lblab down`."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import JsonOption, print_json, progress
from harness.commands.kind_options import (
    CiliumChart,
    CiliumImage,
    CiliumValues,
    FrrImage,
    FrrVersion,
    ImageArchive,
    KindImage,
    MetallbChart,
)

if TYPE_CHECKING:
    from harness.status import Status


def up(
    topology: Annotated[Path, typer.Argument(metavar="TOPOLOGY", help="The topology file.")],
    cilium_version: Annotated[
        str,
        typer.Option(
            metavar="VERSION",
            help="1.18.0, a minor such as 1.18, or auto: the newest known that serves every manifest.",
        ),
    ] = "auto",
    manifests: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="A file or folder, applied instead of the topology's; repeatable."),
    ] = None,
    time_scale: Annotated[
        float | None,
        typer.Option(
            metavar="K", help="Factor on FreeBSD's ARP timers and lblab's announcer; by default the topology's."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The lab's name; by default the topology's.")] = None,
    metallb_version: Annotated[
        str,
        typer.Option(
            metavar="VERSION",
            help="0.15.2, a minor such as 0.15, or auto: the newest known. It runs if a manifest is of metallb.io.",
        ),
    ] = "auto",
    metallb_manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="MetalLB's CustomResourceDefinitions, instead of those of its Go types."),
    ] = None,
    no_build: Annotated[bool, typer.Option("--no-build", help="Fail instead of building missing programs.")] = False,
    backend: Annotated[str, typer.Option(help="netns, or kind: a real cluster in Docker.")] = "netns",
    kind_image: KindImage = None,
    cilium_chart: CiliumChart = None,
    cilium_values: CiliumValues = None,
    cilium_image: CiliumImage = None,
    metallb_chart: MetallbChart = None,
    frr_version: FrrVersion = None,
    frr_image: FrrImage = None,
    image_archive: ImageArchive = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a lab up; it stays until `lblab down`.

    Applies the manifests, waits until a client could use their services, and prints the KUBECONFIG for kubectl.
    """
    # Ended from outside while it starts, it must clean up as after Ctrl-C; otherwise the lab would stay, half made.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    start = time.monotonic()
    from harness import bringup
    from harness.backends.kind import doors
    from harness.topology import load

    kind = doors.build(
        kind_image=kind_image,
        cilium_chart=cilium_chart,
        cilium_values=cilium_values,
        cilium_image=cilium_image,
        metallb_chart=metallb_chart,
        frr_version=frr_version,
        frr_image=frr_image,
        image_archive=image_archive,
    )
    name = name or load(topology).name
    with progress(f"lab {name}", quiet=as_json) as tell:
        lab = bringup.open_lab(
            topology,
            backend=backend,
            cilium_version=None if cilium_version == "auto" else cilium_version,
            manifests=manifests or [],
            name=name,
            build=not no_build,
            time_scale=time_scale,
            owner="none",
            progress=tell,
            metallb_version=metallb_version,
            metallb_manifest=metallb_manifest,
            kind=kind,
        )
    seconds = time.monotonic() - start
    status = lab.status()
    if as_json:
        print_json({"seconds": round(seconds, 3), **status.model_dump()})
    else:
        _say(status, seconds)


def _stages(done: dict[str, float]) -> str:
    """What each stage took, out of when each was done."""
    before = [0.0, *done.values()]
    return ", ".join(f"{name} {at - since:.1f} s" for (name, at), since in zip(done.items(), before, strict=False))


def _say(status: Status, seconds: float) -> None:
    programs = f"Cilium {status.cilium_version}"
    if status.metallb_version:
        programs += f", MetalLB {status.metallb_version}"
    print(f"lab {status.name} is up after {seconds:.1f} s: {programs} on {status.backend}")
    for service in status.services:
        addresses = ", ".join(service.addresses) or "without an address"
        print(f"  Service {service.name}: {addresses}, {len(service.ready_backends)} ready backends")
    for stand_in in status.stand_ins:
        print(f"  stand-in: {stand_in}")
    if status.backend == "kind":  # minutes, most of them kind's and Helm's: which stage took them is worth a line
        print(f"  stages: {_stages(status.stages)}")
    print(f"export KUBECONFIG={status.kubeconfig}")
