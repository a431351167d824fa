"""A firewall between a router and one of its peers drops BGP."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated, Literal

from harness.errors import UserError
from harness.faults.base import Fault, Steps
from harness.faults.parameters import RouterName

#: RFC 4271, section 8: BGP listens on TCP port 179.
_PORT = 179


@dataclass(frozen=True)
class BgpFiltered(Fault):
    """Drop TCP port 179 between a router and a peer, one way or both; everything else passes."""

    peer: Annotated[str, "A node, or the address of a peer."]
    direction: Annotated[Literal["from", "to", "both"], "What is dropped: packets from the peer, to it, or both."] = (
        "both"
    )
    router: RouterName = None
    name = "bgp-filter"

    @property
    def subject(self) -> str:
        """The peer."""
        return self.peer

    def apply(self, steps: Steps) -> None:
        """Filter in the router."""
        host, addresses = steps.lab.router(self.router).name, self._addresses(steps)
        rules = ""
        if self.direction in ("from", "both"):
            rules += _chain("in", "input", "saddr", addresses)
        if self.direction in ("to", "both"):
            rules += _chain("out", "output", "daddr", addresses)
        name = "bgp_" + "_".join(address.replace(".", "_").replace(":", "_") for address in addresses)
        text = {"from": f"BGP from {self.peer}", "to": f"BGP to {self.peer}", "both": f"BGP from and to {self.peer}"}
        what = text[self.direction]
        steps.on_undo(host, f"{what} passes again", lambda: steps.backend.set_filter(host, name, None))
        steps.do(host, f"{what} dropped", lambda: steps.backend.set_filter(host, name, rules))

    def _addresses(self, steps: Steps) -> list[str]:
        if self.peer in steps.lab.nodes:
            return list(steps.lab.node(self.peer).addresses)
        try:
            return [str(ipaddress.ip_address(self.peer))]
        except ValueError:
            hint = f"nodes: {', '.join(steps.lab.nodes)}"
            raise UserError(f"'{self.peer}' is neither a node nor an address", hint=hint) from None


def _chain(name: str, hook: str, side: str, addresses: list[str]) -> str:
    # either end may have dialled: 179 is the peer's port or the router's
    rules = "".join(
        f"{'ip6' if ':' in address else 'ip'} {side} {address} tcp {port} {_PORT} drop;"
        for address in addresses
        for port in ("sport", "dport")
    )
    return f"chain {name} {{ type filter hook {hook} priority -400; {rules} }};"
