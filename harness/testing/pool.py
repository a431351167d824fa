"""The labs of one pytest process: brought up when a scenario asks, shared while scenarios leave them clean."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.backends.kind.options import KindOptions
from harness.errors import LabError, LblabError

if TYPE_CHECKING:
    from harness.lab import Lab

Progress = Callable[[str], None]
Timers = Literal["quick", "whole-agent", "manifest"]

#: A lab's name is a DNS label of at most this many characters (harness.backends.registry).
_NAME_LENGTH = 32
#: Backends whose labs take minutes to come up.
_COSTLY = frozenset({"kind"})
#: Seconds of silence after which a line of progress is shown; a build tells one every five seconds or so.
_SILENCE = 4.0


@dataclass(frozen=True)
class Settings:
    """What the options of a run say about its labs.

    Attributes:
        backend: "netns" or "kind".
        cilium_version: Exact version, minor, or None for auto.
        metallb_version: Exact version, minor, or "auto".
        metallb_manifest: A file with MetalLB's CRDs, instead of those of its Go types.
        manifests: Applied instead of the topology's own, if any.
        kind: What only labs of kind have.
        name: Name of the lab, if one was asked for.
        build: Whether missing binaries are built.
        keep: Whether labs stay when the run is over.
        worker: The xdist worker's id, None without xdist.
        attach: A running lab whose cluster is used for the first lab, and which stays when the run is over.
    """

    backend: str = "netns"
    cilium_version: str | None = None
    metallb_version: str = "auto"
    metallb_manifest: Path | None = None
    manifests: tuple[Path, ...] = ()
    kind: KindOptions = field(default_factory=KindOptions)
    name: str | None = None
    build: bool = True
    keep: bool = False
    worker: str | None = None
    attach: str | None = None


@dataclass(frozen=True)
class LabFacts:
    """What stands beside every result that a lab gave.

    Attributes:
        name: The lab's name.
        topology: The topology's name.
        backend: "netns" or "kind".
        cilium_version: The Cilium version that ran.
        metallb_version: The MetalLB version that ran, None if none did.
        provenance: Short hash of what was built from what; equal hashes mean equal programs.
        up_seconds: Seconds from asking for the lab until it was up, building included.
        stages: Seconds from the start until each stage was done.
        timers: "quick", or the manifests' own; with what was cut down.
        stand_ins: What in the lab is not the real thing.
        worker: The xdist worker it belongs to, None without xdist.
        kubeconfig: Its kubeconfig.
    """

    name: str
    topology: str
    backend: str
    cilium_version: str
    provenance: str
    up_seconds: float
    stages: dict[str, float] = field(default_factory=dict)
    timers: list[str] = field(default_factory=list)
    stand_ins: list[str] = field(default_factory=list)
    worker: str | None = None
    kubeconfig: str = ""
    metallb_version: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as JSON types."""
        return asdict(self)


class LabPool:
    """One shared lab at a time, and labs of their own for scenarios that ask for one.

    A lab of a small topology needs about 1 GB of memory, so a scenario with another topology replaces the shared lab;
    the plugin sorts scenarios by topology for that reason.

    Args:
        settings: The run's options.
        progress: Told what is being done.
        on_up: Told the facts of each lab that is up, and the provenance of what it runs.
        opener: Brings a lab up; `harness.bringup.open_lab` unless a test replaces it.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        *,
        on_up: Callable[[LabFacts, Mapping[str, Any]], None] = lambda facts, provenance: None,
        opener: Callable[..., Lab] | None = None,
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._on_up = on_up
        self._opener = opener
        self._shared: tuple[tuple[Path, Timers, float | None], Lab] | None = None
        self._broken: dict[Path, LblabError] = {}
        self._tried: set[Path] = set()
        self._kept: list[Lab] = []
        self._count = 0
        self._thorough = False
        self.facts: dict[str, LabFacts] = {}

    def take(
        self, topology: Path, *, timers: Timers = "manifest", fresh: bool = False, time_scale: float | None = None
    ) -> Lab:
        """Give a scenario its lab: clean, and up.

        Args:
            topology: The topology file.
            timers: "quick", the "whole-agent"'s, or the manifests' own.
            fresh: A lab of its own, whatever the shared one is. Where labs take minutes to come up it is the shared one
                all the same, which is replaced by a new one if it does not come back clean.
            time_scale: Instead of the topology's.

        Raises:
            LblabError: It could not be brought up. What failed once is not tried again in this run: a hundred scenarios
                would fail one by one for the same reason.
        """
        self._thorough = fresh
        if fresh and self._settings.backend not in _COSTLY:
            return self._open(topology, timers, time_scale)
        if self._shared is not None and self._shared[0] == (topology, timers, time_scale):
            return self._shared[1]
        before = self._retire()
        if before is not None and self._settings.backend not in _COSTLY:
            before.close()
            before = None
        lab = self._open(topology, timers, time_scale, instead_of=before)
        self._shared = ((topology, timers, time_scale), lab)
        return lab

    def give_back(self, lab: Lab, *, failed: bool) -> list[str]:
        """Take a lab back after a scenario, and bring it back to how it was.

        Args:
            lab: The lab.
            failed: Whether the scenario failed; with `keep` the first such lab stays as the failure left it.

        Returns:
            What had to be put back.

        Raises:
            LabError: The lab did not come back clean; the next scenario gets a new one. That is no error where the
                scenario had asked for a lab of its own.
        """
        shared = self._shared is not None and self._shared[1] is lab
        if failed and self._settings.keep and not self._kept:
            self._kept.append(lab)
            if shared:
                self._shared = None
            return []
        if not shared:
            lab.close()
            return []
        try:
            return list(lab.reset(thorough=True) if self._thorough else lab.reset())
        except LblabError as error:
            self._shared = None
            if self._settings.attach is not None:
                raise LabError(f"the lab {self._settings.attach} did not come back clean: {error}") from error
            lab.close()
            if self._thorough:  # a scenario that asked for a lab of its own has said that it leaves none
                return [f"nothing: the lab was ended, {error}"]
            raise LabError(f"the lab did not come back clean and was replaced: {error}") from error

    def close(self) -> list[Lab]:
        """End every lab, unless they are to be kept.

        Returns:
            The labs that stay.
        """
        lab = self._retire()
        if lab is not None and self._settings.attach is None:
            lab.close()
        return list(self._kept)

    def _retire(self) -> Lab | None:
        """Part with the shared lab; gives it if it is to be ended."""
        if self._shared is None:
            return None
        _, lab = self._shared
        self._shared = None
        if not self._settings.keep:
            return lab
        self._kept.append(lab)
        return None

    def _attached(self) -> Lab | None:
        """The running lab that the run is to use, the first time that it needs one."""
        if self._settings.attach is None:
            return None
        from harness.bringup import attach

        return attach(self._settings.attach)

    def _open(self, topology: Path, timers: Timers, time_scale: float | None, *, instead_of: Lab | None = None) -> Lab:
        if topology in self._broken:
            if instead_of is not None:
                instead_of.close()
            raise self._broken[topology]
        instead_of = instead_of or self._attached()
        opener = self._opener
        if opener is None:
            from harness.bringup import open_lab

            opener = open_lab
        settings = self._settings
        self._count += 1
        more: dict[str, Any] = {} if instead_of is None else {"instead_of": instead_of}
        name = lab_name(settings.name, topology.stem, settings.worker, os.getpid(), self._count)
        start = time.monotonic()
        try:
            lab = opener(
                topology,
                backend=settings.backend,
                cilium_version=settings.cilium_version,
                metallb_version=settings.metallb_version,
                metallb_manifest=settings.metallb_manifest,
                manifests=settings.manifests,
                kind=settings.kind,
                name=name,
                build=settings.build,
                timers=timers,
                time_scale=time_scale,
                owner="none" if settings.keep else "process",
                progress=_seldom(lambda stage: self._progress(f"{name}: {stage}")),
                **more,
            )
        except LblabError as error:
            if instead_of is not None:
                instead_of.close()  # does nothing when it has become part of the one that failed
            self._failed(topology, error)
            raise
        try:
            lab.mark_clean()
        except LblabError:
            lab.close()
            raise
        seconds = time.monotonic() - start
        metallb = f", MetalLB {lab.metallb_version}" if lab.metallb_version else ""
        self._progress(f"{name}: up in {seconds:.1f} s, Cilium {lab.cilium_version}{metallb}")
        self.facts[lab.name] = facts_of(lab, seconds, settings.worker)
        self._on_up(self.facts[lab.name], lab.backend.provenance)
        return lab

    def _failed(self, topology: Path, error: LblabError) -> None:
        """Remember that no lab of a topology comes up here.

        What took minutes to fail, and depends on much that is not lblab's, has a second try by the next scenario.
        """
        again = self._settings.backend in _COSTLY and type(error) is LabError and topology not in self._tried
        self._tried.add(topology)
        if not again:
            self._broken[topology] = error


def _seldom(tell: Progress) -> Progress:
    """Pass a line on only after some silence: a lab that comes up in seconds is one line, a build is many."""
    told = time.monotonic()

    def pass_on(line: str) -> None:
        nonlocal told
        if time.monotonic() - told >= _SILENCE:
            told = time.monotonic()
            tell(line)

    return pass_on


def facts_of(lab: Lab, seconds: float, worker: str | None) -> LabFacts:
    """Collect what stands beside a lab's results."""
    backend = lab.backend
    return LabFacts(
        name=lab.name,
        topology=lab.topology.name,
        backend=backend.kind,
        cilium_version=lab.cilium_version,
        provenance=provenance_hash(backend.provenance),
        up_seconds=round(seconds, 3),
        stages={stage: round(at, 3) for stage, at in backend.stages.items()},
        timers=list(lab.quickened),
        stand_ins=list(backend.stand_ins),
        worker=worker,
        kubeconfig=str(lab.kubeconfig),
        metallb_version=lab.metallb_version,
    )


def provenance_hash(provenance: Mapping[str, Any]) -> str:
    """Shorten a provenance to twelve hexadecimal digits (48 bits: no two builds of one project will collide).

    What a build took, and the checksums of its files, are left out: the same sources, modules and Go give the same hash
    on every machine.
    """
    decisive = {
        program: {key: value for key, value in facts.items() if key not in ("seconds", "files")}
        if isinstance(facts, Mapping)
        else facts
        for program, facts in provenance.items()
    }
    text = json.dumps(decisive, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def lab_name(asked: str | None, topology: str, worker: str | None, pid: int, number: int) -> str:
    """Name the labs of this process apart from each other and from those of other runs.

    A name that was asked for is used as it is for the first lab of a process without xdist.
    """
    tail = [worker or "", "" if asked else str(pid), "" if number == 1 else str(number)]
    suffix = "".join(f"-{part}" for part in tail if part)
    base = re.sub(r"[^a-z0-9]+", "-", (asked or topology).lower()).strip("-") or "lab"
    return base[: _NAME_LENGTH - len(suffix)].rstrip("-") + suffix
