"""MetalLB's choice of the node that answers for an address: every speaker works it out for itself, alike.

Pure. Source: MetalLB, speaker/layer2_controller.go, ShouldAnnounce; facts/l2_and_lag.md section 1.3.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable


def ranking(address: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """The candidates in the order in which they would take an address over: by sha256 of "node#address", ascending.

    Args:
        address: The address; for a Service with several the first one, which decides for all of them.
        candidates: Names of nodes.
    """
    text = str(ipaddress.ip_address(address))  # as Go's net.IP writes it
    return tuple(sorted(candidates, key=lambda node: hashlib.sha256(f"{node}#{text}".encode()).digest()))


def leader(address: str, candidates: Iterable[str]) -> str | None:
    """The node that answers for an address; None without a candidate."""
    return next(iter(ranking(address, candidates)), None)
