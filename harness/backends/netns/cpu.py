"""CPU time that lblab itself uses on this machine: what is left of the machine's total is foreign load."""

from __future__ import annotations

import os
from pathlib import Path

# proc(5), /proc/PID/stat: fields counted from behind the command's name
_PPID, _UTIME, _CSTIME = 1, 11, 14


def ticks(host: int) -> int:
    """CPU time of a lab and of the run that uses it, in clock ticks.

    Ended processes count through the parent that reaped them (cutime, cstime), so that the sum does not go back. Under
    pytest-xdist the run is all of its workers and their labs: two labs side by side are not foreign to one another;
    whether they disturb a measurement is what the prober's own jitter says.

    Args:
        host: PID of the lab's host, outside the lab.
    """
    roots = {host, os.getppid() if os.environ.get("PYTEST_XDIST_WORKER") else os.getpid()}
    parents: dict[int, int] = {}
    times: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended meanwhile
        pid = int(entry.name)
        parents[pid] = int(fields[_PPID])
        times[pid] = sum(int(field) for field in fields[_UTIME : _CSTIME + 1])
    return sum(used for pid, used in times.items() if _descends(pid, roots, parents))


def _descends(pid: int, roots: set[int], parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid in roots:
            return True
        pid = parents.get(pid, 0)
    return False
