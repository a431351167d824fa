"""CPU time of a lab's containers, by their control groups: what short-lived processes have used counts, too.

A real agent starts compilers and dozens of small commands; when they have ended, no process has their time.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
#: A container's own group: its ID, as runc's cgroupfs and systemd drivers name it. What is behind is systemd's, within.
_OWN = re.compile(r"^(.*/(?:docker-)?[0-9a-f]{64}(?:\.scope)?)(?:/|$)")
_TICKS = os.sysconf("SC_CLK_TCK")


def of_containers(first: Iterable[int]) -> dict[int, int]:
    """CPU time of containers in clock ticks, by the PIDs of their first processes; without those that have ended."""
    found = {}
    for pid in first:
        with contextlib.suppress(OSError):
            seconds = usage(Path(f"/proc/{pid}/cgroup").read_text())
            if seconds is not None:
                found[pid] = round(seconds * _TICKS)
    return found


def usage(groups: str, root: Path = _ROOT) -> float | None:
    """Seconds that a container's group has used; None where its groups do not tell.

    Args:
        groups: What /proc/PID/cgroup says of one of its processes.
        root: Where the groups' file systems are.
    """
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        own = _OWN.match(path)
        group = (own[1] if own else path).lstrip("/")
        if "cpuacct" in controllers.split(","):  # cgroup v1
            for folder in (controllers, "cpuacct", "cpu,cpuacct"):
                if (file := root / folder / group / "cpuacct.usage").exists():
                    return int(file.read_text()) / 1e9
        if not controllers and (file := root / group / "cpu.stat").exists():  # v2
            facts = dict(entry.split() for entry in file.read_text().splitlines())
            if "usage_usec" in facts:
                return int(facts["usage_usec"]) / 1e6
    return None
