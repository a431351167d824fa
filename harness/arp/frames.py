"""Single ARP frames (RFC 826), sent and heard by a test on a packet socket in a host's network."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import TracebackType
from typing import Literal

from harness.backends.base import Backend
from harness.timeline.clock import WallClock
from harness.topology import HOST_DEVICE

BROADCAST = "ff:ff:ff:ff:ff:ff"
#: <linux/if_ether.h>; EtherType of ARP.
_ETH_P_ARP = 0x0806
#: Ethernet header; hardware and protocol type and length; operation; sender and target, each with MAC and address.
_FRAME = struct.Struct("!6s6sH HHBBH 6s4s6s4s")
#: <asm-generic/socket.h>: the kernel stamps what arrives, with CLOCK_REALTIME; a struct timespec.
_SO_TIMESTAMPNS, _TIMESPEC = 35, struct.Struct("@ll")
_OPERATIONS = {1: "request", 2: "reply"}
Operation = Literal["request", "reply"]


@dataclass(frozen=True)
class ArpFrame:
    """One frame; MACs as 02:00:00:00:00:01."""

    operation: str
    sender_mac: str
    sender: str
    target_mac: str
    target: str
    to: str = BROADCAST

    def packed(self) -> bytes:
        """As it is on the wire."""
        code = next(number for number, name in _OPERATIONS.items() if name == self.operation)
        own = _mac(self.sender_mac)
        return _FRAME.pack(
            _mac(self.to), own, _ETH_P_ARP, 1, 0x0800, 6, 4, code,
            own, IPv4Address(self.sender).packed, _mac(self.target_mac), IPv4Address(self.target).packed,
        )  # fmt: skip

    @classmethod
    def parse(cls, data: bytes) -> ArpFrame | None:
        """Read a frame; None when it is none of Ethernet and IPv4."""
        if len(data) < _FRAME.size:
            return None
        to, _, kind, *types, code, sender_mac, sender, target_mac, target = _FRAME.unpack_from(data)
        if kind != _ETH_P_ARP or types != [1, 0x0800, 6, 4] or code not in _OPERATIONS:
            return None
        macs = (text.hex(":") for text in (sender_mac, target_mac, to))
        sender_text, target_text, to_text = macs
        return cls(
            _OPERATIONS[code], sender_text, str(IPv4Address(sender)), target_text, str(IPv4Address(target)), to_text
        )


def metallb_gratuitous(operation: Operation, mac: str, address: str) -> ArpFrame:
    """One of MetalLB's gratuitous frames (internal/layer2/arp.go): the target's MAC is broadcast."""
    return ArpFrame(operation, mac, address, BROADCAST, address)


def rfc_gratuitous_reply(mac: str, address: str) -> ArpFrame:
    """A gratuitous reply whose target is its sender, which Linux takes for gratuitous (net/ipv4/arp.c, arp_is_garp)."""
    return ArpFrame("reply", mac, address, mac, address)


def unicast_reply(mac: str, address: str, to_mac: str, to: str) -> ArpFrame:
    """An answer to a request, whether there was one or not."""
    return ArpFrame("reply", mac, address, to_mac, to, to=to_mac)


class Wire:
    """A packet socket on a node's or a client's interface."""

    def __init__(self, backend: Backend, host: str, device: str = HOST_DEVICE) -> None:
        self._clock = WallClock()
        self._socket = backend.socket(host, socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((device, _ETH_P_ARP))
        self.mac: str = self._socket.getsockname()[4].hex(":")

    def send(self, frame: ArpFrame) -> int:
        """Send a frame; gives when it was on the wire, CLOCK_MONOTONIC nanoseconds."""
        self._socket.send(frame.packed())
        return time.monotonic_ns()

    def heard(self, within: float) -> list[tuple[int, ArpFrame]]:
        """Collect the ARP frames that have come in, and come in for so many seconds, each with the kernel's stamp.

        Stamps are CLOCK_MONOTONIC nanoseconds.
        """
        end = time.monotonic() + within
        found = []
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data, said, *_ = self._socket.recvmsg(2048, socket.CMSG_SPACE(_TIMESPEC.size))
            except TimeoutError:
                break
            frame = ArpFrame.parse(data)
            if frame is not None:
                found.append((self._stamp(said), frame))
        return found

    def _stamp(self, said: Sequence[tuple[int, int, bytes]]) -> int:
        for level, kind, data in said:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                return self._clock.monotonic_ns(seconds * 1_000_000_000 + nanoseconds)
        return time.monotonic_ns()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._socket.close()


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
