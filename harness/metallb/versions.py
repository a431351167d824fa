"""Which MetalLB a lab runs, and whether it runs one."""

from __future__ import annotations

from collections.abc import Iterable

from harness.cilium.semver import Version, parse_line, read
from harness.errors import UserError
from harness.manifests import Manifest
from harness.topology import Topology

#: MetalLB's API group.
GROUP = "metallb.io"

#: The releases that lblab has been built and run with, ascending; another release of a known minor is taken too.
KNOWN = tuple(Version(*numbers) for numbers in ((0, 15, 2), (0, 16, 1)))


def resolve(wanted: str = "auto") -> Version:
    """Find the exact version that is meant.

    Args:
        wanted: `0.15.2` (any release of a known minor), `0.15` (its newest known release) or `auto` (the newest known).

    Raises:
        UserError: not a version, or not of a minor that lblab knows.
    """
    if wanted == "auto":
        return KNOWN[-1]
    line, version = parse_line(wanted), read(wanted)
    if version is None and line is None:
        raise UserError(f'"{wanted}" is not a MetalLB version', hint=f'as "{KNOWN[-1]}", "0.15" or "auto"')
    of_minor = [known for known in KNOWN if known.line == (version.line if version else line)]
    if not of_minor:
        message = f"MetalLB {wanted.removeprefix('v')} is not a version that lblab knows"
        listed, minors = ", ".join(map(str, KNOWN)), " and ".join(dict.fromkeys(one.minor_text for one in KNOWN))
        raise UserError(message, hint=f"tried: {listed}; other releases of {minors} are taken too")
    return version or of_minor[-1]


def choose(topology: Topology, objects: Iterable[Manifest], wanted: str | None) -> Version | None:
    """The MetalLB that a lab runs; None when nothing of what is applied is MetalLB's and the topology asks for none.

    Args:
        topology: The topology.
        objects: What will be applied.
        wanted: As for `resolve`; None is auto.

    Raises:
        UserError: the version is not known, whether the lab needs it or not.
    """
    version = resolve(wanted or "auto")
    asked = topology.metallb is not None or any(one.group == GROUP for one in objects)
    return version if asked else None
