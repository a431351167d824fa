"""A capture's ARP, ICMP, BGP and next hops as signs, and which hosts there are. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.capture.seen import ArpSeen, Seen, Stream
from harness.diagnose.observed import SECOND, Sign, What

if TYPE_CHECKING:
    from harness.diagnose.from_capture import Pair

_BGP = 179
#: A router that has sent to an address within so long has an entry for it, and asks in order to verify that.
_RECENTLY = 3 * SECOND
#: Several flows show the same move one after the other, each with its next packet.
_SAME_MOVE = SECOND
_UNREACHABLE, _HOST_CODES, _PORT_CODE = 3, (0, 1), 3


@dataclass
class Hosts:
    """Who is who on the network, by MAC.

    Attributes:
        own: Their own addresses: those that they ask with, which an announced address is never.
        claims: Which MACs have claimed an address by ARP.
        peers: Those that speak BGP.
        routers: Those from which frames to the services come.
    """

    own: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    claims: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    peers: set[str] = field(default_factory=set)
    routers: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, seen: Seen, servers: Collection[str]) -> Hosts:
        """Learn them from a capture."""
        hosts = cls()
        for frame in seen.arp:
            if frame.operation == "request" and not frame.gratuitous and frame.sender != "0.0.0.0":
                hosts.own[frame.sender_mac].add(frame.sender)
            if frame.operation == "reply" or frame.gratuitous:
                hosts.claims[frame.sender].add(frame.sender_mac)
        for (_, _, source, from_port, target, to_port), stream in seen.streams.items():
            if target in servers and stream.from_mac:
                hosts.routers.add(stream.from_mac)
            if _BGP in (from_port, to_port) and stream.from_mac:
                hosts.peers.add(stream.from_mac)
                hosts.own[stream.from_mac].add(source)
        hosts.peers -= hosts.routers
        return hosts

    def on_link(self, pairs: Collection[Pair]) -> set[str]:
        """The services whose frames go straight to a node: behind them there is no further router."""
        found = set()
        for pair in pairs:
            address = pair.server[0]
            to = {mac for _, _, mac in pair.up.moves} if pair.up is not None else set()
            if to & (self.claims.get(address, set()) | self.peers):
                found.add(address)
        return found


def signs(seen: Seen, hosts: Hosts, pairs: Collection[Pair], services: Collection[str]) -> Iterator[Sign]:
    """Everything but the flows themselves.

    Args:
        seen: The capture.
        hosts: Who is who.
        pairs: Its conversations.
        services: The addresses whose frames go straight to a node.
    """
    yield from _moves(pairs, services)
    sent = _last_sent(pairs, services)
    for frame in seen.arp:
        yield from _arp(frame, hosts, services, sent)
    for told in seen.icmp:
        if told.type == _UNREACHABLE and told.code in _HOST_CODES:
            text = f"{told.sender} says that there is no host {told.about} (ICMP)"
            yield Sign(told.at, What.HOST_UNREACHABLE, told.about, told.sender, text=text, source="capture")
        elif told.type == _UNREACHABLE and told.code == _PORT_CODE:
            text = f"{told.sender} says that {told.about} has no server at port {told.port} (ICMP)"
            yield Sign(told.at, What.REFUSED, told.about, told.sender, text=text, source="capture")
    for notice in seen.notices:
        text = f"{notice.sender} to {notice.to}: {notice.text}"
        if notice.kind == "stp":
            yield Sign(notice.at, What.TOPOLOGY_CHANGE, notice.sender, text=f"bridge {text}", source="capture")
        elif notice.kind == "reset":
            yield Sign(notice.at, What.REFUSED, notice.sender, notice.to, text=text, source="capture")
        elif notice.kind == "bgp":
            what = What.PEER_UP if notice.text == "OPEN" else What.PEER_DOWN
            yield Sign(notice.at, what, notice.sender, notice.sender, text=f"BGP {text}", source="capture")


def _moves(pairs: Collection[Pair], services: Collection[str]) -> Iterator[Sign]:
    """The changes of the MAC that a flow's frames go to; the same one of several flows is told once."""
    changes: list[tuple[int, str, str, str, int]] = []
    for pair in pairs:
        address = pair.server[0]
        if pair.up is None or address not in services:
            continue
        moves = pair.up.moves
        for (_, _, before), (at, _, after) in pairwise(moves):
            if before != after:
                changes.append((at, address, before, after, int(min(pair.up.interval, SECOND))))
    told: dict[tuple[str, str, str], int] = {}
    for at, address, before, after, interval in sorted(changes):
        if at - told.get((address, before, after), -_SAME_MOVE) >= _SAME_MOVE:
            text = f"frames to {address} go to {after}, before to {before}"
            yield Sign(at, What.MOVED, address, after, before, text, "capture", interval)
        told[address, before, after] = at


def _last_sent(pairs: Collection[Pair], services: Collection[str]) -> dict[str, list[Stream]]:
    found: dict[str, list[Stream]] = defaultdict(list)
    for pair in pairs:
        if pair.up is not None and pair.server[0] in services:
            found[pair.server[0]].append(pair.up)
    return found


def _arp(frame: ArpSeen, hosts: Hosts, services: Collection[str], sent: dict[str, list[Stream]]) -> Iterator[Sign]:
    mac, source = frame.sender_mac, "capture"
    if frame.gratuitous:
        if frame.sender in services:
            text = f"{mac} announces {frame.sender} (gratuitous ARP {frame.operation})"
            yield Sign(frame.at, What.ANNOUNCED, frame.sender, mac, text=text, source=source)
    elif frame.operation == "reply":
        if frame.sender in services:
            text = f"{mac} answers that it has {frame.sender}"
            yield Sign(frame.at, What.ANSWERED, frame.sender, mac, text=text, source=source)
    elif frame.target in services:
        verifies = any(_flowed(stream, frame.at) for stream in sent.get(frame.target, ()))
        text = f"{frame.sender} asks for {frame.target}{', to which it sends' if verifies else ''}"
        what = What.VERIFIES if verifies else What.ASKED
        yield Sign(frame.at, what, frame.target, text=text, source=source)
    elif mac not in hosts.routers and any(frame.target in own for own in _of(hosts, hosts.routers)):
        text = f"{mac} ({frame.sender}) asks for {frame.target}"
        yield Sign(frame.at, What.NODE_ASKS, frame.target, mac, text=text, source=source)


def _of(hosts: Hosts, macs: Collection[str]) -> Iterator[set[str]]:
    return (hosts.own[mac] for mac in macs if mac in hosts.own)


def _flowed(stream: Stream, at: int) -> bool:
    """Whether a stream was flowing shortly before a moment."""
    if not stream.first <= at or at - stream.last > _RECENTLY:
        return False
    return not any(gap.begin < at - _RECENTLY and at <= gap.end for gap in stream.gaps)
