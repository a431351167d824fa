"""Asking a network who has an address, and hearing everybody who answers: a kernel tells of one only."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import time
from dataclasses import dataclass

from harness.backends.base import Backend

_ETH_P_ARP = 0x0806
_BROADCAST = b"\xff" * 6
#: RFC 826: hardware type Ethernet, protocol type IPv4, their lengths; then the operation.
_HEADER = struct.pack("!HHBB", 1, 0x0800, 6, 4)
_REQUEST, _REPLY = 1, 2
#: Bytes of a frame with ARP.
_FRAME = 42


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
    wanted = ipaddress.IPv4Address(address).packed
    own = next(
        one.ip.packed for one in _addresses(backend, host, device) if ipaddress.IPv4Address(address) in one.network
    )
    answers: list[ArpAnswer] = []
    with backend.socket(host, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP)) as sock:
        sock.bind((device, _ETH_P_ARP))
        mac = sock.getsockname()[4]
        question = _HEADER + struct.pack("!H", _REQUEST) + mac + own + bytes(6) + wanted
        sock.send(_BROADCAST + mac + struct.pack("!H", _ETH_P_ARP) + question)
        asked = time.monotonic()
        with contextlib.suppress(TimeoutError):
            while (left := asked + within - time.monotonic()) > 0:
                sock.settimeout(left)
                frame = sock.recv(2048)
                ours = len(frame) >= _FRAME and frame[14:20] == _HEADER and frame[28:32] == wanted
                if ours and struct.unpack("!H", frame[20:22])[0] == _REPLY:
                    answers.append(ArpAnswer(frame[22:28].hex(":"), time.monotonic() - asked))
    return answers


def _addresses(backend: Backend, host: str, device: str) -> list[ipaddress.IPv4Interface]:
    topology = backend.topology
    own = topology.control_plane
    if host not in (*topology.routers, *topology.nodes, *topology.clients):  # the API server's
        found = [topology.with_prefix(own.network, one) for one in own.address]
    else:
        found = [one for link in topology.links(host) if link.device == device for one in link.addresses]
    return [one for one in found if isinstance(one, ipaddress.IPv4Interface)]
