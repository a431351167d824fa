"""Frames and files of captures, and what a router's port sees of each mechanism."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from harness.arp.frame import ArpFrame, metallb_gratuitous, unicast_reply

ROUTER, NODE1, NODE2, STRANGER = (f"02:00:00:00:00:{last}" for last in ("01", "51", "52", "99"))
GATEWAY, VIP, CLIENT = "192.168.130.1", "192.168.130.105", "192.168.129.50"
ADDRESS = {ROUTER: GATEWAY, NODE1: "192.168.130.151", NODE2: "192.168.130.152"}
GAME, SIDECAR = 7777, 8888
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND

Packets = list[tuple[int, bytes]]


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ip(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    if ":" in source:
        head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64)
        return head + ip_address(source).packed + ip_address(target).packed + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    return head + ip_address(source).packed + ip_address(target).packed + payload


def udp(source: str, from_port: int, target: str, to_port: int, size: int = 32) -> bytes:
    return ip(source, target, 17, struct.pack("!HHHH", from_port, to_port, 8 + size, 0) + bytes(size))


def ethernet(to: str, source: str, packet: bytes, kind: int = 0x0800, vlans: Iterable[int] = ()) -> bytes:
    tags = b"".join(struct.pack("!HH", 0x8100, vlan) for vlan in vlans)
    return mac(to) + mac(source) + tags + struct.pack("!H", kind) + packet


def icmp_unreachable(sender: str, code: int, about: bytes) -> bytes:
    return ip(sender, CLIENT, 1, struct.pack("!BBHI", 3, code, 0, 0) + about)


def pcap(packets: Packets, *, order: str = "<", nanoseconds: bool = False, link: int = 1) -> bytes:
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link)]
    for at, frame in packets:
        parts += [struct.pack(order + "4I", at // SECOND, at % SECOND // unit, len(frame), len(frame)), frame]
    return b"".join(parts)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    length = len(body) + 12
    return struct.pack(order + "2I", kind, length) + body + struct.pack(order + "I", length)


def pcapng(packets: Packets, *, order: str = "<", exponent: int = 6, link: int = 1) -> bytes:
    options = struct.pack(order + "2HB3x", 9, 1, exponent) + struct.pack(order + "2H", 0, 0)
    parts = [
        block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)),
        block(order, 1, struct.pack(order + "HHI", link, 0, 0) + options),
    ]
    for at, frame in packets:
        units = at * 10**exponent // SECOND
        head = struct.pack(order + "5I", 0, units >> 32, units & 0xFFFFFFFF, len(frame), len(frame))
        parts.append(block(order, 6, head + frame))
    return b"".join(parts)


@dataclass
class Scene:
    """What the router's port to the nodes sees: a game, a second service at its address, pings of the nodes.

    Attributes:
        at: The node that the router sends to.
        answers: Which services answer.
        reached: Which nodes can be reached at their own addresses.
        sends: Whether the router has an entry to send by.
    """

    at: str = NODE1
    answers: set[int] = field(default_factory=lambda: {GAME, SIDECAR})
    reached: set[str] = field(default_factory=lambda: {NODE1, NODE2})
    sends: bool = True
    now: int = START
    packets: Packets = field(default_factory=list)
    tick: int = SECOND // 4

    def __post_init__(self) -> None:
        self.ask()
        self.arp(unicast_reply(self.at, VIP, ROUTER, GATEWAY))
        for node in (NODE1, NODE2):  # a node asks for its gateway every half minute
            self.arp(ArpFrame("request", node, ADDRESS[node], "00:00:00:00:00:00", GATEWAY))

    def run(self, seconds: float) -> Scene:
        """Let traffic go on as things are."""
        end = self.now + int(seconds * SECOND)
        while self.now < end:
            for port, client_port in ((GAME, 40001), (GAME, 40002), (SIDECAR, 40003)):
                if self.sends:
                    self.put(ethernet(self.at, ROUTER, udp(CLIENT, client_port, VIP, port)))
                    if port in self.answers:
                        self.put(ethernet(ROUTER, self.at, udp(VIP, port, CLIENT, client_port)), 1_000_000)
            for node in (NODE1, NODE2):
                own = ADDRESS[node]
                self.put(ethernet(node, ROUTER, udp(CLIENT, 40009, own, 9)))
                if node in self.reached:
                    self.put(ethernet(ROUTER, node, udp(own, 9, CLIENT, 40009)), 1_000_000)
            self.now += self.tick
        return self

    def put(self, frame: bytes, after: int = 0) -> None:
        self.packets.append((self.now + after, frame))

    def arp(self, *frames: ArpFrame) -> None:
        for frame in frames:
            self.put(frame.packed().ljust(60, b"\0"))

    def ask(self) -> None:
        self.arp(ArpFrame("request", ROUTER, GATEWAY, "00:00:00:00:00:00", VIP))

    def answer(self, node: str) -> None:
        self.arp(unicast_reply(node, VIP, ROUTER, GATEWAY))

    def announce(self, node: str) -> None:
        """One round of MetalLB's gratuitous ARP, and what the router makes of it."""
        self.arp(metallb_gratuitous("request", node, VIP), metallb_gratuitous("reply", node, VIP))
        self.at = node

    def sorted(self) -> Packets:
        return sorted(self.packets, key=lambda packet: packet[0])


def two_announcers() -> Scene:
    """S6: at each refresh the address visits the quick announcer's node, whose source NAT the server does not know."""
    scene = Scene(tick=SECOND).run(600)
    for _ in range(3):
        scene.run(596)
        scene.ask()
        scene.answer(NODE2)
        scene.at, scene.answers = NODE2, {SIDECAR}
        scene.run(30)
        scene.answer(NODE1)
        scene.at, scene.answers = NODE1, {GAME, SIDECAR}
        scene.run(600)
    return scene


def speaker_stall() -> Scene:
    scene = Scene().run(60)
    scene.announce(NODE2)
    scene.answers = {SIDECAR}
    scene.run(30)
    scene.announce(NODE1)
    scene.answers = {GAME, SIDECAR}
    return scene.run(60)


def arp_unanswered() -> Scene:
    scene = Scene(tick=SECOND).run(1196)
    for _ in range(5):
        scene.ask()
        scene.run(1)
    scene.sends = False
    for _ in range(25):
        scene.ask()
        scene.put(ethernet(ROUTER, ROUTER, icmp_unreachable(GATEWAY, 1, udp(CLIENT, 40001, VIP, GAME))))
        scene.run(1)
    scene.ask()
    scene.answer(NODE1)
    scene.sends = True
    return scene.run(60)


def at_the_client() -> Packets:
    """What a player's machine sees of an address that its router cannot resolve."""
    packets: Packets = []
    for number in range(600):
        at = START + number * SECOND // 10
        packets.append((at, ethernet(ROUTER, NODE1, udp(CLIENT, 40001, VIP, GAME))))
        if not 200 <= number < 400:
            packets.append((at + 1_000_000, ethernet(NODE1, ROUTER, udp(VIP, GAME, CLIENT, 40001))))
        elif number % 10 == 0:
            refused = icmp_unreachable("192.168.129.1", 1, udp(CLIENT, 40001, VIP, GAME))
            packets.append((at + 1_000_000, ethernet(NODE1, ROUTER, refused)))
    return packets


def garp_lost() -> Scene:
    scene = Scene(tick=SECOND).run(1100)
    scene.answers, scene.reached = set(), {NODE2}
    scene.run(96)
    scene.ask()
    scene.answer(NODE2)
    scene.at, scene.answers = NODE2, {GAME, SIDECAR}
    return scene.run(60)


def split_brain() -> Scene:
    scene = Scene().run(60)
    scene.answers, scene.reached = set(), {NODE2}
    for _ in range(8):
        scene.run(2)
        scene.announce(NODE2)
        scene.run(0.5)
        scene.announce(NODE1)
    scene.reached, scene.answers = {NODE1, NODE2}, {GAME, SIDECAR}
    return scene.run(60)


def duplicate_address() -> Scene:
    scene = Scene().run(60)
    scene.announce(STRANGER)
    scene.answers = set()
    for _ in range(12):
        refused = icmp_unreachable(VIP, 3, udp(CLIENT, 40001, VIP, GAME))
        scene.put(ethernet(ROUTER, STRANGER, refused))
        scene.run(1)
    scene.announce(NODE1)
    scene.answers = {GAME, SIDECAR}
    return scene.run(60)


def early_return() -> Scene:
    scene = Scene().run(30)
    scene.announce(NODE2)  # the first node has gone for repairs
    scene.run(60)
    scene.announce(NODE1)
    scene.answers = set()
    scene.run(4)
    scene.answers = {GAME, SIDECAR}
    return scene.run(60)


def server_stall() -> Scene:
    scene = Scene().run(60)
    scene.answers = {SIDECAR}
    scene.run(10)
    scene.answers = {GAME, SIDECAR}
    return scene.run(60)


def link_flap() -> Scene:
    scene = Scene().run(60)
    scene.answers, scene.reached = set(), {NODE2}
    tc = bytes.fromhex("424203") + bytes([0, 0, 0, 0, 1]) + bytes(30)
    scene.put(mac("01:80:c2:00:00:00") + mac(STRANGER) + struct.pack("!H", len(tc)) + tc)
    scene.run(30)
    scene.answers, scene.reached = {GAME, SIDECAR}, {NODE1, NODE2}
    return scene.run(60)


def stale_reply_path() -> Scene:
    """As the node's port sees it: packets come in, answers do not go out, and the node asks for its gateway."""
    scene = Scene().run(60)
    scene.answers = set()
    for _ in range(10):
        scene.arp(ArpFrame("request", NODE1, ADDRESS[NODE1], "00:00:00:00:00:00", GATEWAY))
        scene.run(1)
    scene.answers = {GAME, SIDECAR}
    return scene.run(60)


def lease_lost() -> Scene:
    """Cilium: one gratuitous ARP of the next holder, after the lease's duration."""
    scene = Scene().run(60)
    scene.answers = set()
    scene.run(16)
    scene.arp(metallb_gratuitous("reply", NODE2, VIP))
    scene.at, scene.answers = NODE2, {GAME, SIDECAR}
    return scene.run(60)


def tiny() -> Packets:
    """A packet of each kind."""
    scene = Scene(tick=SECOND).run(1)
    v6 = ethernet(NODE1, ROUTER, udp("fd00::1", 1, "fd00::2", 2), 0x86DD)
    bgp = struct.pack("!HHIIBBHHH", 179, 40000, 0, 0, 0x50, 0x18, 0, 0, 0) + b"\xff" * 16 + b"\0\x15\3\6\2"
    for frame in (
        v6,
        ethernet(NODE1, ROUTER, ip(GATEWAY, ADDRESS[NODE1], 6, bgp)),
        ethernet(ROUTER, NODE1, icmp_unreachable(VIP, 3, udp(CLIENT, 1, VIP, GAME))),
        ethernet(NODE1, ROUTER, udp(CLIENT, 1, VIP, GAME), vlans=(130, 7)),
    ):
        scene.put(frame)
    return scene.sorted()
