"""Addresses that one node owns on its network by answering ARP or NDP for them: who should, whoever announces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Owner:
    """What an announcer should make of one address once everything has converged.

    Attributes:
        address: The address.
        announcer: Whose rules these are: "MetalLB".
        node: The node that should answer for it; None: nobody should.
        candidates: The nodes that it was chosen among, the next in line after it first.
        why: How it was chosen, as a phrase.
    """

    address: str
    announcer: str
    node: str | None
    candidates: tuple[str, ...]
    why: str
