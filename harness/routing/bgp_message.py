"""BGP messages from bytes (RFC 4271), as far as lblab reads them on the wire: OPEN, UPDATE, NOTIFICATION.

Pure: no sockets and no clock. Graceful restart is RFC 4724 and 8538, multiprotocol routes RFC 4760, four-octet
autonomous system numbers RFC 6793, End-of-RIB RFC 4724 section 2.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: RFC 4271 section 4.1: marker (16), length (2), type (1).
HEADER = 19
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4

_FAMILIES = {(1, 1): "ipv4", (2, 1): "ipv6"}
_ATTRIBUTE_EXTENDED_LENGTH = 0x10
_NEXT_HOP, _AS_PATH, _COMMUNITIES, _MP_REACH, _MP_UNREACH = 3, 2, 8, 14, 15
_CAPABILITIES = 2
_CAPABILITY_MULTIPROTOCOL, _CAPABILITY_GRACEFUL_RESTART, _CAPABILITY_FOUR_OCTET_AS = 1, 64, 65
#: RFC 1997's well-known communities.
_WELL_KNOWN = {0xFFFFFF01: "no-export", 0xFFFFFF02: "no-advertise", 0xFFFFFF03: "local-AS"}


class MalformedMessage(ValueError):
    """Bytes that are no message of the kind expected."""


@dataclass(frozen=True)
class GracefulRestartCapability:
    """What an OPEN says about graceful restart.

    Attributes:
        r_bit: The sender has restarted (RFC 4724).
        n_bit: The sender keeps routes through a NOTIFICATION (RFC 8538).
        restart_time: Seconds in which it expects to be back.
        f_bit: For each family that it restarts gracefully: whether its forwarding state was kept.
    """

    r_bit: bool
    n_bit: bool
    restart_time: int
    f_bit: Mapping[str, bool]


@dataclass(frozen=True)
class Open:
    """An OPEN message.

    Attributes:
        asn: The sender's autonomous system, of four octets where it says so.
        hold_time: The hold time that it proposes, in seconds.
        bgp_id: Its BGP identifier.
        families: Address families of its multiprotocol capabilities.
        graceful_restart: None when it does not announce the capability.
        capabilities: The codes of all its capabilities, in order.
    """

    asn: int
    hold_time: int
    bgp_id: str
    families: frozenset[str]
    graceful_restart: GracefulRestartCapability | None
    capabilities: tuple[int, ...]


@dataclass(frozen=True)
class Update:
    """An UPDATE message; one without any route is an End-of-RIB marker.

    Attributes:
        announced: Prefixes announced.
        withdrawn: Prefixes withdrawn.
        next_hop: Next hop of the announced prefixes, the global one for IPv6.
        as_path: Autonomous systems, the nearest first; sets are flattened.
        communities: `64513:7`, `no-export`, ...
        end_of_rib: The family whose End-of-RIB this is, else None.
    """

    announced: tuple[str, ...]
    withdrawn: tuple[str, ...]
    next_hop: str | None
    as_path: tuple[int, ...]
    communities: tuple[str, ...]
    end_of_rib: str | None


@dataclass(frozen=True)
class NotificationMessage:
    """A NOTIFICATION message: error code and subcode of RFC 4271 section 4.5, and what follows them."""

    code: int
    subcode: int
    data: bytes


def split_message(data: bytes) -> tuple[int, bytes, bytes]:
    """Take the first message off: its type, its body without the header, and the bytes after it."""
    if len(data) < HEADER:
        raise MalformedMessage(f"a BGP message of {len(data)} bytes has no header")
    length, kind = struct.unpack_from("!HB", data, 16)
    if not HEADER <= length <= len(data):
        raise MalformedMessage(f"a BGP message says {length} bytes, {len(data)} are there")
    return kind, data[HEADER:length], data[length:]


def parse_open(body: bytes) -> Open:
    """Read an OPEN without its header."""
    try:
        _, asn, hold_time, bgp_id, length = struct.unpack_from("!BHH4sB", body)
        extended = length == 255 and body[10:11] == b"\xff"  # RFC 9072
        if extended:
            (length,) = struct.unpack_from("!H", body, 11)
        parameters, _ = _take(body[13 if extended else 10 :], length)
        codes, families, graceful = [], set(), None
        for code, value in _capabilities(parameters, extended=extended):
            codes.append(code)
            if code == _CAPABILITY_MULTIPROTOCOL:
                afi, _, safi = struct.unpack("!HBB", value)
                families.add(_family(afi, safi))
            elif code == _CAPABILITY_FOUR_OCTET_AS:
                (asn,) = struct.unpack("!I", value)
            elif code == _CAPABILITY_GRACEFUL_RESTART:
                graceful = _graceful_restart(value)
    except struct.error as error:
        raise MalformedMessage(f"an OPEN ends too early: {error}") from error
    return Open(asn, hold_time, _address(bgp_id), frozenset(families), graceful, tuple(codes))


def parse_update(body: bytes, *, asn_size: int = 4) -> Update:
    """Read an UPDATE without its header.

    Args:
        body: The message.
        asn_size: Octets of an autonomous system number in AS_PATH: 2 between speakers of which one knows no others.
    """
    try:
        (length,) = struct.unpack_from("!H", body)
        routes, rest = _take(body[2:], length)
        withdrawn = list(_prefixes(routes, 1))
        (length,) = struct.unpack_from("!H", rest)
        attributes, routes = _take(rest[2:], length)
        announced = list(_prefixes(routes, 1))
        next_hop: str | None = None
        as_path: tuple[int, ...] = ()
        communities: tuple[str, ...] = ()
        unreachable: str | None = None
        kinds = []
        for kind, value in _attributes(attributes):
            kinds.append(kind)
            if kind == _NEXT_HOP:
                next_hop = _address(value)
            elif kind == _AS_PATH:
                as_path = _as_path(value, asn_size)
            elif kind == _COMMUNITIES:
                communities = tuple(_community(value) for (value,) in struct.iter_unpack("!I", value))
            elif kind == _MP_REACH:
                afi, safi, length = struct.unpack_from("!HBB", value)
                hops, routes = _take(value[4:], length)
                if (afi, safi) in _FAMILIES:
                    next_hop = _address(hops[: 16 if len(hops) >= 16 else 4])
                    announced += _prefixes(routes[1:], afi)  # after a reserved octet
            elif kind == _MP_UNREACH:
                afi, safi = struct.unpack_from("!HB", value)
                unreachable = _family(afi, safi)
                if (afi, safi) in _FAMILIES:
                    withdrawn += _prefixes(value[3:], afi)
    except struct.error as error:
        raise MalformedMessage(f"an UPDATE ends too early: {error}") from error
    end_of_rib = None
    if not announced and not withdrawn:
        end_of_rib = unreachable if kinds == [_MP_UNREACH] else "ipv4" if not kinds else None
    return Update(tuple(announced), tuple(withdrawn), next_hop, as_path, communities, end_of_rib)


def parse_notification(body: bytes) -> NotificationMessage:
    """Read a NOTIFICATION without its header."""
    if len(body) < 2:
        raise MalformedMessage(f"a NOTIFICATION has {len(body)} bytes, at least 2 are needed")
    return NotificationMessage(body[0], body[1], body[2:])


def _capabilities(parameters: bytes, *, extended: bool) -> Iterator[tuple[int, bytes]]:
    while parameters:
        kind, length = struct.unpack_from("!BH" if extended else "!BB", parameters)
        value, parameters = _take(parameters[3 if extended else 2 :], length)
        while kind == _CAPABILITIES and value:
            code, length = struct.unpack_from("!BB", value)
            content, value = _take(value[2:], length)
            yield code, content


def _graceful_restart(value: bytes) -> GracefulRestartCapability:
    (head,) = struct.unpack_from("!H", value)
    families = {_family(afi, safi): bool(flags & 0x80) for afi, safi, flags in struct.iter_unpack("!HBB", value[2:])}
    return GracefulRestartCapability(bool(head & 0x8000), bool(head & 0x4000), head & 0x0FFF, families)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        flags, kind = struct.unpack_from("!BB", data)
        extended = flags & _ATTRIBUTE_EXTENDED_LENGTH
        (length,) = struct.unpack_from("!H" if extended else "!B", data, 2)
        value, data = _take(data[4 if extended else 3 :], length)
        yield kind, value


def _prefixes(data: bytes, afi: int) -> Iterator[str]:
    size = 16 if afi == 2 else 4
    while data:
        bits = data[0]
        if bits > size * 8:
            raise MalformedMessage(f"a prefix of {bits} bits does not fit its address family")
        prefix, data = _take(data[1:], (bits + 7) // 8)
        yield f"{_address(prefix.ljust(size, bytes(1)))}/{bits}"


def _as_path(value: bytes, asn_size: int) -> tuple[int, ...]:
    """The numbers of all segments, of the other size where only that one fits.

    FRR 8.4.4 was seen to dump its table so while a peer restarts whose path it keeps as stale: two octets, without the
    flag of RFC 7854 section 4.2 that says so. It knows none of the peer's capabilities until that is back.
    """
    if not _fits(value, asn_size) and _fits(value, 6 - asn_size):
        asn_size = 6 - asn_size
    path: list[int] = []
    while value:
        _, count = struct.unpack_from("!BB", value)
        path += struct.unpack_from(f"!{count}{'I' if asn_size == 4 else 'H'}", value, 2)
        value = value[2 + count * asn_size :]
    return tuple(path)


def _fits(value: bytes, asn_size: int) -> bool:
    """Whether an AS_PATH consists of whole segments of numbers of this size."""
    while len(value) >= 2:
        value, short = value[2 + value[1] * asn_size :], len(value) < 2 + value[1] * asn_size
        if short:
            return False
    return not value


def _community(value: int) -> str:
    return _WELL_KNOWN.get(value, f"{value >> 16}:{value & 0xFFFF}")


def _family(afi: int, safi: int) -> str:
    return _FAMILIES.get((afi, safi), f"{afi}/{safi}")


def _address(data: bytes) -> str:
    try:
        return str(ipaddress.ip_address(data))
    except ValueError as error:
        raise MalformedMessage(f"an address of {len(data)} bytes") from error


def _take(data: bytes, length: int) -> tuple[bytes, bytes]:
    """Split off the first bytes, all of which must be there."""
    if len(data) < length:
        raise MalformedMessage(f"{length} bytes are announced, {len(data)} are there")
    return data[:length], data[length:]
