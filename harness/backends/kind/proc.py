"""Processes as /proc shows them: what runs on a node, by the PID of its container's first process.

Where the kernel lists a process's children (CONFIG_PROC_CHILDREN) a node is looked through in a fraction of a
millisecond; that is done a hundred times a second while a process of it has to be caught as it starts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_SECOND = 1_000_000_000
#: /proc/PID/stat, counted from behind the command's name: proc(5), fields 3, 4 and 22.
_STATE, _PARENT, _STARTED = 0, 1, 19
#: Seconds after which a process is not about to become another program (exec) any more.
_SETTLED_AFTER = 2.0
_LISTS_CHILDREN = Path("/proc/thread-self/children").exists()


@dataclass(frozen=True)
class Seen:
    """One process."""

    pid: int
    parent: int
    #: The first word of its command line without folders, or what the kernel calls it where it has none.
    program: str
    #: The whole command line.
    argv: tuple[str, ...]


class Nodes:
    """Looks through nodes again and again, and reads about each process only until it is what it will stay."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Seen, float]] = {}

    def parts(self, first: int) -> Iterator[tuple[Seen, Seen | None]]:
        """What a node runs: the children of its first process, and theirs; each with what started it.

        That is all that matters here: the kubelet is a child of systemd, a pod's container one of containerd's shim,
        which is one of systemd.
        """
        for child in children(first):
            seen = self._look(child, first)
            if seen is None:
                continue
            yield seen, None
            for grandchild in children(child):
                inner = self._look(grandchild, child)
                if inner is not None:
                    yield inner, seen

    def _look(self, pid: int, parent: int) -> Seen | None:
        now = time.monotonic()
        known = self._seen.get(pid)
        if known is not None and known[0].parent == parent and now - known[1] > _SETTLED_AFTER:
            return known[0]
        seen = look(pid, parent)
        if seen is None:
            self._seen.pop(pid, None)
        else:
            since = now if known is None or known[0].parent != parent else known[1]
            self._seen[pid] = seen, since
        return seen

    def forget(self, pid: int) -> None:
        """A process has ended: its PID may come to mean another one."""
        self._seen.pop(pid, None)


def children(pid: int) -> list[int]:
    """The children of a process's main thread, and those that it has adopted; none when it has ended."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return list(map(int, file.read().split()))
    except ProcessLookupError:
        return []
    except FileNotFoundError:
        return [] if _LISTS_CHILDREN or not lives(pid) else [one for one, parent in parents().items() if parent == pid]


def parents() -> dict[int, int]:
    """The parent of every process."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := stat(int(entry.name))):
            found[int(entry.name)] = int(fields[_PARENT])
    return found


def descendants(roots: Iterable[int]) -> set[int]:
    """Everything that descends from some processes, these among it."""
    below: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        below.setdefault(parent, []).append(pid)
    found, waiting = set(), list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += below.get(pid, [])
    return found


def look(pid: int, parent: int) -> Seen | None:
    """What a process is; None when it has ended."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None
    argv = tuple(os.fsdecode(part) for part in line.rstrip(b"\0").split(b"\0")) if line else ()
    return Seen(pid, parent, argv[0].rpartition("/")[2] if argv and argv[0] else name, argv)


def stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the command's name; None when the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    fields = stat(pid)
    return fields is not None and fields[_STATE] not in ("Z", "X")


def started_ns(pid: int) -> tuple[int, int] | None:
    """When a process was started, and how exactly that is known; nanoseconds of CLOCK_MONOTONIC.

    The kernel counts in ticks from the boot, suspended time included (CLOCK_BOOTTIME).
    """
    fields = stat(pid)
    if fields is None:
        return None
    tick = _SECOND // _TICKS
    suspended = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    # the count is cut off: the start lies within the tick after it
    return (int(fields[_STARTED]) + 1) * tick - suspended, tick
