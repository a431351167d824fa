"""Where built programs are kept: one folder per program, version and content, complete or not there at all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

#: Seconds between two looks at a lock that another process holds, and between two lines that say so.
_LOOK_EVERY = 0.2
_SAY_EVERY = 8.0

_PROVENANCE = "provenance.json"


def root() -> Path:
    """The user's cache folder of lblab."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lblab"


def digest(parts: Iterable[str | bytes]) -> str:
    """A short name for content: equal parts, equal name."""
    out = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        out.update(len(data).to_bytes(8, "big") + data)
    return out.hexdigest()[:12]


def source_files(folder: Path) -> list[Path]:
    """The files that a Go program is built from: tests are not among them."""
    files = [*folder.rglob("*.go"), folder / "go.mod", folder / "go.sum"]
    return sorted(file for file in files if file.is_file() and not file.name.endswith("_test.go"))


def sources(folder: Path, files: Iterable[Path], *more: str) -> str:
    """Name the content of Go sources in a folder, and of whatever else decides what is built."""
    named = ((str(file.relative_to(folder)), file.read_bytes()) for file in files)
    return digest([*more, *(part for pair in named for part in pair)])


def entry(program: str, version: str, content: str) -> Path:
    """The folder of one built program."""
    return root() / "bin" / f"{program}-{version}-{content}"


def read(folder: Path) -> dict[str, Any] | None:
    """The provenance of a complete entry, or None if it is not there."""
    try:
        found = json.loads((folder / _PROVENANCE).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def entries() -> Iterator[tuple[Path, dict[str, Any]]]:
    """All complete entries with their provenance, in order of their names."""
    with contextlib.suppress(FileNotFoundError):
        for folder in sorted((root() / "bin").iterdir()):
            if (provenance := read(folder)) is not None:
                yield folder, provenance


@contextlib.contextmanager
def making(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Fill a new entry: it appears at its place complete, or not at all. The caller holds the program's lock.

    Yields:
        A folder beside the entry's place and the provenance to fill in.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = f".making-{folder.name}"
    for left in folder.parent.glob(".making-*"):
        # by a builder of the same program that was killed: whoever else built it now would hold the lock
        if left.name.rsplit("-", 2)[0] == making.rpartition("-")[0]:
            shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{making}-", dir=folder.parent))
    scratch.chmod(0o755)
    provenance: dict[str, Any] = {}
    try:
        yield scratch, provenance
        (scratch / _PROVENANCE).write_text(json.dumps(provenance, indent=2) + "\n")
        if folder.exists():  # left by a build whose provenance was damaged
            shutil.rmtree(folder)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def lock(name: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of one program's build; wait while another process builds it.

    The kernel frees it when its holder ends, however that happens.

    Args:
        name: The program and its version.
        tell: Told now and then who is waited for.
    """
    path = root() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    pause = threading.Event()
    with path.open("a+") as file:
        waited = 0.0
        said = -_SAY_EVERY
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waited - said >= _SAY_EVERY:
                    file.seek(0)
                    holder = file.read().strip()
                    tell(f"waiting for process {holder or '?'}, which builds {name}: {waited:.0f} s")
                    said = waited
                pause.wait(_LOOK_EVERY)
                waited += _LOOK_EVERY
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
