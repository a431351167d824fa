"""BMP and BGP messages from bytes: written by hand after the RFCs, and as a real bgpd sent them."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.routing import bgp_message
from harness.routing.bgp_message import GracefulRestartCapability, MalformedMessage, NotificationMessage, Open, Update
from harness.routing.bmp import (
    BmpError,
    BmpListener,
    BmpParser,
    EndOfRib,
    Event,
    PeerDown,
    PeerUp,
    RouteChange,
    SpeakerDown,
    SpeakerUp,
    with_bmp,
)
from harness.wait import until

AT = 12.5
POST_POLICY = 0x40


def address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def bgp(kind: int, body: bytes) -> bytes:
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def capability(code: int, value: bytes = b"") -> bytes:
    return struct.pack("!BB", code, len(value)) + value


def open_body(asn: int, hold: int, bgp_id: str, *capabilities: bytes) -> bytes:
    joined = b"".join(capabilities)
    parameters = struct.pack("!BB", 2, len(joined)) + joined
    return struct.pack("!BHH4sB", 4, asn if asn < 65536 else 23456, hold, address(bgp_id), len(parameters)) + parameters


def update_body(withdrawn: bytes = b"", attributes: bytes = b"", announced: bytes = b"") -> bytes:
    return struct.pack("!H", len(withdrawn)) + withdrawn + struct.pack("!H", len(attributes)) + attributes + announced


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!BBB", 0x40, kind, len(value)) + value


def bmp(kind: int, body: bytes) -> bytes:
    return struct.pack("!BIB", 3, 6 + len(body), kind) + body


def peer_header(peer: str = "10.0.0.2", flags: int = 0) -> bytes:
    packed = address(peer)
    flags |= 0x80 if len(packed) == 16 else 0
    return struct.pack("!BB8s16sI4sII", 0, flags, b"", packed.rjust(16, b"\0"), 64513, address("2.2.2.2"), 100, 500000)


def parse(*messages: bytes) -> list[Event]:
    return BmpParser().feed(b"".join(messages), AT)


GRACEFUL = capability(64, struct.pack("!HHBB", 0xC000 | 120, 1, 1, 0x80) + struct.pack("!HBB", 2, 1, 0))
CILIUM = open_body(4200000000, 90, "2.2.2.2", capability(65, struct.pack("!I", 4200000000)), GRACEFUL)
ROUTER = open_body(64512, 180, "1.1.1.1", capability(1, struct.pack("!HBB", 1, 0, 1)), capability(2))
POOL = b"\x20" + address("192.168.142.1")
PATH = (
    attribute(1, b"\0")
    + attribute(2, struct.pack("!BBIBBI", 2, 1, 64513, 1, 1, 64514))
    + attribute(3, address("10.0.0.2"))
    + attribute(8, struct.pack("!II", 64513 << 16 | 7, 0xFFFFFF01))
)


def test_an_open_with_graceful_restart_and_four_octets() -> None:
    assert bgp_message.parse_open(CILIUM) == Open(
        asn=4200000000,
        hold_time=90,
        bgp_id="2.2.2.2",
        families=frozenset(),
        graceful_restart=GracefulRestartCapability(True, True, 120, {"ipv4": True, "ipv6": False}),
        capabilities=(65, 64),
    )


def test_an_open_without_graceful_restart() -> None:
    read = bgp_message.parse_open(ROUTER)
    assert (read.asn, read.graceful_restart, read.capabilities) == (64512, None, (1, 2))
    assert read.families == {"ipv4"}


def test_an_open_with_extended_optional_parameters() -> None:
    value = capability(65, struct.pack("!I", 65551))
    body = struct.pack("!BHH4sB", 4, 23456, 90, address("2.2.2.2"), 255)
    body += struct.pack("!BH", 255, 3 + len(value)) + struct.pack("!BH", 2, len(value)) + value
    assert bgp_message.parse_open(body).asn == 65551


def test_an_update_announces_and_withdraws() -> None:
    body = update_body(b"\x08\x0a" + b"\x00", PATH, POOL + b"\x14\xc0\xa8\x80")
    assert bgp_message.parse_update(body) == Update(
        announced=("192.168.142.1/32", "192.168.128.0/20"),
        withdrawn=("10.0.0.0/8", "0.0.0.0/0"),
        next_hop="10.0.0.2",
        as_path=(64513, 64514),
        communities=("64513:7", "no-export"),
        end_of_rib=None,
    )


def test_an_update_between_speakers_of_two_octets() -> None:
    path = attribute(2, struct.pack("!BBHH", 2, 2, 64513, 23456))
    assert bgp_message.parse_update(update_body(attributes=path, announced=POOL), asn_size=2).as_path == (64513, 23456)


def test_a_stale_path_has_two_octets_and_nobody_says_so() -> None:
    """FRR 8.4 while the peer restarts: what had four octets before has two now, in the same table dump."""
    path = attribute(2, struct.pack("!BBHH", 2, 2, 64513, 23456))
    assert bgp_message.parse_update(update_body(attributes=path, announced=POOL), asn_size=4).as_path == (64513, 23456)
    cut_off = attribute(2, struct.pack("!BBH", 2, 2, 64513))
    with pytest.raises(MalformedMessage, match="ends too early"):
        bgp_message.parse_update(update_body(attributes=cut_off, announced=POOL))


def test_ipv6_routes_are_in_attributes() -> None:
    hops = address("fd00::2") + address("fe80::2")
    reach = struct.pack("!HBB", 2, 1, len(hops)) + hops + b"\0" + b"\x80" + address("fd01::1")
    unreach = struct.pack("!HB", 2, 1) + b"\x20" + bytes.fromhex("20010db8")
    # Extended length: two octets.
    attributes = struct.pack("!BBH", 0x90, 14, len(reach)) + reach + attribute(15, unreach)
    update = bgp_message.parse_update(update_body(attributes=attributes))
    assert (update.announced, update.withdrawn, update.next_hop) == (("fd01::1/128",), ("2001:db8::/32",), "fd00::2")
    assert update.end_of_rib is None


@pytest.mark.parametrize(
    ("body", "family"),
    [
        (update_body(), "ipv4"),
        (update_body(attributes=attribute(15, struct.pack("!HB", 2, 1))), "ipv6"),
        (update_body(attributes=attribute(15, struct.pack("!HB", 25, 70))), "25/70"),
        (update_body(announced=POOL, attributes=PATH), None),
        (update_body(attributes=PATH), None),
    ],
)
def test_end_of_rib(body: bytes, family: str | None) -> None:
    assert bgp_message.parse_update(body).end_of_rib == family


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\xff" + b"\x40\x01\x01\x00",
        update_body(attributes=b"\x40\x02\xff\x00"),
        update_body(announced=b"\x21\x01\x02\x03\x04\x05"),
        update_body(announced=b"\x20\x01\x02"),
        update_body(attributes=attribute(2, b"\x02\x05\x00")),
        update_body(attributes=attribute(2, b"\x02")),
        update_body(attributes=attribute(3, b"\x01")),
    ],
)
def test_a_broken_update_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        bgp_message.parse_update(body)


@pytest.mark.parametrize("body", [b"", CILIUM[:12], CILIUM[:-2], open_body(1, 1, "1.1.1.1", capability(1, b"\0"))])
def test_a_broken_open_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        bgp_message.parse_open(body)


def test_peer_up_holds_both_opens() -> None:
    body = address("::")[:12] + address("10.0.0.1") + struct.pack("!HH", 179, 40001) + bgp(1, ROUTER) + bgp(1, CILIUM)
    (up,) = parse(bmp(3, peer_header() + body))
    assert isinstance(up, PeerUp)
    assert (up.at, up.told, up.peer, up.asn) == (AT, 100.5, "10.0.0.2", 64513)
    assert (up.local_address, up.local_port, up.remote_port) == ("10.0.0.1", 179, 40001)
    assert (up.sent, up.received) == (bgp_message.parse_open(ROUTER), bgp_message.parse_open(CILIUM))
    assert up.hold_time == 90


@pytest.mark.parametrize(
    ("body", "reason", "notification", "fsm_event"),
    [
        (b"\x01" + bgp(3, b"\x04\x00"), "local notification", NotificationMessage(4, 0, b""), None),
        (b"\x02\x00\x0a", "local, no notification", None, 10),
        (b"\x03" + bgp(3, b"\x06\x02bye"), "remote notification", NotificationMessage(6, 2, b"bye"), None),
        (b"\x04", "remote, no notification", None, None),
        (b"\x05", "other", None, None),
    ],
)
def test_peer_down(body: bytes, reason: str, notification: NotificationMessage | None, fsm_event: int | None) -> None:
    (down,) = parse(bmp(2, peer_header() + body))
    assert isinstance(down, PeerDown)
    assert (down.reason, down.notification, down.fsm_event) == (reason, notification, fsm_event)


def test_routes_and_end_of_rib_of_an_ipv6_peer() -> None:
    route = bgp(2, update_body(announced=POOL, attributes=PATH))
    header = peer_header("fd00::2")
    mirrored = header + struct.pack("!HH", 0, len(route)) + route
    events = parse(
        bmp(0, header + route),
        bmp(0, peer_header("fd00::2", POST_POLICY) + route),
        bmp(6, mirrored),
        bmp(0, header + bgp(2, update_body())),
    )
    kinds: Sequence[type] = (RouteChange, RouteChange, RouteChange, EndOfRib)
    assert [type(event) for event in events] == list(kinds)
    views = [event.view for event in events if isinstance(event, RouteChange | EndOfRib)]
    assert views == ["pre-policy", "post-policy", "mirrored", "pre-policy"]
    assert all(event.peer == "fd00::2" for event in events if isinstance(event, RouteChange | EndOfRib))


def test_what_is_no_route_is_passed_over() -> None:
    keepalive = bgp(4, b"")
    assert parse(bmp(1, peer_header() + struct.pack("!I", 0)), bmp(99, b"later")) == []
    assert parse(bmp(6, peer_header() + struct.pack("!HH", 0, len(keepalive)) + keepalive)) == []
    assert parse(bmp(6, peer_header() + struct.pack("!HHH", 1, 2, 1))) == []


def test_a_speaker_introduces_itself_and_stops() -> None:
    tlvs = struct.pack("!HH", 1, 3) + b"FRR" + struct.pack("!HH", 2, 2) + b"r1"
    assert parse(bmp(4, tlvs), bmp(5, b"")) == [SpeakerUp(AT, name="r1", description="FRR"), SpeakerDown(AT)]


def test_pieces_of_any_size_give_the_same_events() -> None:
    stream = bmp(4, b"") + bmp(2, peer_header() + b"\x04") + bmp(0, peer_header() + bgp(2, update_body()))
    parser = BmpParser()
    assert [event for byte in stream for event in parser.feed(bytes([byte]), AT)] == parse(stream)
    assert len(parse(stream)) == 3


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\n",
        bmp(0, b"short"),
        bmp(3, peer_header()),
        struct.pack("!BIB", 3, 5, 0),
        bmp(2, peer_header()),
    ],
)
def test_what_is_no_bmp(stream: bytes) -> None:
    with pytest.raises(BmpError):
        parse(stream)


def test_a_real_bgpds_account() -> None:
    """Recorded from FRR 8.4.4: a graceful peer on IPv4 and IPv6 comes up, is killed, comes back, and is shut down."""
    stream = bytes.fromhex((Path(__file__).parent / "data" / "frr-8.4.4" / "bmp.hex").read_text())
    events = parse(stream)
    assert isinstance(events[0], SpeakerUp)
    ups = [event for event in events if isinstance(event, PeerUp)]
    assert [up.peer for up in ups] == ["10.0.0.2", "fd00::2"] * 2
    for up in ups:
        assert up.received.graceful_restart is not None
        assert up.received.graceful_restart.restart_time == 20
        assert up.received.graceful_restart.f_bit["ipv4"]
    own = [(event.peer, event.family) for event in events if isinstance(event, EndOfRib) and event.view == "mirrored"]
    assert own == [("10.0.0.2", "ipv4"), ("fd00::2", "ipv4"), ("fd00::2", "ipv6")] * 2
    downs = [event for event in events if isinstance(event, PeerDown)]
    assert [down.notification for down in downs[-2:]] == [
        NotificationMessage(6, 2, b""),
        NotificationMessage(6, 3, b""),
    ]
    assert [down.reason for down in downs[-2:]] == ["remote notification"] * 2


def test_a_listener_follows_a_speaker_over_its_restart() -> None:
    events: list[Event] = []
    listening = socket.create_server(("127.0.0.1", 0))
    where = listening.getsockname()
    listener = BmpListener(listening, events.append)
    for _ in range(2):
        with socket.create_connection(where) as speaker:
            speaker.sendall(bmp(4, b""))
    until("four events", lambda: len(events), lambda count: count == 4, within=5)
    assert [type(event) for event in events] == [SpeakerUp, SpeakerDown] * 2
    assert [event.at for event in events] == sorted(event.at for event in events)
    with socket.create_connection(where) as speaker:
        until("the connection", lambda: speaker.send(bmp(4, b"")) and len(events) > 4, within=5)
        listener.close()
    assert listener.error is None


def test_a_listener_keeps_the_error_of_a_stream_that_is_no_bmp() -> None:
    events: list[Event] = []
    listening = socket.create_server(("127.0.0.1", 0))
    listener = BmpListener(listening, events.append)
    with socket.create_connection(listening.getsockname()) as speaker:
        speaker.sendall(b"GET / HTTP/1.1\r\n")
        until("the end", lambda: len(events), lambda count: count == 1, within=5)
    listener.close()
    assert isinstance(listener.error, BmpError)


def test_lines_for_bgpd_are_added_to_its_default_instance() -> None:
    config = "hostname r\nrouter bgp 64512\n neighbor 10.0.0.2 remote-as 1\n!\nrouter bgp 1 vrf red\n"
    added = with_bmp(config, 1790)
    assert added.startswith(config)
    assert added[len(config) :].splitlines()[:2] == ["router bgp 64512", " bmp targets lblab"]
    assert "  bmp connect 127.0.0.1 port 1790 min-retry 100 max-retry 1000" in added
    assert with_bmp("hostname r\n", 1790) == "hostname r\n"
