"""bgpd's own account of its sessions and routes, as it happens: BMP (RFC 7854) as typed events.

With `bgpd -M bmp` and the lines of `with_bmp`, bgpd connects to a socket in its router's network namespace and tells of
every peer that comes up (with both OPENs), goes down (with the NOTIFICATION), and of every route. `BmpParser` is pure;
`BmpListener` reads the stream in a thread and stamps each event with CLOCK_MONOTONIC as it arrives.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.routing import bgp_message
from harness.routing.bgp_message import NotificationMessage, Open, Update

#: RFC 7854 section 4.1: version (1), length (4), type (1); section 4.2: the per-peer header.
_COMMON, _PER_PEER, _VERSION = 6, 42, 3
_ROUTE_MONITORING, _PEER_DOWN, _PEER_UP, _INITIATION, _TERMINATION, _ROUTE_MIRRORING = 0, 2, 3, 4, 5, 6
_IPV6, _POST_POLICY, _TWO_OCTET_AS = 0x80, 0x40, 0x20
#: A message longer than this is no BMP: the longest BGP message (RFC 8654) twice, with room.
_LONGEST = 200_000

Reason = Literal[
    "local notification", "local, no notification", "remote notification", "remote, no notification", "other"
]
_REASONS: dict[int, Reason] = {
    1: "local notification",
    2: "local, no notification",
    3: "remote notification",
    4: "remote, no notification",
}


class BmpError(ValueError):
    """Bytes that are no BMP."""


@dataclass(frozen=True)
class Event:
    """Something that bgpd told.

    Attributes:
        at: When it arrived, seconds of CLOCK_MONOTONIC.
    """

    at: float


@dataclass(frozen=True)
class SpeakerUp(Event):
    """bgpd has connected and introduced itself (Initiation): it has started, or BMP was switched on."""

    name: str
    description: str


@dataclass(frozen=True)
class SpeakerDown(Event):
    """The stream has ended: bgpd is gone, or has said that it stops (Termination)."""


@dataclass(frozen=True)
class PeerEvent(Event):
    """Something about one peer.

    Attributes:
        peer: The peer's address.
        asn: The peer's autonomous system.
        told: bgpd's own time stamp, seconds since 1970; 0 when it gives none. FRR 8.4 stamps what it mirrors to the
            microsecond as it reads it, and everything else only to the second.
    """

    peer: str
    asn: int
    told: float


@dataclass(frozen=True)
class PeerUp(PeerEvent):
    """A session is established; `sent` and `received` are the OPENs, seen from the router."""

    local_address: str
    local_port: int
    remote_port: int
    sent: Open
    received: Open

    @property
    def hold_time(self) -> int:
        """The negotiated hold time in seconds: the smaller of both proposals (RFC 4271 section 4.2)."""
        return min(self.sent.hold_time, self.received.hold_time)


@dataclass(frozen=True)
class PeerDown(PeerEvent):
    """A session has ended; `fsm_event` is the event of RFC 4271 section 8.1 where the router closed it silently."""

    reason: Reason
    notification: NotificationMessage | None
    fsm_event: int | None


@dataclass(frozen=True)
class RouteChange(PeerEvent):
    """Routes announced or withdrawn.

    Attributes:
        view: Before or after the router's policy, or verbatim as received. What is "post-policy" also goes when the
            next hop is out of reach or the stale time is over; FRR 8.4 puts the router's own AS in front of its path.
        update: The routes.
    """

    view: Literal["pre-policy", "post-policy", "mirrored"]
    update: Update


@dataclass(frozen=True)
class EndOfRib(PeerEvent):
    """End-of-RIB of one family: mirrored it is the peer's own; otherwise it ends bgpd's first account of that peer."""

    view: Literal["pre-policy", "post-policy", "mirrored"]
    family: str


@dataclass(frozen=True)
class _PeerHeader:
    flags: int
    peer: str
    asn: int
    told: float


class BmpParser:
    """Takes a stream of bytes apart; one for each connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes, at: float) -> list[Event]:
        """Take more bytes, in pieces of any size.

        Args:
            data: What was received.
            at: When, in seconds of CLOCK_MONOTONIC.

        Returns:
            The events that are now complete.

        Raises:
            BmpError: when this is no BMP; the connection is of no more use.
        """
        self._buffer += data
        events: list[Event] = []
        while len(self._buffer) >= _COMMON:
            version, length, kind = struct.unpack_from("!BIB", self._buffer)
            if version != _VERSION or not _COMMON <= length <= _LONGEST:
                raise BmpError(f"not BMP version 3: a message of version {version} and {length} bytes")
            if len(self._buffer) < length:
                break
            message = bytes(self._buffer[_COMMON:length])
            del self._buffer[:length]
            try:
                events += _message(kind, message, at)
            except (struct.error, ValueError) as error:
                raise BmpError(f"a BMP message of type {kind} cannot be read: {error}") from error
        return events


def _message(kind: int, message: bytes, at: float) -> list[Event]:
    if kind == _INITIATION:
        values = dict(_tlvs(message))
        return [SpeakerUp(at, values.get(2, b"").decode(errors="replace"), values.get(1, b"").decode(errors="replace"))]
    if kind == _TERMINATION:
        return [SpeakerDown(at)]
    if kind not in (_ROUTE_MONITORING, _PEER_DOWN, _PEER_UP, _ROUTE_MIRRORING):
        return []  # statistics, and types that were added later
    header, body = _peer_header(message), message[_PER_PEER:]
    if kind == _PEER_UP:
        return [_peer_up(header, body, at)]
    if kind == _PEER_DOWN:
        return [_peer_down(header, body, at)]
    if kind == _ROUTE_MONITORING:
        return _routes(header, body, "post-policy" if header.flags & _POST_POLICY else "pre-policy", at)
    return [event for code, value in _tlvs(body) if code == 0 for event in _routes(header, value, "mirrored", at)]


def _peer_header(message: bytes) -> _PeerHeader:
    _, flags, _, address, asn, _, seconds, microseconds = struct.unpack_from("!BB8s16sI4sII", message)
    return _PeerHeader(flags, _address(address, flags), asn, seconds + microseconds / 1e6)


def _peer_up(header: _PeerHeader, body: bytes, at: float) -> PeerUp:
    local, local_port, remote_port = struct.unpack_from("!16sHH", body)
    kind, sent, rest = bgp_message.split_message(body[20:])
    other, received, _ = bgp_message.split_message(rest)
    if (kind, other) != (bgp_message.OPEN, bgp_message.OPEN):
        raise BmpError("Peer Up does not hold two OPENs")
    return PeerUp(
        at=at,
        peer=header.peer,
        asn=header.asn,
        told=header.told,
        local_address=_address(local, header.flags),
        local_port=local_port,
        remote_port=remote_port,
        sent=bgp_message.parse_open(sent),
        received=bgp_message.parse_open(received),
    )


def _peer_down(header: _PeerHeader, body: bytes, at: float) -> PeerDown:
    (code,) = struct.unpack_from("!B", body)
    notification, fsm_event = None, None
    if code in (1, 3):
        kind, content, _ = bgp_message.split_message(body[1:])
        if kind == bgp_message.NOTIFICATION:
            notification = bgp_message.parse_notification(content)
    elif code == 2:
        (fsm_event,) = struct.unpack_from("!H", body, 1)
    return PeerDown(at, header.peer, header.asn, header.told, _REASONS.get(code, "other"), notification, fsm_event)


def _routes(
    header: _PeerHeader, data: bytes, view: Literal["pre-policy", "post-policy", "mirrored"], at: float
) -> list[Event]:
    kind, body, _ = bgp_message.split_message(data)
    if kind != bgp_message.UPDATE:
        return []
    update = bgp_message.parse_update(body, asn_size=2 if header.flags & _TWO_OCTET_AS else 4)
    if update.end_of_rib is not None:
        return [EndOfRib(at, header.peer, header.asn, header.told, view, update.end_of_rib)]
    return [RouteChange(at, header.peer, header.asn, header.told, view, update)]


def _tlvs(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        code, length = struct.unpack_from("!HH", data)
        found.append((code, data[4 : 4 + length]))
        data = data[4 + length :]
    return found


def _address(data: bytes, flags: int) -> str:
    return str(ipaddress.ip_address(data if flags & _IPV6 else data[12:]))


class BmpListener:
    """Reads what one router's bgpd tells, also across restarts of bgpd, in a thread of its own.

    Args:
        listening: A listening TCP socket in the router's network namespace; the listener closes it.
        emit: Is called from the thread with each event, in order.
    """

    def __init__(self, listening: socket.socket, emit: Callable[[Event], None]) -> None:
        self._listening = listening
        self._emit = emit
        self._connection: socket.socket | None = None
        self._lock = threading.Lock()
        self._closed = False
        self.error: BmpError | None = None
        self._thread = threading.Thread(target=self._run, name="bmp", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._closed = True
            for each in (self._listening, self._connection):
                if each is not None:
                    # Wakes the thread out of accept or recv; a connection that is already gone cannot be shut down.
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                with self._lock:
                    if self._closed:
                        return
                    self._connection = connection
                self._read(connection)
                with self._lock:
                    self._connection = None

    def _read(self, connection: socket.socket) -> None:
        parser = BmpParser()
        try:
            while data := connection.recv(65536):
                for event in parser.feed(data, time.monotonic()):
                    self._emit(event)
        except ConnectionResetError:
            pass  # bgpd was killed; the end of the stream says so
        except BmpError as error:
            self.error = error
        self._emit(SpeakerDown(time.monotonic()))


def with_bmp(config: str, port: int) -> str:
    """Let bgpd tell about the sessions of its default instance.

    Args:
        config: bgpd's configuration, which is left as it is; lines are added after it.
        port: Where `BmpListener` listens on 127.0.0.1 in the router's network namespace.

    Returns:
        The configuration; unchanged when there is no BGP instance in it.
    """
    instance = re.search(r"^\s*router bgp [\d.]+[ \t]*$", config, re.MULTILINE)
    if instance is None:
        return config
    lines = [
        instance[0].strip(),
        " bmp targets lblab",
        "  bmp monitor ipv4 unicast post-policy",
        "  bmp monitor ipv6 unicast post-policy",
        "  bmp mirror",
        f"  bmp connect 127.0.0.1 port {port} min-retry 100 max-retry 1000",
        " exit",
        "exit",
    ]
    return "\n".join([config.rstrip("\n"), *lines, ""])
