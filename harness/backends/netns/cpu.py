"""CPU time that lblab itself uses on this machine: what is left of the machine's total is foreign load."""

from __future__ import annotations

import os
from pathlib import Path

# proc(5), /proc/PID/stat: fields counted from behind the command's name
_PPID, _UTIME, _STIME = 1, 11, 12


def times(*hosts: int) -> dict[int, int]:
    """CPU time of each process of a lab and of the run that uses it, in clock ticks by PID.

    The times of ended children are left out: what a lab's processes have used is lost to everybody when the kernel ends
    them with their PID namespace. Under pytest-xdist the run is all of its workers and their labs: two labs side by
    side are not foreign to one another; whether they disturb a measurement is what the prober's own jitter says.

    Args:
        hosts: PIDs that the lab's processes descend from, outside the lab.
    """
    roots = {*hosts, os.getppid() if os.environ.get("PYTEST_XDIST_WORKER") else os.getpid()}
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it ended meanwhile
        pid = int(entry.name)
        parents[pid] = int(fields[_PPID])
        used[pid] = int(fields[_UTIME]) + int(fields[_STIME])
    return {pid: ticks for pid, ticks in used.items() if _descends(pid, roots, parents)}


def _descends(pid: int, roots: set[int], parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid in roots:
            return True
        pid = parents.get(pid, 0)
    return False
