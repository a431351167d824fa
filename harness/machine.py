"""What a result was measured on and with: this machine, and this lblab."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
#: Seconds that git may take to name a commit.
_GIT_WITHIN = 10.0


def facts() -> dict[str, Any]:
    """This machine: host name, CPU model, cores, kernel, memory in GiB, Python."""
    return {
        "host": platform.node(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "python": platform.python_version(),
    }


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()  # arm64's kernel names no model


def lblab() -> dict[str, str]:
    """This lblab: its version and, when it runs from a git clone, the commit; a `+` marks uncommitted changes."""
    try:
        version = metadata.version("lblab")
    except metadata.PackageNotFoundError:  # run from a clone that was never installed
        version = "uninstalled"
    commit = _git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return {"version": version}
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "harness", "scenarios", "topologies")
    return {"version": version, "commit": commit + ("+" if changed else "")}


def _git(*arguments: str) -> str | None:
    if not (_ROOT / ".git").exists():  # an installed package in somebody else's clone has no commit of its own
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=_GIT_WITHIN, check=True
        )
    except (OSError, subprocess.SubprocessError):  # no git, or a clone that belongs to somebody else
        return None
    return done.stdout.strip()
