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
        others: Nodes that another announcer lets answer for the same address.
    """

    address: str
    announcer: str
    node: str | None
    candidates: tuple[str, ...]
    why: str
    others: frozenset[str] = frozenset()

    @property
    def nodes(self) -> frozenset[str]:
        """Every node that should answer."""
        return self.others | ({self.node} if self.node else frozenset())

    def beside(self, other: Owner) -> Owner:
        """What two announcers make of the same address: both answer, and the first one's choice comes first."""
        return Owner(
            self.address,
            f"{self.announcer} and {other.announcer}",
            self.node or other.node,
            self.candidates,
            f"{self.why}; {other.node or 'nobody'} {other.why}",
            (self.nodes | other.nodes) - {self.node or other.node or ""},
        )
