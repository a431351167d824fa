"""What single packets say: IP headers, ICMP errors, BGP, spanning tree. Pure; short frames raise IndexError."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from harness.capture.link import IPV4

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
#: ICMP: destination unreachable, time exceeded (RFC 792; RFC 4443 for IPv6).
_ERRORS = {ICMP: (3, 11), ICMP6: (1, 3)}
_ECHO = {ICMP: (8, 0), ICMP6: (128, 129)}
#: IPv6 extension headers that may precede the transport's (RFC 8200 section 4): hop-by-hop, routing, destination.
_EXTENSIONS, _FRAGMENT = (0, 43, 60), 44
#: RFC 4271 section 4.1: a marker of 16 octets of ones, length, type.
_BGP_MARKER, _BGP_HEADER = b"\xff" * 16, 19
_BGP_OPEN, _BGP_NOTIFICATION = 1, 3
#: IEEE 802.1D: LLC of the bridge group; type of a topology change notification, flag of a topology change.
_BRIDGE_LLC, _TCN, _TC_FLAG = b"\x42\x42\x03", 0x80, 0x01


def ip_header(frame: bytes, at: int, kind: int) -> tuple[int, str, str, int | None]:
    """Give (protocol, source, destination, where the payload begins); None for a fragment that is not the first."""
    if kind == IPV4:
        payload: int | None = at + (frame[at] & 0xF) * 4
        if frame[at + 6] & 0x1F or frame[at + 7]:
            payload = None
        return frame[at + 9], _four(frame, at + 12), _four(frame, at + 16), payload
    protocol, payload = frame[at + 6], at + 40
    while protocol in _EXTENSIONS:
        protocol, payload = frame[payload], payload + (frame[payload + 1] + 1) * 8
    if protocol == _FRAGMENT:
        first = not int.from_bytes(frame[payload + 2 : payload + 4], "big") >> 3
        protocol, payload = frame[payload], payload + 8
        if not first:
            return protocol, _sixteen(frame, at + 8), _sixteen(frame, at + 24), None
    return protocol, _sixteen(frame, at + 8), _sixteen(frame, at + 24), payload


def ports(frame: bytes, at: int, protocol: int) -> tuple[int, int]:
    """(source, destination) port; of ICMP echo the identifier on the asked side; 0 where there are none."""
    if protocol in (TCP, UDP):
        if len(frame) < at + 4:
            raise IndexError
        return int.from_bytes(frame[at : at + 2], "big"), int.from_bytes(frame[at + 2 : at + 4], "big")
    if protocol in _ECHO:
        asked, answered = _ECHO[protocol]
        number = int.from_bytes(frame[at + 4 : at + 6], "big")
        return (number, 0) if frame[at] == asked else (0, number) if frame[at] == answered else (0, 0)
    return 0, 0


def icmp_error(frame: bytes, at: int, protocol: int) -> tuple[int, int, str, int] | None:
    """(type, code, to whom the packet was that is told about, its port); None unless it is an error."""
    kind, code = frame[at], frame[at + 1]
    if kind not in _ERRORS[protocol]:
        return None
    inner = at + 8
    inner_protocol, _, about, payload = ip_header(frame, inner, IPV4 if protocol == ICMP else 0)
    port = ports(frame, payload, inner_protocol)[1] if payload is not None else 0
    return kind, code, about, port


def bgp_messages(frame: bytes, at: int) -> Iterator[str]:
    """What the messages of a segment say that begins with one; KEEPALIVE and UPDATE are left out."""
    while len(frame) >= at + _BGP_HEADER and frame[at : at + 16] == _BGP_MARKER:
        length, kind = int.from_bytes(frame[at + 16 : at + 18], "big"), frame[at + 18]
        if kind == _BGP_OPEN:
            yield "OPEN"
        elif kind == _BGP_NOTIFICATION:
            more = f" {frame[at + 19]}/{frame[at + 20]}" if len(frame) > at + 20 else ""
            yield f"NOTIFICATION{more}"
        if length < _BGP_HEADER:
            return
        at += length


def spanning_tree(frame: bytes, at: int) -> str | None:
    """What a bridge says of its topology; None for the usual configuration messages."""
    if frame[at : at + 3] != _BRIDGE_LLC:
        return None
    bpdu = at + 3
    if frame[bpdu + 3] == _TCN:
        return "topology change notification"
    if frame[bpdu + 4] & _TC_FLAG:
        return "topology change"
    return None


def _four(frame: bytes, at: int) -> str:
    if len(frame) < at + 4:
        raise IndexError
    return f"{frame[at]}.{frame[at + 1]}.{frame[at + 2]}.{frame[at + 3]}"


def _sixteen(frame: bytes, at: int) -> str:
    if len(frame) < at + 16:
        raise IndexError
    return str(ipaddress.IPv6Address(frame[at : at + 16]))
