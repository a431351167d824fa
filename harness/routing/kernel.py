"""A host's kernel routes and neighbours, read with netlink on a socket that lives in that host's network.

pyroute2 encodes and parses; the socket comes from the backend, so that no process is spawned for a look (0.3 ms each).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR
from pyroute2.netlink.rtnl import RTM_GETNEIGH, RTM_GETROUTE
from pyroute2.netlink.rtnl.marshal import MarshalRtnl
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from harness.errors import LabError

_BUFFER = 1 << 17
#: <linux/rtnetlink.h>
_RT_TABLE_MAIN = 254
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
    default = "0.0.0.0" if family == socket.AF_INET else "::"
    found = []
    for message in _dump(sock, rtmsg(), RTM_GETROUTE, family):
        if message.get_attr("RTA_TABLE") != _RT_TABLE_MAIN or message["type"] != 1:  # RTN_UNICAST
            continue
        hops = [hop.get_attr("RTA_GATEWAY") for hop in message.get_attr("RTA_MULTIPATH") or [message]]
        found.append(
            KernelRoute(
                prefix=f"{message.get_attr('RTA_DST') or default}/{message['dst_len']}",
                protocol=_RTPROT_NAMES.get(message["proto"], str(message["proto"])),
                next_hops=tuple(sorted(hop for hop in hops if hop)),
            )
        )
    return found


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
    return [
        Neighbour(
            address=message.get_attr("NDA_DST"),
            mac=message.get_attr("NDA_LLADDR"),
            state=_NUD_NAMES.get(message["state"], "NONE"),
        )
        for message in _dump(sock, ndmsg(), RTM_GETNEIGH, family)
        if message.get_attr("NDA_DST")
    ]


def _dump(sock: socket.socket, request: Any, kind: int, family: int) -> Iterator[Any]:
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
