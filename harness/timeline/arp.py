"""Announcements by gratuitous ARP as a router's network hears them."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Mapping
from typing import NamedTuple

from harness.timeline import event
from harness.timeline.event import Event
from harness.timeline.stamp import Stamp

#: <linux/if_ether.h>
ETH_P_ARP = 0x0806
#: <linux/if_packet.h>: the host's own frames are told, too.
_PACKET_OUTGOING = 4
#: RFC 826: hardware Ethernet (1), protocol IPv4 (0x0800), 6 and 4 bytes of address; then the opcode.
_FIXED = struct.Struct("!HHBBH")
_ETHERNET_IPV4 = (1, 0x0800, 6, 4)
_OPERATIONS = {1: "request", 2: "reply"}
_HEADER, _LENGTH = 14, 28


class ArpFrame(NamedTuple):
    """An ARP packet for IPv4 over Ethernet (RFC 826)."""

    #: "request" or "reply".
    operation: str
    sender_mac: str
    sender: str
    target_mac: str
    target: str

    @property
    def gratuitous(self) -> bool:
        """Whether it announces its sender's own address (RFC 5227 section 3)."""
        return self.sender == self.target


def parse(frame: bytes) -> ArpFrame | None:
    """Read an Ethernet frame; None when it is no ARP request or reply for IPv4."""
    body = frame[_HEADER : _HEADER + _LENGTH]
    if len(body) < _LENGTH or frame[12:14] != ETH_P_ARP.to_bytes(2, "big"):
        return None
    *kind, operation = _FIXED.unpack_from(body)
    if tuple(kind) != _ETHERNET_IPV4 or operation not in _OPERATIONS:
        return None
    sender, target = (str(ipaddress.IPv4Address(body[at : at + 4])) for at in (14, 24))
    return ArpFrame(_OPERATIONS[operation], _mac(body[8:14]), sender, _mac(body[18:24]), target)


def _mac(raw: bytes) -> str:
    return raw.hex(":")


class ArpWatch:
    """Hears gratuitous ARP in one host's network.

    Args:
        host: The host's name.
        listening: A packet socket for ARP (AF_PACKET, SOCK_RAW) in the host's network.
        macs: Names of hosts by hardware address.
    """

    def __init__(self, host: str, listening: socket.socket, macs: Mapping[str, str]) -> None:
        self.host = host
        self.socket = listening
        self.socket.setblocking(False)
        self._macs = macs

    def read(self, since_ns: int) -> list[Event]:
        """Take what has arrived, none of it before a moment."""
        frames: list[ArpFrame] = []
        while True:
            try:
                data, (_, _, kind, *_) = self.socket.recvfrom(2048)
            except BlockingIOError:
                break
            frame = parse(data)
            if kind != _PACKET_OUTGOING and frame is not None and frame.gratuitous:
                frames.append(frame)
        stamp = Stamp.now(since_ns)
        return [self._event(frame, stamp) for frame in frames]

    def _event(self, frame: ArpFrame, stamp: Stamp) -> Event:
        who = self._macs.get(frame.sender_mac, frame.sender_mac)
        text = f"{self.host}: {who} announces {frame.sender} (gratuitous ARP {frame.operation})"
        data = {"address": frame.sender, "mac": frame.sender_mac, "node": who, "operation": frame.operation}
        return Event(stamp.at_ns, f"arp {self.host}", event.ARP_ANNOUNCED, self.host, text, stamp.resolution_ns, data)
