"""Which node owns an address on its own network, as `lab.l2`: who should, what announcers say, what routers have."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.cilium import expected_l2 as cilium
from harness.errors import WaitTimeout
from harness.metallb import expected as metallb
from harness.metallb.members import members
from harness.observe import Snapshot, listed, snapshot
from harness.owner import Owner
from harness.wait import let_pass, steady, until

if TYPE_CHECKING:
    from harness.lab import Lab

#: UDP's discard port (RFC 863): a datagram to it makes a router ask for an address, and means nothing to anybody.
_DISCARD = 9
#: Seconds for speakers to hear of one another: members gossip five times a second (facts/l2_and_lag.md 1.4).
_JOINED_WITHIN = 5.0
#: Seconds for an agent to take away the entry of a lease that it has lost; it takes milliseconds.
_CLEANED_WITHIN = 1.0
#: Seconds for an answer to a router's question; within a lab it takes below a millisecond.
_ANSWERED_WITHIN = 0.5


class L2:
    """The addresses of a lab that are announced by ARP and NDP."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    # -- who should -------------------------------------------------------------------------------------------------

    def expected(self, seen: Snapshot | None = None) -> dict[str, Owner]:
        """The node that should answer for each address, by the announcers' own rules.

        Args:
            seen: The objects to go by; they are read if it is left out.
        """
        found: dict[str, Owner] = {}
        for address, owner in self._expected(seen or snapshot(self._lab)):
            found[address] = found[address].beside(owner) if address in found else owner
        return found

    def _expected(self, seen: Snapshot) -> Iterator[tuple[str, Owner]]:
        if seen.metallb is not None:
            yield from metallb.owners(seen.metallb).items()
        if seen.cilium_l2 is not None:
            yield from cilium.owners(seen.cilium_l2).items()

    def leader(self, address: str) -> str | None:
        """The node that should answer for an address now; None: nobody."""
        owner = self.expected().get(address)
        return owner.node if owner else None

    def announced_by(self, service: str) -> set[str]:
        """The nodes whose speakers say that they announce a Service (MetalLB's ServiceL2Status objects).

        An account that may be late, or missing after a speaker's restart (facts/l2_and_lag.md section 7).
        """
        namespace, _, name = service.rpartition("/")
        wanted = {"metallb.io/service-name": name, "metallb.io/service-namespace": namespace or "default"}
        return {
            found["status"]["node"]
            for found in listed(self._lab.cluster, "servicel2statuses.metallb.io")
            if wanted.items() <= (found["metadata"].get("labels") or {}).items() and found.get("status", {}).get("node")
        }

    def members(self, node: str) -> frozenset[str]:
        """The nodes whose speakers a node's speaker takes for alive, or suspects at most (memberlist, by its log)."""
        return members(self._lab.node(node).speaker.log())

    def rejoin(self) -> list[str]:
        """Bring speakers together that have given one another up; says whose speaker was started anew for it.

        MetalLB itself joins those that it has lost once a minute, and at its start.

        Raises:
            WaitTimeout: with how many members each knew.
        """
        speakers = {name for name in self._lab.topology.speakers() if self._lab.node(name).speaker.running}
        restarted: list[str] = []

        def known() -> dict[str, int]:
            return {name: len(self.members(name) & speakers) for name in sorted(speakers)}

        def whole(found: dict[str, int]) -> bool:
            return all(count == len(speakers) for count in found.values())

        for _ in speakers:
            with contextlib.suppress(WaitTimeout):
                until("the speakers to know one another", known, whole, within=_JOINED_WITHIN, every=0.1)
                return restarted
            found = known()
            alone = min(found, key=lambda name: found[name])
            self._lab.node(alone).speaker.stop()
            self._lab.node(alone).speaker.start()
            restarted.append(f"restarted the speaker of {alone}, which knew {found[alone]} of {len(speakers)}")
        until("the speakers to know one another", known, whole, within=_JOINED_WITHIN, every=0.1)
        return restarted

    def leftovers(self) -> list[tuple[str, dict[str, Any]]]:
        """Nodes with entries of Cilium's L2 responder for addresses that they do not announce (any more)."""
        if (seen := snapshot(self._lab).cilium_l2) is None:
            return []
        owners = cilium.owners(seen)
        unsettled = {address for address, owner in owners.items() if owner.node is None}
        return [
            (node, entry)
            for node in sorted(seen.nodes)
            for entry in self._lab.backend.l2_responder(node).get("entries", ())
            if entry["ip"] not in unsettled and (entry["ip"] not in owners or owners[entry["ip"]].node != node)
        ]

    def forget_leftovers(self) -> list[str]:
        """Take those entries away that their node's agent does not take away itself; says which.

        Up to 1.19 an agent leaves some behind (facts/cilium.md, section 5: #45068), and with one a node answers for
        what another one announces.
        """
        if not (found := self.leftovers()):
            return []
        let_pass(_CLEANED_WITHIN)  # an agent that finds its entry gone leaves the rest of its work undone
        stale = [one for one in self.leftovers() if one in found]
        for node, entry in stale:
            self._lab.backend.l2_forget(node, entry)
        return [f"took {entry['ip']} out of the L2 responder's map of {node}" for node, entry in stale]

    # -- what routers have ------------------------------------------------------------------------------------------

    def routers(self, address: str) -> list[str]:
        """The routers that are on an address's network."""
        wanted = ipaddress.ip_address(address)
        return [
            name
            for name in self._lab.routers
            for link in self._lab.topology.links(name)
            if any(wanted in own.network for own in link.addresses)
        ]

    def owner(self, address: str, router: str | None = None) -> str | None:
        """The node to which a router sends what is for an address; None when it does not know.

        A hardware address that is no node's stands for itself.
        """
        at = self._lab.router(router)
        if at.arp.kind == "freebsd" and ":" not in address:  # whose kernel knows only what the daemon tells it
            known = at.arp.entry(address)
            return (known.host or known.mac) if known is not None else None
        entry = at.neighbours(six=":" in address).get(address)
        if entry is None or entry.mac is None or entry.state == "FAILED":
            return None
        return self.node_of(entry.mac) or entry.mac

    def node_of(self, mac: str) -> str | None:
        """The node that has a hardware address."""
        return next((name for name, node in self._lab.nodes.items() if mac in node.macs), None)

    def ask(self, address: str, router: str | None = None, *, within: float = _ANSWERED_WITHIN) -> str | None:
        """Make a router ask for an address that it has no entry for, and give who answered."""
        at = self._lab.router(router)
        if (known := self.owner(address, at.name)) is not None:
            return known
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self._lab.backend.socket(at.name, family, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            sock.sendto(b"", (address, _DISCARD))
        with contextlib.suppress(WaitTimeout):
            return until(f"an answer for {address}", lambda: self.owner(address, at.name), within=within, every=0.002)
        return None

    def correct(self) -> list[str]:
        """Let each router that sends to another node than the one that should answer ask anew; says which did.

        A router that has missed a gratuitous ARP, or has taken it for too early (Linux: within a second of the last
        change), goes on with what it knew for a minute.
        """
        misled = []
        for address, owner in self.expected().items():
            if owner.node is None and owner.candidates:
                misled.append(f"nobody answers for {address} yet")
                continue
            for router in self.routers(address) if owner.node else ():
                found = self.ask(address, router)
                if found not in owner.nodes:
                    self._lab.router(router).forget_neighbour(address)
                    misled.append(
                        f"{router} sent {address} to {found or 'nobody'}, not {' or '.join(sorted(owner.nodes))}"
                    )
        return misled

    def wait_owner(self, address: str, node: str | None, *, router: str | None = None, within: float = 15.0) -> None:
        """Wait until a router sends what is for an address to this node.

        Raises:
            WaitTimeout: with where it sent it, and since when.
        """
        until(
            f"{address} to be {node or 'nobody'}'s at {self._lab.router(router).name}",
            lambda: self.owner(address, router),
            lambda owner: owner == node,
            within=within,
            show=str,
        )

    def hold_owner(self, address: str, node: str, *, window: float, router: str | None = None) -> None:
        """Check that a router sends what is for an address to this node, now and for a whole window of seconds."""
        steady(
            f"{address} at {node} on {self._lab.router(router).name}",
            lambda: self.owner(address, router),
            lambda owner: owner == node,
            window=window,
            show=str,
        )
