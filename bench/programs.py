"""Measures what takes minutes: the first build out of empty caches, and a whole family of scenarios."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.labs import LBLAB
from harness.errors import LblabError

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Build:
    """A build: seconds in all, and the longest time in which it said nothing."""

    seconds: float
    silence: float


def first_build() -> Build:
    """Build everything that a lab runs with empty caches: lblab's, and both of Go's; they are removed afterwards.

    Needs about 8 GB below the folder that holds the user's cache, and the network.

    Raises:
        LblabError: when the build fails; with the end of what it said.
    """
    beside = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lblab-first-build-", dir=beside) as folder:
        # files of the module cache are read-only unless Go is told otherwise, and then nobody can remove them
        flags = f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip()
        caches = {"XDG_CACHE_HOME": folder, "GOCACHE": f"{folder}/go-build", "GOMODCACHE": f"{folder}/go-mod"}
        begin = last = time.monotonic()
        silence = 0.0
        tail: list[str] = []
        process = subprocess.Popen(
            [str(LBLAB), "build"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **caches, "GOFLAGS": flags},
        )
        assert process.stdout is not None
        for line in process.stdout:
            now = time.monotonic()
            silence, last = max(silence, now - last), now
            tail = [*tail[-4:], line.strip()]
            print(f"  {line.rstrip()}", file=sys.stderr, flush=True)
        if process.wait() != 0:
            raise LblabError(f"the first build failed: {' '.join(tail)}")
        return Build(time.monotonic() - begin, silence)


@dataclass(frozen=True)
class Scenarios:
    """A run of scenarios: seconds in all, how many ended how, and what each reset of a shared lab took."""

    seconds: float
    outcomes: dict[str, int]
    resets: list[float]


def scenarios(family: str, workers: int, cilium: str) -> Scenarios:
    """Run a family of scenarios as its users do.

    Raises:
        LblabError: when pytest did not run any.
    """
    with tempfile.TemporaryDirectory(prefix="lblab-bench-") as folder:
        results = Path(folder) / "results.jsonl"
        command = [sys.executable, "-m", "pytest", f"scenarios/{family}", "-q", "-n", str(workers)]
        command += ["--cilium-version", cilium, "--no-build", "--lab-results", str(results)]
        begin = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        seconds = time.monotonic() - begin
        records = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    if not records:
        raise LblabError(f"no scenario ran: {(done.stdout + done.stderr).strip()[-500:]}")
    outcomes: dict[str, int] = {}
    for record in records:
        outcomes[record["outcome"]] = outcomes.get(record["outcome"], 0) + 1
    # a scenario that left something behind on a shared lab: its teardown is the reset
    resets = [record["seconds"]["teardown"] for record in records if record["put_back"]]
    return Scenarios(seconds, outcomes, resets)


def space_for_first_build() -> bool:
    """Whether the disk of the user's cache has room for a second set of caches (8 GB, as in harness.doctor)."""
    home = Path.home()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return shutil.disk_usage(cache if cache.exists() else home).free > 8e9
