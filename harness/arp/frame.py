"""ARP frames (RFC 826) for IPv4 over Ethernet, as they are on the wire. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

BROADCAST = "ff:ff:ff:ff:ff:ff"
#: <linux/if_ether.h>; EtherType of ARP.
ETH_P_ARP = 0x0806
#: Ethernet header; hardware and protocol type and length; operation; sender and target, each with MAC and address.
_FRAME = struct.Struct("!6s6sH HHBBH 6s4s6s4s")
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

    @property
    def gratuitous(self) -> bool:
        """Whether it announces its sender's own address (RFC 5227 section 3)."""
        return self.sender == self.target

    def packed(self) -> bytes:
        """As it is on the wire."""
        code = next(number for number, name in _OPERATIONS.items() if name == self.operation)
        own = _mac(self.sender_mac)
        return _FRAME.pack(
            _mac(self.to), own, ETH_P_ARP, 1, 0x0800, 6, 4, code,
            own, IPv4Address(self.sender).packed, _mac(self.target_mac), IPv4Address(self.target).packed,
        )  # fmt: skip

    @classmethod
    def parse(cls, data: bytes) -> ArpFrame | None:
        """Read a frame; None when it is none of Ethernet and IPv4."""
        if len(data) < _FRAME.size:
            return None
        to, _, kind, *types, code, sender_mac, sender, target_mac, target = _FRAME.unpack_from(data)
        if kind != ETH_P_ARP or types != [1, 0x0800, 6, 4] or code not in _OPERATIONS:
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


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
