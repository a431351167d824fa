"""A host's kernel routes and neighbours, read with netlink on a socket that lives in that host's network.

pyroute2 encodes and parses; the socket comes from the backend, so that no process is spawned for a look (0.3 ms each).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import LabError

_BUFFER = 1 << 17
#: <linux/rtnetlink.h>
_RT_TABLE_MAIN = 254
_RTN_UNICAST = 1
#: A next hop whose link is down: the kernel keeps it in the list and sends nothing to it.
_RTNH_F_DEAD = 0x01
_RTPROT_NAMES = {2: "kernel", 3: "boot", 4: "static", 11: "zebra", 186: "bgp", 196: "static"}
#: <linux/neighbour.h>
_NUD_NAMES = {
    0x01: "INCOMPLETE",
    0x02: "REACHABLE",
    0x04: "STALE",
    0x08: "DELAY",
    0x10: "PROBE",
    0x20: "FAILED",
    0x40: "NOARP",
    0x80: "PERMANENT",
}


@dataclass(frozen=True)
class KernelRoute:
    """A route of the main table."""

    #: With prefix length; "0.0.0.0/0" or "::/0" for the default route.
    prefix: str
    #: Who installed it: "bgp", "zebra", "kernel", "static", ...
    protocol: str
    #: Gateways; more than one is ECMP; empty for a connected route.
    next_hops: tuple[str, ...]


@dataclass(frozen=True)
class Neighbour:
    """An entry of the neighbour (ARP, NDP) table."""

    address: str
    #: None while it is not resolved.
    mac: str | None
    #: NUD state as `ip neigh` prints it.
    state: str


def routes(sock: socket.socket, family: socket.AddressFamily = socket.AF_INET) -> list[KernelRoute]:
    """Read the main routing table of the network that a netlink socket lives in."""
    from pyroute2.netlink.rtnl import RTM_GETROUTE  # 0.15 s to import, of which a lab's start has other use
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

    found = (route_of(message) for message in dump(sock, rtmsg(), RTM_GETROUTE, family))
    return [route for route in found if route is not None]


def route_of(message: Any) -> KernelRoute | None:
    """Read a route out of pyroute2's rtmsg; None unless it is a unicast route of the main table."""
    if message.get_attr("RTA_TABLE") != _RT_TABLE_MAIN or message["type"] != _RTN_UNICAST:
        return None
    default = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    hops = [hop for hop in message.get_attr("RTA_MULTIPATH") or [message] if not hop["flags"] & _RTNH_F_DEAD]
    gateways = (hop.get_attr("RTA_GATEWAY") for hop in hops)
    return KernelRoute(
        prefix=f"{message.get_attr('RTA_DST') or default}/{message['dst_len']}",
        protocol=_RTPROT_NAMES.get(message["proto"], str(message["proto"])),
        next_hops=tuple(sorted(gateway for gateway in gateways if gateway)),
    )


def towards(table: Sequence[KernelRoute], address: str) -> set[str]:
    """The gateways to which a table sends an address; the address itself when it is on a connected network."""
    target = ipaddress.ip_address(address)
    matching = [(ipaddress.ip_network(route.prefix), route) for route in table]
    matching = [(network, route) for network, route in matching if target in network]
    if not matching:
        return set()
    _, best = max(matching, key=lambda pair: pair[0].prefixlen)
    return set(best.next_hops) or {address}


def neighbours(sock: socket.socket, family: socket.AddressFamily = socket.AF_INET) -> list[Neighbour]:
    """Read the neighbour table of the network that a netlink socket lives in."""
    from pyroute2.netlink.rtnl import RTM_GETNEIGH
    from pyroute2.netlink.rtnl.ndmsg import ndmsg

    found = (neighbour_of(message) for message in dump(sock, ndmsg(), RTM_GETNEIGH, family))
    return [neighbour for neighbour in found if neighbour is not None]


def neighbour_of(message: Any) -> Neighbour | None:
    """Read a neighbour out of pyroute2's ndmsg; None when it is no ARP or NDP entry (a bridge's forwarding entry)."""
    if not message.get_attr("NDA_DST"):
        return None
    return Neighbour(
        address=message.get_attr("NDA_DST"),
        mac=message.get_attr("NDA_LLADDR"),
        state=_NUD_NAMES.get(message["state"], "NONE"),
    )


def hardware_addresses(sock: socket.socket) -> dict[str, str]:
    """Read the hardware address of each interface of the network that a netlink socket lives in."""
    from pyroute2.netlink.rtnl import RTM_GETLINK
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    found = dump(sock, ifinfmsg(), RTM_GETLINK, socket.AF_UNSPEC)
    return {one.get_attr("IFLA_IFNAME"): one.get_attr("IFLA_ADDRESS") for one in found if one.get_attr("IFLA_ADDRESS")}


def dump(sock: socket.socket, request: Any, kind: int, family: int) -> Iterator[Any]:
    """Ask for a whole table (RTM_GET*), and yield pyroute2's messages."""
    from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR
    from pyroute2.netlink.rtnl.marshal import MarshalRtnl

    request["family"] = family
    request["header"]["type"] = kind
    request["header"]["flags"] = NLM_F_REQUEST | NLM_F_DUMP
    request.encode()
    sock.send(request.data)
    marshal = MarshalRtnl()
    while True:
        for message in marshal.parse(sock.recv(_BUFFER)):
            if message["header"]["type"] == NLMSG_DONE:
                return
            if message["header"]["type"] == NLMSG_ERROR:
                raise LabError(f"the kernel refused to list routes or neighbours: {message['header']['error']}")
            yield message
