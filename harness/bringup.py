"""Bringing a lab up: what is read and chosen before anything starts, and the order in which the parts come."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from harness import manifests as manifest_files
from harness.backends import opening
from harness.backends.kind.options import KindOptions
from harness.backends.request import Request
from harness.cilium import l2, semver, versions
from harness.cilium.timers import QUICK, QUICK_WHOLE_AGENT, quicken
from harness.errors import LabError, LblabError, UserError, WaitTimeout
from harness.lab import Lab
from harness.manifests import Manifest
from harness.metallb import versions as metallb_versions
from harness.peers import check_peers
from harness.routing import integrated
from harness.timeline import text as timeline_text
from harness.topology import Topology, load

__all__ = ["attach", "choose", "open_lab"]

#: Of the timeline of a lab that did not come up.
_LINES_OF_A_FAILED_START = 80

Progress = Callable[[str], None]


def open_lab(
    topology_file: Path | str,
    *,
    backend: str = "netns",
    cilium_version: str | None = None,
    manifests: Sequence[Path] = (),
    name: str | None = None,
    build: bool = True,
    timers: Literal["quick", "whole-agent", "manifest"] = "manifest",
    time_scale: float | None = None,
    owner: Literal["process", "none"] = "process",
    progress: Progress = lambda _: None,
    metallb_version: str | None = None,
    metallb_manifest: Path | None = None,
    kind: KindOptions | None = None,
    instead_of: Lab | None = None,
) -> Lab:
    """Bring a lab up and apply the manifests; returns when the chain to every announced service is up.

    Args:
        topology_file: The topology.
        backend: "netns" or "kind".
        cilium_version: Exact, a minor, or "auto" (None): the newest known that serves every manifest.
        manifests: Instead of the topology's own.
        name: The lab's name; by default the topology's name and this process's PID.
        build: Build missing binaries; otherwise a missing one is an error.
        timers: The manifests' own, or cut down to seconds (`harness.cilium.timers.QUICK`, `QUICK_WHOLE_AGENT`).
        time_scale: Instead of the topology's: the factor on FreeBSD's ARP and lblab's announcer.
        owner: "process": the lab ends with this process; "none": it stays until it is closed by name.
        progress: Told each stage.
        metallb_version: Exact, a minor, or "auto" (None): the newest known. It runs if a manifest is of metallb.io, or
            the topology asks for it.
        metallb_manifest: A file with MetalLB's CustomResourceDefinitions, served instead of those of its Go types.
        kind: The choices that only a lab of kind has.
        instead_of: A lab of this process that is not needed any more: it is ended, and what it took long to make is
            used again where it fits.

    Raises:
        UserError: for bad input.
        MissingCapability: when the machine lacks something.
        LabError: when a part does not come up. Nothing is left behind.
    """
    path = Path(topology_file)
    topology = load(path)
    if time_scale is not None:
        if not 0 < time_scale <= 1:
            raise UserError(
                f"a time scale of {time_scale:g} is not above 0 and at most 1", hint="0.02: fifty times faster"
            )
        topology = topology.model_copy(update={"time_scale": time_scale})
    version, objects = choose(topology, cilium_version, manifests)
    with_metallb = metallb_versions.choose(topology, objects, metallb_version)
    cut_to = {"quick": opening.QUICK.get(backend, QUICK), "whole-agent": QUICK_WHOLE_AGENT}.get(timers)
    objects, quickened = quicken(objects, cut_to) if cut_to is not None else (objects, [])
    topology, cut = l2.decided(topology, objects, semver.parse(version), quick=cut_to is not None)
    quickened += cut
    for router, settings in topology.routers.items():
        if settings.frr_config is not None:
            for number, line in integrated.split(settings.frr_config.read_text()).unused:
                progress(f"{router}: {settings.frr_config}:{number} is left out, lblab does not run it: {line.strip()}")
    request = Request(
        name=name or f"{topology.name[:20]}-{os.getpid()}",
        topology=topology,
        topology_file=path,
        cilium_version=version,
        metallb_version=None if with_metallb is None else str(with_metallb),
        metallb_manifest=metallb_manifest,
        objects=objects,
        owned=owner == "process",
        build=build,
        progress=progress,
        kind=kind or KindOptions(),
    )
    made = (None if instead_of is None else instead_of.hand_over(request)) or opening.create(backend, request)
    lab = Lab(made, applied=objects, quickened=quickened)
    try:
        made.prepare(lab.cluster, progress)
        progress("manifests")
        lab.cluster.apply(objects, within=30.0)
        progress("sessions, routes and pods")
        # not sooner: until here the lab's own programs keep every core busy, and then Cilium waits before it connects
        made.record()
        try:
            lab.converge(within=made.comes_up_within)
        except WaitTimeout as error:
            happened = timeline_text.render(lab.timeline.events(), at_most=_LINES_OF_A_FAILED_START)
            raise LabError(f"{error.message}; the logs are gone with the lab, its timeline was:\n{happened}") from None
        if owner == "none":
            made.leave()
    except BaseException:
        with contextlib.suppress(LblabError):
            lab.close()
        raise
    return lab


def choose(topology: Topology, cilium_version: str | None, instead: Sequence[Path] = ()) -> tuple[str, list[Manifest]]:
    """Decide which Cilium version runs and which manifests are applied, before anything is started.

    Raises:
        UserError: when the version does not exist, or does not serve a kind or field; with file and line.
    """
    choices = (
        [versions.Choice.of(manifest_files.load(path)) for path in instead] if instead else versions.choices(topology)
    )
    version = versions.resolve(cilium_version or "auto", choices)
    objects = versions.select(choices, version)
    check_peers(topology, objects)
    return str(version), objects


def attach(name: str) -> Lab:
    """Use a lab that another process brought up."""
    return Lab(opening.attach(name))
