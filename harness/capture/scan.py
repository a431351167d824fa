"""One pass over a capture: the streams with their gaps and next hops, ARP, ICMP errors, BGP and spanning tree.

Memory is bounded by what is kept of each (`seen`), and by how many streams there may be: those that have sent little
are given up first. Time is bounded by one look into a dictionary for each packet of a known stream: everything else is
done for the first packet of each form only.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.capture import link as links
from harness.capture.link import ARP, ETHERNET, IPV4, IPV6, KNOWN, LLC
from harness.capture.messages import ICMP, ICMP6, TCP, UDP, bgp_messages, icmp_error, ip_header, ports, spanning_tree
from harness.capture.reader import Packet
from harness.capture.seen import ArpSeen, IcmpSeen, Leg, Notice, Seen, Stream, StreamKey

#: Streams at once. A household has hundreds; a port scan makes a new one with each packet.
MAX_STREAMS = 20_000
#: Streams of fewer packets are given up when there are too many.
_FEW = 50
#: ARP frames, ICMP errors and notices that are kept, each: one a second for more than a day.
MAX_KEPT = 100_000

_BGP = 179
_RST = 0x04


def scan(packets: Iterable[Packet], *, longer_than: int) -> Seen:
    """Look at every packet once.

    Args:
        packets: As `reader.Capture.read` yields them.
        longer_than: Times without a packet of a stream are kept when they are longer, nanoseconds.
    """
    scanner = _Scanner(longer_than)
    legs, seen = scanner.legs, scanner.seen
    number, at = 0, 0
    for at, link, frame in packets:
        if not number:
            seen.first = at
        number += 1
        try:
            if link == ETHERNET and frame[12:14] == b"\x08\0":
                offset, kind = 14, IPV4
            else:
                offset, kind = links.network_layer(link, frame)
            if kind == IPV4 and frame[offset] == 0x45:
                key = frame[:offset] + frame[offset + 9 : offset + 10] + frame[offset + 12 : offset + 24]
                # later fragments have no ports, and ICMP needs a look at each message
                known = legs.get(key)
                if known is None or frame[offset + 6] & 0x1F or frame[offset + 7]:
                    scanner.other(at, link, frame, offset, kind, key)
                    continue
            elif kind == IPV6:
                key = frame[:offset] + frame[offset + 6 : offset + 7] + frame[offset + 8 : offset + 44]
                known = legs.get(key)
                if known is None:
                    scanner.other(at, link, frame, offset, kind, key)
                    continue
            else:
                scanner.other(at, link, frame, offset, kind, b"")
                continue
            stream = known.stream
            if stream.leg is not known:
                stream.moved(at, known)
            last = stream.last
            if at > last:
                if at - last > stream.longer:
                    stream.silent(at)
                elif stream.counting:
                    stream.burst(at)
                stream.last = at
            stream.count += 1
            if known.watched:
                scanner.watched(at, frame, offset, stream)
        except (IndexError, ValueError):  # shorter than its own headers say
            scanner.unread("cut off within its headers")
    seen.packets, seen.last = number, at
    return seen


class _Scanner:
    """What the pass does for packets that are the first of their form, or no part of a stream."""

    def __init__(self, longer_than: int) -> None:
        self.seen = Seen()
        self.legs: dict[bytes, Leg] = {}
        self._longer_than = longer_than

    def unread(self, why: str) -> None:
        self.seen.unread[why] = self.seen.unread.get(why, 0) + 1

    def other(self, at: int, link: int, frame: bytes, offset: int, kind: int, key: bytes) -> None:
        """Take a packet that is of no known form."""
        if link not in KNOWN:
            self.unread(f"link type {link}")
        elif kind == ARP:
            self._arp(at, link, frame, offset)
        elif kind in (IPV4, IPV6):
            self._ip(at, link, frame, offset, kind, key)
        elif kind and kind < LLC:
            said = spanning_tree(frame, offset)
            if said is not None:
                self._keep(self.seen.notices, Notice(at, "stp", links.macs(link, frame)[1], "", said))
        elif not kind:
            self.unread("neither IP nor ARP")

    def _ip(self, at: int, link: int, frame: bytes, offset: int, kind: int, key: bytes) -> None:
        protocol, source, target, payload = ip_header(frame, offset, kind)
        if payload is None:
            return  # a later fragment
        if protocol in (ICMP, ICMP6):
            told = icmp_error(frame, payload, protocol)
            if told is not None:
                self._keep(self.seen.icmp, IcmpSeen(at, source, *told))
                return
            key = b""
        from_port, to_port = ports(frame, payload, protocol)
        self._stream(at, link, frame, offset, key, (protocol, source, from_port, target, to_port))

    def _stream(
        self, at: int, link: int, frame: bytes, offset: int, key: bytes, ends: tuple[int, str, int, str, int]
    ) -> None:
        """A packet of a stream whose form is new, or which has no fixed form."""
        whole: StreamKey = (links.view(link, frame, offset), *ends)
        stream = self.seen.streams.get(whole)
        if stream is None:
            if len(self.seen.streams) >= MAX_STREAMS:
                self._give_up()
            stream = self.seen.streams[whole] = Stream(whole, at, self._longer_than)
        to_mac, from_mac = links.macs(link, frame)
        protocol = ends[0]
        leg = stream.leg
        moved = leg is None or (leg.to_mac, leg.from_mac) != (to_mac, from_mac)
        if moved or key:
            leg = Leg(stream, to_mac, from_mac, watched=protocol == TCP)
            # behind options or extension headers the ports are not where the pass looks for them
            simple = frame[offset] == 0x45 or (frame[offset] >> 4 == 6 and frame[offset + 6] in (TCP, UDP))
            if key and simple and protocol in (TCP, UDP):
                self.legs[key] = leg
            if moved:
                stream.moved(at, leg)
            else:
                stream.leg = leg
        stream.came(at)
        if protocol == TCP:
            self.watched(at, frame, offset, stream)

    def watched(self, at: int, frame: bytes, offset: int, stream: Stream) -> None:
        """Look into a TCP segment: a reset, a message of BGP."""
        header = offset + (40 if frame[offset] >> 4 == 6 else (frame[offset] & 0xF) * 4)
        _, _, source, from_port, target, to_port = stream.key
        if frame[header + 13] & _RST:
            self._keep(self.seen.notices, Notice(at, "reset", source, target, "RST"))
        if _BGP in (from_port, to_port):
            for said in bgp_messages(frame, header + (frame[header + 12] >> 4) * 4):
                self._keep(self.seen.notices, Notice(at, "bgp", source, target, said))

    def _arp(self, at: int, link: int, frame: bytes, offset: int) -> None:
        body = frame[offset : offset + 28]
        if len(body) < 28 or body[:6] != b"\0\1\x08\0\6\4" or body[7] not in (1, 2):
            self.unread("ARP that is not for IPv4 over Ethernet")
            return
        told = ArpSeen(
            at,
            links.view(link, frame, offset),
            "request" if body[7] == 1 else "reply",
            body[8:14].hex(":"),
            ".".join(map(str, body[14:18])),
            body[18:24].hex(":"),
            ".".join(map(str, body[24:28])),
            links.macs(link, frame)[0],
        )
        self._keep(self.seen.arp, told)

    def _keep(self, kept: list[ArpSeen] | list[IcmpSeen] | list[Notice], one: ArpSeen | IcmpSeen | Notice) -> None:
        if len(kept) < MAX_KEPT:
            kept.append(one)  # type: ignore[arg-type]
        else:
            self.seen.dropped += 1

    def _give_up(self) -> None:
        """Forget the streams that have sent little; of the rest the older half, if that is not enough."""
        streams = self.seen.streams
        few = [key for key, stream in streams.items() if stream.count < _FEW]
        if len(few) < MAX_STREAMS // 4:
            few = sorted(streams, key=lambda key: streams[key].last)[: MAX_STREAMS // 2]
        for key in few:
            del streams[key]
        self.seen.forgotten += len(few)
        kept = {id(stream) for stream in streams.values()}
        for form in [form for form, leg in self.legs.items() if id(leg.stream) not in kept]:
            del self.legs[form]
