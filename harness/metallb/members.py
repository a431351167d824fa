"""Whom a speaker takes for a member of the memberlist, by its own log. Pure.

MetalLB shows its members nowhere else; it logs each that joins or leaves (internal/speakerlist/speakerlist.go).
"""

from __future__ import annotations

import json

_STARTING = "MetalLB speaker starting"
_EVENT = "node event - forcing sync"


def members(log: str) -> frozenset[str]:
    """The members as a speaker that runs sees them, itself among them.

    Args:
        log: Everything that the speaker has written, also before it was started again.
    """
    found: set[str] = set()
    for line in log.splitlines():
        if _STARTING in line:
            found.clear()
        elif _EVENT in line and line.startswith("{"):
            said = json.loads(line)
            if said.get("node event") == "NodeJoin":
                found.add(said["node name"])
            elif said.get("node event") == "NodeLeave":
                found.discard(said["node name"])
    return frozenset(found)
