"""CPU time that lblab itself uses on this machine: what is left of the machine's total is foreign load."""

from __future__ import annotations

import os
from pathlib import Path

from harness.backends.netns import registry

# proc(5), /proc/PID/stat: fields counted from behind the command's name
_PPID, _UTIME, _CSTIME = 1, 11, 14


def ticks() -> int:
    """CPU time of every lab of this user and of the run that uses them, in clock ticks.

    Ended processes count through the parent that reaped them (cutime, cstime), so that the sum never goes back. Under
    pytest-xdist the run is all of its workers: two labs side by side are not foreign to one another; whether they
    disturb a measurement is what the prober's own jitter says.
    """
    root = os.getppid() if os.environ.get("PYTEST_XDIST_WORKER") else os.getpid()
    spaces = set()
    for lab in registry.running():
        try:
            spaces.add(Path(f"/proc/{lab.pid}/ns/pid_for_children").readlink())
        except OSError:
            continue  # it has just ended
    parents: dict[int, int] = {}
    times: dict[int, int] = {}
    inside: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            pid = int(entry.name)
            parents[pid] = int(fields[_PPID])
            times[pid] = sum(int(field) for field in fields[_UTIME : _CSTIME + 1])
            if spaces and (entry / "ns" / "pid").readlink() in spaces:
                inside.add(pid)
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    return sum(used for pid, used in times.items() if pid in inside or _descends(pid, root, parents))


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid == root:
            return True
        pid = parents.get(pid, 0)
    return False
