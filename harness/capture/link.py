"""Where the network layer begins in a frame, by link type (tcpdump.org/linktypes.html)."""

from __future__ import annotations

ETHERNET, NULL, LOOP, RAW, LINUX_SLL, LINUX_SLL2, IPV4_ONLY, IPV6_ONLY = 1, 0, 108, 101, 113, 276, 228, 229
#: DLT_RAW as some systems write it into files.
_RAW = (RAW, 12, 14, IPV4_ONLY, IPV6_ONLY)
KNOWN = frozenset({ETHERNET, NULL, LOOP, LINUX_SLL, LINUX_SLL2, *_RAW})

IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806
#: Below this a frame's type is a length, and LLC follows (IEEE 802.3): what spanning tree uses.
LLC = 0x0600
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
_PPPOE, _PPP_IPV4 = 0x8864, 0x0021
#: <linux/if_packet.h>: the host's own frames.
OUTGOING = 4


def network_layer(link: int, frame: bytes) -> tuple[int, int]:
    """Give where the network layer begins, and its EtherType; 0 for what cannot be read on."""
    if link == ETHERNET:
        return _tagged(frame, 12)
    if link in _RAW:
        return 0, {4: IPV4, 6: IPV6}.get(frame[0] >> 4, 0) if frame else 0
    if link == LINUX_SLL:
        return _tagged(frame, 14)
    if link == LINUX_SLL2:
        offset, kind = 20, int.from_bytes(frame[0:2], "big")
        return _tagged(frame, 22) if kind in _VLAN_TAGS else (offset, kind)
    if link in (NULL, LOOP) and len(frame) > 4:  # the family in the byte order of the machine; IP says which it is
        return 4, {4: IPV4, 6: IPV6}.get(frame[4] >> 4, 0)
    return 0, 0


def _tagged(frame: bytes, at: int) -> tuple[int, int]:
    """Read an EtherType, behind VLAN tags if there are any, and through PPPoE."""
    kind = int.from_bytes(frame[at : at + 2], "big")
    while kind in _VLAN_TAGS and len(frame) >= at + 6:
        at += 4
        kind = int.from_bytes(frame[at : at + 2], "big")
    if kind == _PPPOE and int.from_bytes(frame[at + 8 : at + 10], "big") == _PPP_IPV4:
        return at + 10, IPV4
    return at + 2, kind


def view(link: int, frame: bytes, offset: int) -> str:
    """Where a frame was seen: its VLAN tags, or its interface and direction; the same packet has one name in one place.

    A router's capture on a trunk, or on `any`, has each packet twice: as it came and as it went on.
    """
    if link == ETHERNET:
        tags = [int.from_bytes(frame[at : at + 2], "big") & 0xFFF for at in range(14, offset - 2, 4)]
        return " ".join(f"vlan {tag}" for tag in tags)
    if link == LINUX_SLL:
        return "out" if int.from_bytes(frame[0:2], "big") == OUTGOING else "in"
    if link == LINUX_SLL2:
        number = int.from_bytes(frame[4:8], "big")
        return f"interface {number} {'out' if frame[10] == OUTGOING else 'in'}"
    return ""


def macs(link: int, frame: bytes) -> tuple[str, str]:
    """The frame's (destination, source); empty where the link type does not carry it."""
    if link == ETHERNET:
        return frame[0:6].hex(":"), frame[6:12].hex(":")
    if link == LINUX_SLL and frame[4:6] == b"\0\6":
        return "", frame[6:12].hex(":")
    if link == LINUX_SLL2 and frame[11] == 6:
        return "", frame[12:18].hex(":")
    return "", ""
