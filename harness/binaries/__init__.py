"""The programs that the embedded lab runs: built once from source, cached, each with its provenance."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.binaries import cache, metallb, programs, tools
from harness.binaries.display import display
from harness.binaries.programs import Program
from harness.cilium import semver, versions
from harness.errors import UserError
from harness.metallb import versions as metallb_versions

__all__ = ["Binaries", "Built", "Metallb", "build", "ensure", "ensure_one", "list_built", "prune"]


@dataclass(frozen=True)
class Metallb:
    """MetalLB's programs.

    Attributes:
        version: MetalLB's version.
        speaker: Announces addresses from one node.
        controller: Gives addresses to Services.
        crds: A JSON list of its CustomResourceDefinitions.
    """

    version: str
    speaker: Path
    controller: Path
    crds: Path


@dataclass(frozen=True)
class Binaries:
    """Programs for one lab.

    Attributes:
        kube: `kube etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kube-proxy ...`.
        cilium_bgp: Cilium's BGP control plane of one node.
        cilium_operator: LB-IPAM and the operator's part of BGP.
        node_agent: In place of the kubelet.
        lablet: A pod's server.
        seed: A tar of an etcd data folder in which this Cilium version's CRDs are served.
        provenance: For each program: version, modules, substitutions, Go, hashes.
        metallb: MetalLB's programs, for a lab that runs it.
    """

    kube: Path
    cilium_bgp: Path
    cilium_operator: Path
    node_agent: Path
    lablet: Path
    seed: Path
    provenance: Mapping[str, Any]
    metallb: Metallb | None = None


@dataclass(frozen=True)
class Built:
    """A program in the cache.

    Attributes:
        program: Its name, as `lblab build` takes it.
        version: Its version.
        folder: Where it is.
        size: Bytes of all its files.
        current: Whether a lab would use it: an older one stems from other sources or another Go.
        provenance: How it came about.
    """

    program: str
    version: str
    folder: Path
    size: int
    current: bool
    provenance: Mapping[str, Any]


def ensure(
    cilium: str, build: bool = True, progress: Callable[[str], None] | None = None, *, metallb: str | None = None
) -> Binaries:
    """Give the programs of a lab, built first where they are missing.

    Several processes may ask at once: one builds, the others wait for it. A build that was interrupted goes on where it
    was, because Go keeps what it has compiled.

    Args:
        cilium: The exact Cilium version.
        build: Whether missing programs are built; otherwise they are an error.
        progress: Told lines, at most ten seconds apart while something is built; None draws on standard error.
        metallb: The exact MetalLB version, for a lab that runs it.

    Raises:
        UserError: A version does not exist, a build fails, or something is missing and may not be built.
    """
    wanted = (*_of_lab(semver.parse(cilium)), *(_metallb(metallb) if metallb else ()))
    missing = [one for one in wanted if cache.read(programs.folder_of(one)) is None]
    if missing:
        if not build:
            names = " and ".join(f"{one.name} {one.version}" for one in missing)
            targets = f"cilium@{cilium}" + (f" metallb@{metallb}" if metallb else "")
            raise UserError(
                f"{names} {'is' if len(missing) == 1 else 'are'} not built",
                hint=f"leave out --no-build, or run: lblab build {targets}",
            )
        _provide(wanted, progress)
    cilium_folder, kube, node_agent, lablet, seed, *more = (programs.folder_of(one) for one in wanted)
    return Binaries(
        kube=kube / "kube",
        cilium_bgp=cilium_folder / "cilium-bgp",
        cilium_operator=cilium_folder / "cilium-operator",
        node_agent=node_agent / "node-agent",
        lablet=lablet / "lablet",
        seed=seed / "seed.tar",
        provenance={one.name: cache.read(programs.folder_of(one)) for one in wanted},
        metallb=_of_metallb(metallb, *more) if metallb else None,
    )


def ensure_one(
    target: str, build: bool = True, progress: Callable[[str], None] | None = None
) -> tuple[Path, Mapping[str, Any]]:
    """Give one program that a lab uses beside those of `ensure`: kind, helm or lablet.

    Args:
        target: As `lblab build` takes it.
        build: Whether it is built when it is missing; otherwise that is an error.
        progress: As for `ensure`.

    Returns:
        The program and its provenance.

    Raises:
        UserError: It cannot be built, or is missing and may not be built.
    """
    (wanted,) = _target(target)
    folder = programs.folder_of(wanted)
    if cache.read(folder) is None:
        if not build:
            raise UserError(f"{target} is not built", hint=f"leave out --no-build, or run: lblab build {target}")
        _provide([wanted], progress)
    return folder / wanted.name, cache.read(folder) or {}


def build(targets: Sequence[str] = (), progress: Callable[[str], None] | None = None) -> list[Built]:
    """Build programs: `lblab build [TARGET ...]`.

    Args:
        targets: `kube`, `node-agent`, `lablet`, `cilium` or `cilium@1.20.2` (with the seed that belongs to it),
            `metallb` or `metallb@0.16.1`; none means all of them at the newest known versions. Besides, `kind` and
            `helm`, the commands of the kind backend.
        progress: As for `ensure`.

    Returns:
        What is there now, in the order in which it was asked for.

    Raises:
        UserError: A target is not known, a version does not exist, a build fails.
    """
    newest = versions.KNOWN[-1]
    wanted: list[Program] = []
    everything = (*_of_lab(newest), *_target("metallb"))
    for one in [program for target in targets for program in _target(target)] if targets else everything:
        if one not in wanted:
            wanted.append(one)
    _provide(wanted, progress)
    return [_built(programs.folder_of(one), cache.read(programs.folder_of(one)) or {}, current=True) for one in wanted]


def list_built() -> list[Built]:
    """What the cache holds: `lblab build --list`."""
    found = []
    for folder, provenance in cache.entries():
        current = False
        with contextlib.suppress(UserError):
            current = folder in (programs.folder_of(one) for one in _target(_target_of(provenance)))
        found.append(_built(folder, provenance, current))
    return found


def prune() -> list[Built]:
    """Remove what no lab of these sources would use: `lblab build --prune`. A lab that runs it keeps running.

    Returns:
        What was removed.
    """
    old = [one for one in list_built() if not one.current]
    for one in old:
        shutil.rmtree(one.folder, ignore_errors=True)
    return old


def _of_lab(release: semver.Version) -> tuple[Program, ...]:
    cilium = programs.cilium(release)
    # Cilium first: a version that does not exist is said before minutes are spent on Kubernetes
    return cilium, programs.KUBE, programs.NODE_AGENT, programs.LABLET, programs.SeedProgram(programs.KUBE, cilium)


def _metallb(version: str) -> tuple[Program, ...]:
    return (metallb.metallb(metallb_versions.resolve(version)),)


def _of_metallb(version: str, folder: Path) -> Metallb:
    return Metallb(version, folder / "speaker", folder / "controller", folder / metallb.CRDS_FILE)


def _target(target: str) -> tuple[Program, ...]:
    name, _, version = target.partition("@")
    own = (programs.KUBE, programs.NODE_AGENT, programs.LABLET, metallb.CRDGEN, tools.KIND, tools.HELM)
    plain: dict[str, Program] = {one.name: one for one in own}
    if name in plain and not version:
        return (plain[name],)
    if name in ("cilium", "seed"):
        release = versions.resolve(version) if version else versions.KNOWN[-1]
        cilium = programs.cilium(release)
        return cilium, programs.SeedProgram(programs.KUBE, cilium)
    if name == "metallb":
        return _metallb(version or "auto")
    hint = f"one of {', '.join(plain)}, cilium@VERSION, metallb@VERSION"
    raise UserError(f"'{target}' is nothing that can be built", hint=hint)


def _target_of(provenance: Mapping[str, Any]) -> str:
    name, version = str(provenance.get("program")), str(provenance.get("version"))
    return f"{name}@{version}" if name in ("cilium", "seed", "metallb") else name


def _provide(wanted: Iterable[Program], progress: Callable[[str], None] | None) -> None:
    with display(progress) as shown:
        for one in wanted:
            programs.provide(one, shown)


def _built(folder: Path, provenance: Mapping[str, Any], current: bool) -> Built:
    size = sum(file["bytes"] for file in provenance.get("files", {}).values())
    return Built(
        str(provenance.get("program")), str(provenance.get("version")), folder, size, current, dict(provenance)
    )
