"""Asking a network who has an address, and hearing everybody who answers: a kernel tells of one only."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time
from dataclasses import dataclass

from harness.arp.frame import ETH_P_ARP, ArpFrame
from harness.backends.base import Backend

#: The target's MAC in a question: it is what is asked for.
_UNKNOWN = "00:00:00:00:00:00"


@dataclass(frozen=True)
class ArpAnswer:
    """One reply."""

    mac: str
    #: Seconds after the question.
    after: float


def who_has(backend: Backend, host: str, device: str, address: str, *, within: float = 0.25) -> list[ArpAnswer]:
    """Ask once by broadcast and gather every reply.

    The host's own kernel hears the replies, too, and takes them for an entry that it has: ask from a host that is not
    on the way of what is measured.

    Args:
        backend: The lab's backend.
        host: Who asks.
        device: Its interface on the network.
        address: The IPv4 address that is asked for.
        within: Seconds to listen; a node of the lab answers within one or two milliseconds.

    Returns:
        The replies in the order in which they came.
    """
    own = next(
        str(one.ip) for one in _addresses(backend, host, device) if ipaddress.IPv4Address(address) in one.network
    )
    answers: list[ArpAnswer] = []
    with backend.socket(host, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as sock:
        sock.bind((device, ETH_P_ARP))
        sock.send(ArpFrame("request", sock.getsockname()[4].hex(":"), own, _UNKNOWN, address).packed())
        asked = time.monotonic()
        with contextlib.suppress(TimeoutError):
            while (left := asked + within - time.monotonic()) > 0:
                sock.settimeout(left)
                frame = ArpFrame.parse(sock.recv(2048))
                if frame is not None and (frame.operation, frame.sender) == ("reply", address):
                    answers.append(ArpAnswer(frame.sender_mac, time.monotonic() - asked))
    return answers


def _addresses(backend: Backend, host: str, device: str) -> list[ipaddress.IPv4Interface]:
    topology = backend.topology
    own = topology.control_plane
    if host not in (*topology.routers, *topology.nodes, *topology.clients):  # the API server's
        found = [topology.with_prefix(own.network, one) for one in own.address]
    else:
        found = [one for link in topology.links(host) if link.device == device for one in link.addresses]
    return [one for one in found if isinstance(one, ipaddress.IPv4Interface)]
