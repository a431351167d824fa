"""The labs of this user: one folder each, locked for as long as the lab lives by the process that will remove it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from harness.errors import LabError, LblabError, UserError

INFO_FILE, LOCK_FILE = "lab.json", "lock"
#: What an owner writes into its pipe when the lab is to outlive it.
LEAVE = b"."
#: In the folder of a lab of kind from the first moment on: what it has made outlives its processes.
KIND_FILE = "kind.json"

#: sockaddr_un holds 108 characters; the longest socket below a lab's folder is some 40.
_MAX_FOLDER = 60


@dataclass(frozen=True)
class LabInfo:
    """What is known of a lab from outside."""

    name: str
    folder: str
    topology: str
    cilium_version: str
    #: PID of the process that ends with the lab: the lab host's outer process, or the reaper of a lab of kind.
    pid: int
    #: Seconds since the epoch.
    created: float
    #: "process": ends with the process that made it; "none": stays until `lblab down`.
    owner: str
    provenance: dict[str, Any]
    stages: dict[str, float]
    stand_ins: list[str]
    #: lblab's program for servers and probes, as the lab's hosts see it.
    lablet: str
    #: The MetalLB version that runs, if one does.
    metallb_version: str | None = None
    #: Topology.time_scale, or what was asked for instead.
    time_scale: float = 1.0
    #: "netns" or "kind".
    backend: str = "netns"
    #: What the backend has to know to use the lab from another process.
    details: dict[str, Any] = field(default_factory=dict)


def root() -> Path:
    """The folder that holds this user's labs, made for nobody else to read.

    Raises:
        LabError: when somebody else owns a folder of that name.
    """
    base = Path(os.environ.get("LBLAB_RUN") or f"/tmp/lblab-{os.getuid()}").absolute()
    if base.is_relative_to("/run") or base.is_relative_to("/var/tmp"):
        raise UserError(
            f"{base} is hidden within a lab, which has a /run and a /var/tmp of its own", hint="set LBLAB_RUN"
        )
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    if base.stat().st_uid != os.getuid() or base.is_symlink():
        raise LabError(f"{base} belongs to somebody else", hint="set LBLAB_RUN to a folder of your own")
    if len(str(base)) > _MAX_FOLDER:
        raise UserError(f"{base} is too long a path for UNIX sockets", hint="set LBLAB_RUN to a shorter one")
    return base


def claim(name: str) -> tuple[Path, int]:
    """Take a lab name: make its folder and lock it.

    Returns:
        The folder, and the descriptor that holds the lock; the process that ends with the lab inherits it.

    Raises:
        UserError: when the name is not usable, or a lab of that name runs.
    """
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", name):
        raise UserError(f"'{name}' cannot name a lab", hint="1 to 32 of a-z, 0-9 and '-', as a DNS label")
    folder = root() / name
    sweep()
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise UserError(
            f"a lab named '{name}' is already running", hint=f"lblab down --lab {name}, or choose another --name"
        ) from None
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def sweep() -> None:
    """Remove what is left of labs whose last process was killed: their locks are free."""
    for folder in root().iterdir():
        if _alive(folder):
            continue
        if (folder / KIND_FILE).exists():
            from harness.backends.kind import reaper

            with contextlib.suppress(LblabError):  # without Docker it is left for the next time
                reaper.sweep(folder)
            continue
        shutil.rmtree(folder, ignore_errors=True)


def _alive(folder: Path) -> bool:
    if not lock_is_free(folder / LOCK_FILE):
        return True
    # between mkdir and the lock there are microseconds: only an old folder without a holder is a leftover
    return not _older_than(folder, seconds=5)


def lock_is_free(lock: Path) -> bool:
    """Whether nobody holds a lab's lock any more, that is, the lab's processes and its owner-to-be have gone."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _older_than(folder: Path, seconds: float) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > seconds
    except FileNotFoundError:
        return True


def running() -> list[LabInfo]:
    """The labs of this user that are up, oldest first."""
    return sorted(_infos(), key=lambda info: info.created)


def _infos() -> Iterator[LabInfo]:
    for folder in root().iterdir():
        if _alive(folder) and (folder / INFO_FILE).exists():
            with contextlib.suppress(LabError):  # of another lblab: its own command ends it
                yield read(folder)


def read(folder: Path) -> LabInfo:
    """Read what a lab says of itself.

    Raises:
        LabError: it was brought up by another version of lblab, which says other things.
    """
    told = json.loads((folder / INFO_FILE).read_text())
    if set(told) != {field.name for field in fields(LabInfo)}:
        raise LabError(f"the lab {folder.name} was brought up by another version of lblab", hint="end it with that one")
    return LabInfo(**told)


def write(info: LabInfo) -> None:
    """Publish a lab that is up."""
    target = Path(info.folder) / INFO_FILE
    draft = target.with_suffix(".new")
    draft.write_text(json.dumps(asdict(info)))
    draft.rename(target)


def end(info: LabInfo) -> None:
    """End a lab and wait until nothing of it is left.

    Raises:
        LabError: when it takes too long, or something cannot be removed.
    """
    # a backend's own modules come with all that they import
    if info.backend == "kind":
        from harness.backends.kind import reaper

        reaper.end(Path(info.folder), info.pid)
    else:
        from harness.backends.netns import ending

        ending.end(Path(info.folder), info.pid)
