"""The kernel's own account of one host's network: routes, neighbours, links and addresses, as they change (rtnetlink).

A mirror of each table tells what a notification changed, and fills in what the kernel does not announce: when a link
goes down it drops the IPv4 routes over it without a word, and when notifications come faster than they are read it
drops those. In both cases the tables are read again, and the events say how exactly their moment is known.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.rtnl import RTM_GETLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from harness.routing import kernel
from harness.routing.kernel import KernelRoute, Neighbour
from harness.timeline import event
from harness.timeline.event import Event
from harness.timeline.names import Names
from harness.timeline.stamp import Stamp

_BUFFER = 1 << 17
#: Room for notifications while the recorder waits for a CPU; the kernel doubles it and takes at most rmem_max.
_RECEIVE_BUFFER = 1 << 20
#: <linux/rtnetlink.h>: RTNLGRP_LINK 1, NEIGH 3, IPV4_IFADDR 5, IPV4_ROUTE 7, IPV6_IFADDR 9, IPV6_ROUTE 11.
GROUPS = sum(1 << (group - 1) for group in (1, 3, 5, 7, 9, 11))
#: <linux/if.h>
_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000
#: The kernel announces a lost carrier at most once a second (net/core/link_watch.c), unless the link is urgent: a veth
#: pair is one when its two ends have different indices.
_CARRIER_WATCH_NS = 1_000_000_000
#: Nanoseconds after a link went down at which the routes are read again: the kernel drops them while it tells of the
#: link, and a daemon that finds them gone puts others in their place.
_READ_AGAIN_NS = (0, 2_000_000, 10_000_000, 50_000_000, 200_000_000)
#: Never interesting: multicast and link-local routes and neighbours.
_NOISE = ("ff", "fe80:", "224.", "169.254.", "::1/")

RouteKey = tuple[str, str]


@dataclass(frozen=True)
class _Link:
    name: str
    up: bool
    carrier: bool

    @property
    def works(self) -> bool:
        return self.up and self.carrier


class KernelWatch:
    """Follows the kernel of one host.

    Args:
        host: The host's name.
        make_socket: Makes an rtnetlink socket in the host's network.
        names: Names of hosts by address.
        ports: Its links that matter, and what they are called in events, by device; without them all links matter. A
            node has a link for each pod.
        routes: Whether its routes matter; a node has one for each pod.
        strangers: Whether neighbours matter that are no hosts of the lab.
    """

    def __init__(
        self,
        host: str,
        make_socket: Callable[[], socket.socket],
        names: Names,
        *,
        ports: Mapping[str, str] | None = None,
        routes: bool = True,
        strangers: bool = True,
    ) -> None:
        self.host = host
        self.source = f"rtnetlink {host}"
        self._names = names
        self._ports = dict(ports or {})
        self._with_routes = routes
        self._with_strangers = strangers
        self._marshal = MarshalRtnl()
        self._asking = make_socket()
        self._asking.settimeout(5)
        self.socket = make_socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self.socket.bind((0, GROUPS))
        self.socket.setblocking(False)
        self._links = {
            message["index"]: _link_of(message)
            for message in kernel.dump(self._asking, ifinfmsg(), RTM_GETLINK, socket.AF_UNSPEC)
        }
        self._routes: dict[RouteKey, tuple[str, ...]] = self._read_routes()
        self._neighbours: dict[str, Neighbour] = self._read_neighbours()
        self._seen_ns = time.monotonic_ns()
        self._routes_read_ns = self._seen_ns
        self._due: list[int] = []

    @property
    def due_ns(self) -> int | None:
        """When `look` is to be called next, if it is."""
        return self._due[0] if self._due else None

    def look(self) -> list[Event]:
        """Read the routes again if that is due."""
        now = time.monotonic_ns()
        if not self._due or self._due[0] > now:
            return []
        self._due = [due for due in self._due if due > now]
        return list(self._reread_routes(self._routes_read_ns))

    def read(self, since_ns: int) -> list[Event]:
        """Take what has arrived, none of it before a moment."""
        received: list[bytes] = []
        overrun = False
        while True:
            try:
                received.append(self.socket.recv(_BUFFER))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                overrun = True
        stamp = Stamp.now(since_ns)
        events = [found for data in received for found in self._messages(data, stamp)]
        if overrun:
            events += self._catch_up(stamp)
        self._seen_ns = stamp.at_ns
        return events + self.look()

    def close(self) -> None:
        """Close its sockets."""
        self.socket.close()
        self._asking.close()

    # -- messages ---------------------------------------------------------------------------------------------------

    def _messages(self, data: bytes, stamp: Stamp) -> Iterator[Event]:
        for message in self._marshal.parse(data):
            kind = message["event"]
            if kind in ("RTM_NEWROUTE", "RTM_DELROUTE"):
                yield from self._route(message, stamp, gone=kind == "RTM_DELROUTE")
            elif kind in ("RTM_NEWNEIGH", "RTM_DELNEIGH"):
                yield from self._neighbour(message, stamp, gone=kind == "RTM_DELNEIGH")
            elif kind in ("RTM_NEWLINK", "RTM_DELLINK") and message["family"] == socket.AF_UNSPEC:
                yield from self._link(message, stamp, gone=kind == "RTM_DELLINK")
            elif kind in ("RTM_NEWADDR", "RTM_DELADDR"):
                yield from self._address(message, stamp, gone=kind == "RTM_DELADDR")

    def _route(self, message: Any, stamp: Stamp, *, gone: bool) -> Iterator[Event]:
        route = kernel.route_of(message)
        if route is None or not self._with_routes or route.prefix.startswith(_NOISE):
            return
        key, hops = (route.prefix, route.protocol), None if gone else route.next_hops
        yield from self._route_change(key, hops, stamp, self.source)

    def _route_change(self, key: RouteKey, hops: tuple[str, ...] | None, stamp: Stamp, source: str) -> Iterator[Event]:
        before = self._routes.get(key)
        if before == hops:
            return
        prefix, protocol = key
        via = f"to {self._names.all(hops)}" if hops else "directly"
        if hops is None:
            del self._routes[key]
            kind, text = event.FIB_DELETE, f"{self.host} forgets {prefix} ({protocol})"
        else:
            self._routes[key] = hops
            kind = event.FIB_ADD if before is None else event.FIB_REPLACE
            verb = "forwards" if before is None else "now forwards"
            text = f"{self.host} {verb} {prefix} {via} ({protocol})"
        data = {"prefix": prefix, "protocol": protocol, "next_hops": hops, "before": before}
        yield Event(stamp.at_ns, source, kind, self.host, text, stamp.resolution_ns, data)

    def _neighbour(self, message: Any, stamp: Stamp, *, gone: bool) -> Iterator[Event]:
        now = kernel.neighbour_of(message)
        if now is None or message["family"] not in (socket.AF_INET, socket.AF_INET6) or now.state == "NOARP":
            return
        if self._knows(now.address):
            yield from self._neighbour_change(now.address, None if gone else now, stamp, self.source)

    def _neighbour_change(self, address: str, now: Neighbour | None, stamp: Stamp, source: str) -> Iterator[Event]:
        before = self._neighbours.get(address)
        if before == now:
            return
        who = self._names.of(address)
        if now is None:
            del self._neighbours[address]
            text = f"{self.host} forgets the neighbour {who}"
        else:
            self._neighbours[address] = now
            mac = f" at {now.mac}" if now.mac else ""
            moved = f", before at {before.mac}" if before and before.mac and now.mac and before.mac != now.mac else ""
            text = f"{self.host}: neighbour {who}{mac} is {now.state}{moved}"
        data = {
            "address": address,
            "who": who,
            "mac": now.mac if now else None,
            "at": self._names.of(now.mac) if now and now.mac else None,
            "state": now.state if now else None,
            "before": {"mac": before.mac, "state": before.state} if before else None,
        }
        yield Event(stamp.at_ns, source, event.NEIGHBOUR, self.host, text, stamp.resolution_ns, data)

    def _link(self, message: Any, stamp: Stamp, *, gone: bool) -> Iterator[Event]:
        index, device = message["index"], message.get_attr("IFLA_IFNAME")
        before = self._links.get(index)
        now = None if gone else _link_of(message)
        if before == now:
            return
        if now is None:
            self._links.pop(index, None)
        else:
            self._links[index] = now
        if not self._follows(device):
            return
        if before is not None and before.works and not (now and now.works):
            watched = now is not None and now.up and message.get_attr("IFLA_LINK") == index
            wide = Stamp(stamp.at_ns, max(stamp.resolution_ns, _CARRIER_WATCH_NS)) if watched else stamp
            yield self._link_event(event.LINK_GONE if now is None else event.LINK_DOWN, device, now, wide)
            if self._with_routes:
                self._routes_read_ns = stamp.at_ns - wide.resolution_ns
                self._due = [stamp.at_ns + delay for delay in _READ_AGAIN_NS]
        elif now is not None and now.works:
            yield self._link_event(event.LINK_UP, device, now, stamp)

    def _link_event(self, kind: str, device: str, now: _Link | None, stamp: Stamp) -> Event:
        what = {
            event.LINK_UP: "works",
            event.LINK_GONE: "is gone",
            event.LINK_DOWN: "has no carrier" if now and now.up else "is down",
        }[kind]
        port = self._ports.get(device) or f"{self.host}'s link {device}"
        data = {"device": device, "port": port, "up": bool(now and now.up), "carrier": bool(now and now.carrier)}
        return Event(stamp.at_ns, self.source, kind, self.host, f"{port} {what}", stamp.resolution_ns, data)

    def _address(self, message: Any, stamp: Stamp, *, gone: bool) -> Iterator[Event]:
        address = message.get_attr("IFA_ADDRESS")
        if address is None or address.startswith(_NOISE):
            return
        link = self._links.get(message["index"])
        device = link.name if link else str(message["index"])
        if not self._follows(device):
            return
        kind, verb = (event.ADDRESS_DELETE, "loses") if gone else (event.ADDRESS_ADD, "has")
        text = f"{self.host} {verb} {address}/{message['prefixlen']} on {device}"
        data = {"address": address, "length": message["prefixlen"], "device": device}
        yield Event(stamp.at_ns, self.source, kind, self.host, text, stamp.resolution_ns, data)

    def _follows(self, device: str) -> bool:
        return not self._ports or device in self._ports

    # -- what the kernel does not announce ----------------------------------------------------------------------------

    def _catch_up(self, stamp: Stamp) -> Iterator[Event]:
        """Read every table again after notifications were lost."""
        lost = Stamp(stamp.at_ns, stamp.at_ns - self._seen_ns)
        text = f"{self.host}'s kernel had more to tell than was read; its tables are read again"
        data = {"from_ns": self._seen_ns, "to_ns": stamp.at_ns}
        yield Event(stamp.at_ns, self.source, event.BLIND, self.host, text, lost.resolution_ns, data)
        yield from self._reread_routes(self._seen_ns)
        current = self._read_neighbours()
        for address in {*self._neighbours, *current}:
            yield from self._neighbour_change(address, current.get(address), lost, f"{self.source} (read again)")

    def _reread_routes(self, since_ns: int) -> Iterator[Event]:
        """Find what has changed since a moment without being announced."""
        if not self._with_routes:
            return
        self._routes_read_ns = time.monotonic_ns()
        current = self._read_routes()
        now = time.monotonic_ns()
        for key in {*self._routes, *current}:
            stamp = Stamp(now, now - since_ns)
            yield from self._route_change(key, current.get(key), stamp, f"{self.source} (read again)")

    def _read_routes(self) -> dict[RouteKey, tuple[str, ...]]:
        if not self._with_routes:
            return {}
        found: list[KernelRoute] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            found += kernel.routes(self._asking, family)
        return {(r.prefix, r.protocol): r.next_hops for r in found if not r.prefix.startswith(_NOISE)}

    def _read_neighbours(self) -> dict[str, Neighbour]:
        found: list[Neighbour] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            found += kernel.neighbours(self._asking, family)
        return {n.address: n for n in found if n.state != "NOARP" and self._knows(n.address)}

    def _knows(self, neighbour: str) -> bool:
        """Whether a neighbour matters."""
        stranger = self._names.of(neighbour) == neighbour
        return not neighbour.startswith(_NOISE) and (self._with_strangers or not stranger)


def _link_of(message: Any) -> _Link:
    flags = message["flags"]
    return _Link(message.get_attr("IFLA_IFNAME"), bool(flags & _IFF_UP), bool(flags & _IFF_LOWER_UP))
