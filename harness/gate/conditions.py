"""Under which conditions a comparison is made, and what differs between two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness import machine
from harness.binaries.programs import KUBERNETES
from harness.gate.model import Conditions
from harness.routing.daemons import frr_version

#: What of the machine decides how long things take; its name does not.
_DECISIVE = ("cpu", "cores", "memory_gib", "kernel", "python")
_DIGITS = 12


def here(*, backend: str, timers: str, workers: int) -> Conditions:
    """The conditions of a comparison that begins here and now; topologies and scenarios are added as they are run."""
    return Conditions(
        backend=backend,
        machine=machine.facts(),
        topologies={},
        timers=timers,
        software={"frr": ".".join(map(str, frr_version())), "kubernetes": KUBERNETES} if backend == "netns" else {},
        workers=workers,
    )


def differences(before: Conditions, now: Conditions) -> list[str]:
    """What differs, one phrase each, "cores: 2 then, 4 now"; of topologies and scenarios only what both have run."""
    found = [
        (name, getattr(before, name), getattr(now, name))
        for name in ("backend", "timers", "workers")
        if getattr(before, name) != getattr(now, name)
    ]
    found += _changed(before.machine, now.machine, _DECISIVE)
    found += _changed(before.software, now.software, before.software.keys() & now.software.keys())
    said = [f"{name}: {old} then, {new} now" for name, old, new in found]
    for what, old, new in (
        ("topology", before.topologies, now.topologies),
        ("scenarios", before.scenario_files, now.scenario_files),
    ):
        said += [f"{what} {name} has changed" for name, _, _ in _changed(old, new, old.keys() & new.keys())]
    return said


def topology_file(name: str, root: Path) -> Path:
    """Where a project has the topology of a name."""
    return root / "topologies" / f"{name}.yaml"


def hashed(path: Path) -> str:
    """A topology or a file of scenarios with all that belongs to it; "gone" when there is no such file.

    For a topology that is the folder of its name with its manifests and raw configurations, for scenarios the fixtures
    that they share.
    """
    if not path.exists():
        return "gone"
    if path.suffix == ".py":
        above = [folder / "conftest.py" for folder in path.parents if (folder / "__init__.py").exists()]
        files = [path, *(conftest for conftest in above if conftest.exists())]
    else:
        files = [path, *sorted(one for one in path.with_suffix("").rglob("*") if one.is_file())]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:_DIGITS]


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]) -> list[tuple[str, Any, Any]]:
    return [(key, before.get(key), now.get(key)) for key in sorted(keys) if before.get(key) != now.get(key)]
