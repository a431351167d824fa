"""The machine that is measured on: what it is, what else runs on it, and what a tree of processes takes of it."""

from __future__ import annotations

import os
import platform
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Share of all cores that others may use while nothing of the bench runs. Above it a figure is doubtful: what is bound
#: by CPU takes that much longer, or more.
FOREIGN_SHARE = 0.10
#: Seconds over which that share is observed; /proc/stat counts in hundredths.
_OBSERVED = 1.0


@dataclass(frozen=True)
class Memory:
    """Memory of some processes in bytes.

    Attributes:
        pss: Proportional set size: a page that n processes share counts 1/n in each; the sum is what all take.
        rss: Resident set size: shared pages count in each process.
    """

    pss: int
    rss: int


def foreign_load() -> float:
    """Observe for a second, while the bench does nothing, which share of all cores is busy."""
    busy, total = _cpu()
    threading.Event().wait(_OBSERVED)
    busy_after, total_after = _cpu()
    return (busy_after - busy) / max(1, total_after - total)


def doubt() -> str | None:
    """Why what is measured now could not be trusted; None when nothing speaks against it."""
    share = foreign_load()
    if share <= FOREIGN_SHARE:
        return None
    return f"other programs used {share:.0%} of the CPU (load {os.getloadavg()[0]:.1f})"


def _cpu() -> tuple[int, int]:
    """Busy and all jiffies of all cores since the start (proc_stat(5)); waiting for a disk is not busy."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, idle, iowait, irq, softirq, steal = fields
    busy = user + nice + system + irq + softirq + steal
    return busy, busy + idle + iowait


def tree(root: int) -> set[int]:
    """A process and everything that descends from it. Orphans in a PID namespace are children of its first process."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            children[parent].append(int(entry.name))
    found, open_ones = set(), [root]
    while open_ones:
        pid = open_ones.pop()
        found.add(pid)
        open_ones += children[pid]
    return found


def alive(pids: Iterable[int]) -> list[int]:
    """Those of some processes that still run; a zombie, which only waits for its parent's look, does not."""
    return [pid for pid in pids if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def memory(pids: Iterable[int]) -> Memory:
    """What processes take together (proc_pid_smaps(5), smaps_rollup)."""
    pss = rss = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in text.splitlines() if line.endswith(" kB")}
        pss += sizes["Pss"]
        rss += sizes["Rss"]
    return Memory(pss, rss)


def available() -> int:
    """Bytes of memory that programs may still take."""
    from harness.doctor import memory_available

    return memory_available(Path("/proc/meminfo").read_text())


def facts() -> dict[str, Any]:
    """What stands beside every figure."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "kernel": platform.release(),
        "memory_available": available(),
        "load": list(os.getloadavg()),
        "foreign_share": round(foreign_load(), 3),
        "python": platform.python_version(),
        "user": "root" if os.getuid() == 0 else "ordinary user",
    }
