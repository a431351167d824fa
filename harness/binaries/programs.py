"""What the embedded lab runs, and how each program is built."""

from __future__ import annotations

import functools
import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.binaries import cache, explain, gocommand, gomod, released, toolchain
from harness.binaries.display import Display
from harness.binaries.gocommand import Command
from harness.binaries.toolchain import Go
from harness.cilium.semver import Version
from harness.cilium.versions import KNOWN
from harness.errors import UserError

#: The Go sources.
SOURCES = Path(__file__).parent / "go"

#: Kubernetes of the embedded lab; the go.mod of go/kube holds the same version.
KUBERNETES = "1.34.4"

#: No symbol table and no DWARF: a third of the size, and link time.
STRIP = "-s -w"

_GO_LINE = {14: (1, 23), 15: (1, 23), 16: (1, 23), 17: (1, 23), 18: (1, 24), 19: (1, 25)}


class Program(Protocol):
    """One entry of the cache."""

    @property
    def name(self) -> str:
        """As in `lblab build NAME`."""

    @property
    def version(self) -> str:
        """Its version."""

    def content(self) -> str:
        """A name for everything that decides what is built, without building it."""

    def make(self, folder: Path, display: Display, log: Path) -> dict[str, Any]:
        """Build it.

        Args:
            folder: Where its files go.
            display: Is told how far it is.
            log: Where the output of the tools goes.

        Returns:
            What is particular to it in its provenance.

        Raises:
            UserError: It cannot be built.
        """


def folder_of(program: Program) -> Path:
    """Where a program is, or will be."""
    return cache.entry(program.name, program.version, program.content())


def provide(program: Program, display: Display) -> Path:
    """Build a program unless it is there.

    Returns:
        Its folder.

    Raises:
        UserError: It cannot be built.
    """
    folder = folder_of(program)
    if cache.read(folder) is not None:
        return folder
    what = f"{program.name} {program.version}"
    try:
        with cache.lock(f"{program.name}-{program.version}", display.say):
            if cache.read(folder) is not None:  # built while this process waited
                return folder
            log = cache.root() / "log" / f"{program.name}-{program.version}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("")
            began = time.monotonic()
            with cache.making(folder) as (scratch, provenance):
                particular = program.make(scratch, display, log)
                seconds = round(time.monotonic() - began, 1)
                identity = {"program": program.name, "version": program.version, "content": program.content()}
                provenance.update(identity, **particular, seconds=seconds, files=dict(_files(scratch)))
            display.say(f"{what}: built in {seconds:.0f} s")
    except OSError as error:
        if error.errno in explain.DISK_FULL:
            raise explain.no_space(what) from error
        raise UserError(f"{what} cannot be built: {error.strerror}: {error.filename}") from error
    return folder


@dataclass(frozen=True)
class GoProgram:
    """A program whose Go module is complete in go/NAME.

    Attributes:
        name: Its folder and its file.
        version: Its version.
        modules: The modules whose versions its provenance names.
        stamp: Linker flags that give it its version.
    """

    name: str
    version: str
    modules: Sequence[str]
    stamp: str = ""

    @property
    def _folder(self) -> Path:
        return SOURCES / self.name

    @property
    def _minimum(self) -> tuple[int, int]:
        text = (self._folder / "go.mod").read_text()
        return toolchain.line_of(next(line.split()[1] for line in text.splitlines() if line.startswith("go ")))

    def content(self) -> str:
        """Sources, flags and the release line of Go."""
        files = cache.source_files(self._folder)
        return cache.sources(self._folder, files, self.stamp, repr(toolchain.line_for(self._minimum)))

    def make(self, folder: Path, display: Display, log: Path) -> dict[str, Any]:
        """Compile and link it."""
        go = toolchain.provide(self._minimum)
        command = Command(go, self._folder, f"{self.name} {self.version}", log, display)
        flags = ["-trimpath", "-mod=readonly", f"-ldflags={STRIP} {self.stamp}".rstrip()]
        stale = command.list_packages(flags)
        if stale.code:
            raise explain.failure(command.what, stale.stderr, log)
        command.build(flags, folder / self.name, count(stale.stdout))
        return go_provenance(go, folder / self.name, self.modules, flags)


@dataclass(frozen=True)
class CiliumProgram:
    """Cilium's BGP control plane and operator at one version: one program under two names.

    Its module is generated out of Cilium's own go.mod and kept beside the program.
    """

    release: Version
    name: str = "cilium"

    @property
    def version(self) -> str:
        """Cilium's version."""
        return str(self.release)

    @property
    def _minimum(self) -> tuple[int, int]:
        return _GO_LINE.get(self.release.minor, toolchain.TESTED)

    @property
    def _substitution(self) -> gomod.Substitution | None:
        return gomod.SUBSTITUTIONS.get(min(self.release.minor, max(gomod.SUBSTITUTIONS)))

    @property
    def _sources(self) -> list[Path]:
        """The files that are for this minor: one that is for another minor is no reason to build again."""
        tags = gomod.build_tags(self.release)
        return [file for file in cache.source_files(SOURCES / self.name) if gomod.is_active(file.read_text(), tags)]

    def content(self) -> str:
        """Sources, version, what may be substituted and the release line of Go."""
        more = (self.version, repr(self._substitution), repr(toolchain.line_for(self._minimum)))
        return cache.sources(SOURCES / self.name, self._sources, *more)

    def make(self, folder: Path, display: Display, log: Path) -> dict[str, Any]:
        """Generate the module, compile and link."""
        go = toolchain.provide(self._minimum)
        for file in self._sources:
            shutil.copy(file, folder)
        command = Command(go, folder, f"cilium {self.version}", log, display)
        known = [str(one) for one in KNOWN]
        got = released.fetch(command, "Cilium", gomod.CILIUM_MODULE, self.version, known)
        tags = ",".join(gomod.build_tags(self.release))
        flags = ["-trimpath", "-mod=mod", f"-tags={tags}", f"-ldflags={STRIP}"]
        stale, substitutions = self._resolve(command, flags, got.requirements, got.sums)
        command.build(flags, folder / "cilium", stale)
        for file in folder.glob("*.go"):
            file.unlink()
        for name in ("cilium-bgp", "cilium-operator"):
            (folder / name).symlink_to("cilium")
        modules = (
            gomod.CILIUM_MODULE,
            "github.com/cilium/hive",
            "github.com/osrg/gobgp/v3",
            "github.com/osrg/gobgp/v4",
            "k8s.io/client-go",
        )
        return {
            **go_provenance(go, folder / "cilium", modules, flags),
            "go_directive": got.requirements["Go"],
            "substitutions": substitutions,
        }

    def _resolve(
        self, command: Command, flags: Sequence[str], requirements: dict[str, Any], sums: str
    ) -> tuple[int, list[str]]:
        """Write go.mod: as released if all that it names can be had, else with the minor's substitution.

        Returns:
            How many packages are to be compiled, and the substitutions.
        """
        candidates: list[gomod.Substitution | None] = [None]
        if self._substitution and self._substitution.applies(requirements):
            candidates.append(self._substitution)
        for candidate in candidates:
            (command.folder / "go.mod").write_text(gomod.render(requirements, self.release, candidate))
            (command.folder / "go.sum").write_text(sums)
            stale = command.list_packages(flags)
            if not stale.code:
                said = [candidate.describe(requirements)] if candidate else []
                for one in said:
                    command.display.say(f"{command.what}: {one}")
                return count(stale.stdout), said
            if not explain.is_missing(stale.stderr):
                break
        raise explain.failure(command.what, stale.stderr, command.log)


@dataclass(frozen=True)
class SeedProgram:
    """The etcd data folder that a lab with this Cilium starts from."""

    kube: GoProgram
    cilium: CiliumProgram
    name: str = "seed"

    @property
    def version(self) -> str:
        """Cilium's version."""
        return self.cilium.version

    def content(self) -> str:
        """The programs that make it, and how."""
        return cache.digest(
            [self.kube.content(), self.cilium.content(), Path(__file__).with_name("seed.py").read_bytes()]
        )

    def make(self, folder: Path, display: Display, log: Path) -> dict[str, Any]:
        """Run the API server and register the CRDs."""
        from harness.binaries import seed  # with all that it imports: a lab whose seed is there does without

        kube, cilium = provide(self.kube, display), provide(self.cilium, display)
        display.step(f"seed {self.version}: registering Cilium's CRDs in a fresh API server")
        kinds = seed.make(
            kube / "kube", cilium / "cilium-operator", folder / "seed.tar", lambda: display.advance(0, None)
        )
        return {"kubernetes": self.kube.version, "cilium": self.version, "kinds": kinds}


def _kubernetes_stamp(version: str) -> str:
    """Linker flags that make Kubernetes say its version; unset, it says v0.0.0-master and clients misjudge it."""
    values = {
        "gitVersion": f"v{version}",
        "gitMajor": version.split(".")[0],
        "gitMinor": version.split(".")[1],
        "gitTreeState": "clean",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(f"-X {package}.{key}={value}" for package in packages for key, value in values.items())


KUBE = GoProgram(
    "kube",
    KUBERNETES,
    ("k8s.io/kubernetes", "go.etcd.io/etcd/server/v3"),
    _kubernetes_stamp(KUBERNETES),
)
# lblab's own programs have no version of their own: the content is in their folder's name
NODE_AGENT = GoProgram("node-agent", "lblab", ("k8s.io/client-go",))
LABLET = GoProgram("lablet", "lblab", ("golang.org/x/sys",))


@functools.cache
def cilium(release: Version) -> CiliumProgram:
    """Cilium at a version.

    Raises:
        UserError: The version is older than the sources can be built at.
    """
    if release.major != 1 or release.minor < gomod.FIRST_MINOR:
        raise UserError(
            f"Cilium {release} cannot be built: lblab builds 1.{gomod.FIRST_MINOR} and later",
            hint=f"known versions: {', '.join(map(str, KNOWN))}",
        )
    return CiliumProgram(release)


def count(lines: str) -> int:
    """How many packages a `go list` names."""
    return sum(1 for line in lines.splitlines() if line.strip())


def go_provenance(go: Go, program: Path, modules: Sequence[str], flags: Sequence[str]) -> dict[str, Any]:
    """What a program says it was built from."""
    info = gocommand.ask(go, "version", "-m", str(program)).stdout
    return {"go": go.version, "flags": list(flags), "modules": gomod.main_modules(info, modules)}


def _files(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                checksum = hashlib.file_digest(file, "sha256").hexdigest()
            yield path.name, {"sha256": checksum, "bytes": path.stat().st_size}
