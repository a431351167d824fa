"""A router of the lab in a scenario's hands: its BGP sessions and routes, its kernel's routes and neighbours."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence

from harness.arp.router_arp import FreebsdArp, LinuxArp
from harness.backends.base import Backend
from harness.bgp import ESTABLISHED
from harness.errors import LabError
from harness.process import Process
from harness.routing import frr, kernel
from harness.routing.frr import BgpPeer, BgpRoute
from harness.routing.kernel import KernelRoute, Neighbour
from harness.routing.vty import Vty
from harness.wait import until


class Bgp:
    """A router's bgpd; every look reads its socket and takes well below a millisecond."""

    def __init__(self, vty: Vty) -> None:
        self._vty = vty

    def peers(self) -> dict[str, BgpPeer]:
        """Its sessions by the neighbour's address."""
        return {peer.address: peer for peer in frr.bgp_peers(self._vty)}

    def peer(self, address: str) -> BgpPeer:
        """One session."""
        return self.peers()[address]

    def routes(self, family: str = "ipv4") -> dict[str, BgpRoute]:
        """Its table (Loc-RIB and what was received) by prefix."""
        return {route.prefix: route for route in frr.bgp_routes(self._vty, family)}

    def next_hops(self, prefix: str, *, stale: bool = True) -> set[str]:
        """Next hops of the valid paths of a prefix; with `stale=False` only of those whose peer is up (RFC 4724)."""
        route = self.routes(_family(prefix)).get(prefix)
        if route is None:
            return set()
        return {path.next_hop for path in route.paths if path.valid and (stale or not path.stale)}


class Router:
    """One router."""

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend = backend
        self.name = name
        self.vty = Vty(backend.vty_folder(name))
        self.bgp = Bgp(self.vty)
        self._netlink: socket.socket | None = None
        self._lock = threading.Lock()
        #: Who has an address, as this router's ARP says: Linux's, or FreeBSD's where the topology says so.
        self.arp: LinuxArp | FreebsdArp = (
            FreebsdArp(backend, name)
            if backend.topology.routers[name].arp == "freebsd"
            else LinuxArp(backend, name, self.neighbours)
        )

    def daemon(self, name: str) -> Process:
        """One of its FRR daemons: "zebra", "bgpd", ..."""
        return Process(self._backend, f"{self.name}/{name}")

    def kernel_routes(self, *, six: bool = False) -> list[KernelRoute]:
        """The main routing table of its kernel."""
        with self._lock:
            return kernel.routes(self._socket(), socket.AF_INET6 if six else socket.AF_INET)

    def kernel_next_hops(self, prefix: str) -> set[str]:
        """Next hops of a prefix in its kernel; empty when there is no such route.

        IPv6 multipath routes may be listed as one route for each next hop: all are taken.
        """
        found = [route for route in self.kernel_routes(six=":" in prefix) if route.prefix == prefix]
        return {hop for route in found for hop in route.next_hops}

    def forwarded_next_hops(self, prefix: str) -> set[str]:
        """Next hops of a prefix to which the kernel forwards, by the names that BGP has for them.

        A next hop that is not on a network of this router is resolved recursively (RFC 4271 5.1.3): the kernel has the
        gateway towards it instead, and stands here for every BGP next hop behind that gateway.
        """
        table = self.kernel_routes(six=":" in prefix)
        installed = {hop for route in table if route.prefix == prefix for hop in route.next_hops}
        towards = {hop: kernel.towards(table, hop) for hop in self.bgp.next_hops(prefix)}
        forwarded = {hop for hop, gateways in towards.items() if gateways and gateways <= installed}
        explained = {gateway for hop in forwarded for gateway in towards[hop]}
        return forwarded | (installed - explained)

    def neighbours(self, *, six: bool = False) -> dict[str, Neighbour]:
        """Its neighbour (ARP, NDP) table by address."""
        with self._lock:
            return {n.address: n for n in kernel.neighbours(self._socket(), socket.AF_INET6 if six else socket.AF_INET)}

    def wait_established(self, address: str, within: float = 30.0) -> None:
        """Wait until the session with a neighbour is Established.

        Raises:
            WaitTimeout: with the states that were seen.
        """
        until(
            f"{self.name}'s session with {address} to be Established",
            lambda: self.bgp.peer(address).state,
            lambda state: state == ESTABLISHED,
            within=within,
        )

    def forget_neighbour(self, address: str) -> None:
        """Remove its kernel's neighbour entry of an address, if it has one: it asks anew when it next needs it.

        Raises:
            LabError: when it cannot be removed.
        """
        wanted = ipaddress.ip_address(address)
        for link in self._backend.topology.links(self.name):
            if any(wanted in own.network for own in link.addresses):
                done = self.exec(["ip", "neigh", "del", address, "dev", link.device])
                if done.returncode and "No such file" not in done.stderr:
                    raise LabError(f"{self.name}: {done.stderr.strip()}")

    def configure(self, lines: Sequence[str], daemon: str = "bgpd") -> None:
        """Give a daemon configuration lines, as `vtysh` would in configure mode; it is not saved."""
        self.vty.configure(daemon, lines)

    @contextlib.contextmanager
    def configured(self, lines: Sequence[str], undo: Sequence[str], daemon: str = "bgpd") -> Iterator[None]:
        """Configure a daemon for a while; `undo` must bring its running configuration back as it was."""
        self.configure(lines, daemon)
        try:
            yield
        finally:
            self.configure(undo, daemon)

    def running_config(self) -> str:
        """Bgpd's running configuration."""
        return self.vty.run("bgpd", "show running-config")

    def exec(self, argv: Sequence[str], *, within: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a command in the router's network."""
        return self._backend.exec(self.name, argv, within=within)

    def close(self) -> None:
        """Close its sockets."""
        self.vty.close()
        if self._netlink is not None:
            self._netlink.close()

    def _socket(self) -> socket.socket:
        if self._netlink is None:
            self._netlink = self._backend.socket(self.name, socket.AF_NETLINK, socket.SOCK_RAW)
            self._netlink.settimeout(5)
        return self._netlink

    def __repr__(self) -> str:
        return f"Router({self.name!r})"


def _family(prefix: str) -> str:
    return "ipv6" if ":" in prefix else "ipv4"
