"""Announcements by gratuitous ARP as a router's network hears them."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from harness.arp.frame import ArpFrame
from harness.timeline import event
from harness.timeline.event import Event
from harness.timeline.stamp import Stamp

#: <linux/if_packet.h>: the host's own frames are told, too.
_PACKET_OUTGOING = 4


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
            frame = ArpFrame.parse(data)
            if kind != _PACKET_OUTGOING and frame is not None and frame.gratuitous:
                frames.append(frame)
        stamp = Stamp.now(since_ns)
        return [self._event(frame, stamp) for frame in frames]

    def _event(self, frame: ArpFrame, stamp: Stamp) -> Event:
        who = self._macs.get(frame.sender_mac, frame.sender_mac)
        text = f"{self.host}: {who} announces {frame.sender} (gratuitous ARP {frame.operation})"
        data = {"address": frame.sender, "mac": frame.sender_mac, "node": who, "operation": frame.operation}
        return Event(stamp.at_ns, f"arp {self.host}", event.ARP_ANNOUNCED, self.host, text, stamp.resolution_ns, data)
