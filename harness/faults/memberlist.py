"""The speakers of MetalLB do not hear one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from harness.faults.base import Steps
from harness.faults.targets import OfNode

#: Memberlist's port, TCP and UDP, as in MetalLB's manifests.
_PORT = 7946


@dataclass(frozen=True)
class MemberlistFiltered(OfNode):
    """Drop memberlist's port (TCP and UDP 7946) at a node, one way or both; everything else passes."""

    direction: Annotated[Literal["from", "to", "both"], "What is dropped: packets from the node, to it, or both."] = (
        "both"
    )
    peer: Annotated[str | None, "Only with this other node; with all of them if left out."] = None
    name = "memberlist-filter"

    def apply(self, steps: Steps) -> None:
        """Filter in the node."""
        steps.lab.node(self.node)
        others = () if self.peer is None else steps.lab.node(self.peer).addresses
        rules = ""
        if self.direction in ("to", "both"):
            rules += _chain("in", "input", "saddr", others)
        if self.direction in ("from", "both"):
            rules += _chain("out", "output", "daddr", others)
        name = f"memberlist_{self.direction}" + ("" if self.peer is None else f"_{self.peer.replace('-', '_')}")
        way = {"from": "from", "to": "to", "both": "from and to"}[self.direction]
        what = f"memberlist {way} it" + ("" if self.peer is None else f", with {self.peer},")
        steps.on_undo(self.node, f"{what} passes again", lambda: steps.backend.set_filter(self.node, name, None))
        steps.do(self.node, f"{what} dropped", lambda: steps.backend.set_filter(self.node, name, rules))


def _chain(name: str, hook: str, side: str, addresses: tuple[str, ...]) -> str:
    # gossip goes from port to port, a TCP connection from any port to the peer's
    ends = [f"meta l4proto {{ tcp, udp }} th {port} {_PORT} drop;" for port in ("sport", "dport")]
    peers = [f"{'ip6' if ':' in address else 'ip'} {side} {address} " for address in addresses] or [""]
    rules = "".join(peer + end for peer in peers for end in ends)
    return f"chain {name} {{ type filter hook {hook} priority -400; {rules} }};"
