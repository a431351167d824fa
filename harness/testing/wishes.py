"""What scenarios want of their labs: read from marks and options, checked beforehand, and put in order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.errors import UserError
from harness.testing.pool import Timers

__all__ = ["DEFAULT_TOPOLOGY", "Wish", "bring_together", "check", "cilium_version", "find_topology", "of", "uses_lab"]

#: The topology of scenarios that name none: `topologies/small.yaml` of the project that is tested.
DEFAULT_TOPOLOGY = "small"

#: Topology, timers and time scale: scenarios that have them in common may have a lab in common.
Key = tuple[Path, Timers, float | None]


class Wish(NamedTuple):
    """What one scenario wants: a topology's file, BGP timers, its own lab, another time scale than the topology's."""

    topology: Path
    timers: Timers
    fresh: bool
    time_scale: float | None


def uses_lab(item: pytest.Item) -> bool:
    """Whether a test asks for a lab."""
    return "lab" in getattr(item, "fixturenames", ())


def of(item: pytest.Item) -> Wish:
    """Read what a scenario wants: its own mark `lab` first, then those around it, then the options.

    Raises:
        UserError: The mark says what it cannot, or there is no such topology.
    """
    marks: dict[str, Any] = {}
    for mark in item.iter_markers("lab"):  # the closest one first
        unknown = mark.kwargs.keys() - {"topology", "fresh", "timers", "time_scale"}
        if unknown or mark.args:
            raise UserError(
                f"{item.nodeid}: the mark lab takes topology=, timers=, fresh= and time_scale=, "
                f"not {mark.args or unknown}"
            )
        marks = {**mark.kwargs, **marks}
    wanted = marks.get("topology") or item.config.getoption("topology") or DEFAULT_TOPOLOGY
    path = find_topology(str(wanted), item.config.rootpath, item.path.parent)
    timers: Timers = marks.get("timers") or item.config.getoption("timers")
    return Wish(path, timers, bool(marks.get("fresh")), marks.get("time_scale"))


def find_topology(wanted: str, root: Path, beside: Path | None = None) -> Path:
    """Find a topology by its file, or by its name in `topologies/`.

    Args:
        wanted: `two-routers`, or a path.
        root: The project's root.
        beside: The folder of the scenario that wants it.

    Raises:
        UserError: There is none.
    """
    places = [Path(wanted), root / wanted]
    if beside is not None:
        places.insert(0, beside / wanted)
    if not wanted.endswith((".yaml", ".yml")):
        places = [root / "topologies" / f"{wanted}.yaml"]
    for place in places:
        if place.is_file():
            return place.resolve()
    raise UserError(f"there is no topology {wanted!r}", hint=f"looked for {', '.join(map(str, places))}")


def cilium_version(config: pytest.Config) -> str | None:
    """The version that was asked for; None: whatever serves the manifests."""
    asked = config.getoption("cilium_version")
    return None if asked == "auto" else str(asked)


def check(config: pytest.Config, topologies: Iterable[Path]) -> None:
    """Read topologies and manifests, and choose Cilium's version for each, as a lab would before it starts.

    Raises:
        UserError: What a lab would refuse.
    """
    for path in topologies:  # without any, none of the heavy modules is needed
        from harness import bringup
        from harness.topology import load

        bringup.choose(load(path), cilium_version(config), [Path(p) for p in config.getoption("manifests")])


def bring_together(items: list[pytest.Item]) -> None:
    """Bring scenarios of one topology together, as a change of topology costs a new lab; the order stays otherwise."""
    first: dict[Key | None, int] = {}
    keys: dict[pytest.Item, Key | None] = dict.fromkeys(items)
    for item in filter(uses_lab, items):
        with contextlib.suppress(UserError):  # said when the collection is finished, or by the scenario itself
            keys[item] = _key(of(item))
    for place, item in enumerate(items):
        first.setdefault(keys[item], place)
    if len(first) > 1:
        on_kind = items[0].config.getoption("lab_backend") == "kind"
        groups = _clusters({key for key in first if key is not None}) if on_kind else {}
        at = {
            key: min(first[other] for other in first if groups.get(other, other) == groups.get(key, key))
            for key in first
        }
        items.sort(key=lambda item: (at[keys[item]], first[keys[item]]))


def _key(wish: Wish) -> Key:
    return wish.topology, wish.timers, wish.time_scale


def _clusters(keys: Iterable[Key]) -> dict[Key | None, str]:
    """What those topologies have in common that can have one cluster after another."""
    from harness.backends.kind import fingerprint
    from harness.topology import load

    found: dict[Key | None, str] = {}
    for key in keys:
        with contextlib.suppress(UserError):  # said when the collection is finished
            found[key] = fingerprint.group(load(key[0]))
    return found
