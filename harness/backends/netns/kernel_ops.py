"""Changes of links, routes and packet filters, each stamped by the system call that carries it out.

Netlink is synchronous: the kernel has done what a message asks when `send` returns (netlink(7)), so the change takes
effect between a clock reading before and one after that call. Measured on a 2-core VM (kernel 6.18): 0.03 ms for a
bridge port, 0.16 ms for a link, 0.3 ms for a packet filter. A notification (RTM_NEWLINK, NFT_MSG_NEWGEN) read by a
second thread came 0.05 ms before to 4 ms after that reading: it tells less. All functions act on the network namespace
of the calling thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from functools import cache

from harness.errors import MissingCapability

# <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if.h>
_NLMSG_ERROR, _NLM_F_REQUEST, _NLM_F_ACK = 2, 0x1, 0x4
_RTM_SETLINK = 19
_IFF_UP = 0x1
_NLA_F_NESTED = 0x8000
_HEADER, _IFINFO = "=IHHII", "=BxHiII"
# <linux/if_link.h>, <linux/if_bridge.h>: a port's state within its protocol information
_IFLA_PROTINFO, _IFLA_BRPORT_STATE = 12, 1
_BR_STATE_DISABLED, _BR_STATE_FORWARDING = 0, 3

# <linux/netfilter/nfnetlink.h>, nfnetlink_conntrack.h; an empty deletion is one of all connections
_NETLINK_NETFILTER, _NFNL_SUBSYS_CTNETLINK, _IPCTNL_MSG_CT_DELETE, _NFGENMSG = 12, 1, 2, "=BBH"
#: Who installs routes of a routing daemon (/etc/iproute2/rt_protos): zebra and what it names after BGP.
_ROUTING_PROTOCOLS = (11, 186)

#: Ticks a second of the bridge's timers as user space sees them (USER_HZ, <asm-generic/param.h>).
_USER_HZ = 100
#: libnftables keeps lists of interfaces and a parser that are not made for several threads.
_nft_lock = threading.Lock()


class Interval:
    """Two readings of CLOCK_MONOTONIC around what is done in a `with` block."""

    def __init__(self) -> None:
        self.before = time.monotonic_ns()
        self.after = self.before

    def until(self, later: Interval) -> Interval:
        """From this interval's beginning to the end of a later one."""
        both = Interval()
        both.before, both.after = self.before, later.after
        return both

    def stamp(self, how: str) -> dict[str, object]:
        """The stamp as it goes over to the test process; see `harness.backends.base.Stamp`."""
        return {"at_ns": self.after, "resolution_ns": self.after - self.before, "how": how}


@contextlib.contextmanager
def timed() -> Iterator[Interval]:
    """Take the time of a block."""
    interval = Interval()
    yield interval
    interval.after = time.monotonic_ns()


def set_up(device: str, up: bool) -> Interval:
    """Set an interface up or down, as `ip link set` does."""
    return _set_link(socket.AF_UNSPEC, device, _IFF_UP if up else 0, _IFF_UP, b"")


def set_forwarding(port: str, on: bool) -> Interval:
    """Let a port of a bridge forward frames, or drop all of them in both directions; the carrier stays."""
    state = struct.pack("=HHB3x", 5, _IFLA_BRPORT_STATE, _BR_STATE_FORWARDING if on else _BR_STATE_DISABLED)
    attribute = struct.pack("=HH", 4 + len(state), _IFLA_PROTINFO | _NLA_F_NESTED) + state
    return _set_link(socket.AF_BRIDGE, port, 0, 0, attribute)


def set_spanning_tree(bridge: str, forward_delay: float | None) -> Interval:
    """Turn a bridge's spanning tree on, with a forward delay in seconds, or off (None).

    With it off ports forward at once; the kernel takes no delay below 2 s with it on (BR_MIN_FORWARD_DELAY).
    """
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        index = ip.link_lookup(ifname=bridge)[0]
        with timed() as interval:
            if forward_delay is None:
                ip.link("set", index=index, kind="bridge", br_stp_state=0)
                ip.link("set", index=index, kind="bridge", br_forward_delay=0)
            else:
                delay = int(forward_delay * _USER_HZ)
                ip.link("set", index=index, kind="bridge", br_forward_delay=delay, br_stp_state=1)
    return interval


def _set_link(family: int, device: str, flags: int, change: int, attributes: bytes) -> Interval:
    body = struct.pack(_IFINFO, family, 0, socket.if_nametoindex(device), flags, change) + attributes
    size = struct.calcsize(_HEADER) + len(body)
    message = struct.pack(_HEADER, size, _RTM_SETLINK, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.bind((0, 0))
        with timed() as interval:
            sock.send(message)
        answer = sock.recv(4096)
    kind, error = struct.unpack_from("=4xH", answer)[0], struct.unpack_from("=i", answer, 16)[0]
    if kind != _NLMSG_ERROR or error != 0:
        raise OSError(-error, f"the kernel refused to change {device}: {os.strerror(-error)}")
    return interval


def nft(commands: str) -> Interval:
    """Carry out nftables commands as one transaction, without a process in between.

    Raises:
        MissingCapability: when libnftables, on which the `nft` command itself stands, is not installed.
        OSError: with what libnftables says.
    """
    library = _libnftables()
    with _nft_lock:
        context = library.nft_ctx_new(0)  # its netlink socket lives in this thread's namespace
        try:
            library.nft_ctx_buffer_error(context)
            text = commands.encode()
            with timed() as interval:
                code = library.nft_run_cmd_from_buffer(context, text)
            if code != 0:
                said = library.nft_ctx_get_error_buffer(context) or b"no reason"
                raise OSError(f"nftables refused: {said.decode().strip().splitlines()[0]}")
        finally:
            library.nft_ctx_free(context)
    return interval


@cache
def _libnftables() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError as error:
        raise MissingCapability(
            "packets cannot be filtered without libnftables", hint="Debian, Ubuntu: apt install nftables"
        ) from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
    library.nft_ctx_get_error_buffer.argtypes = [ctypes.c_void_p]
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def forget() -> Interval:
    """Lose what others gave a kernel and it holds in its memory alone: filters, connections, routes of daemons."""
    with timed() as interval:
        nft("flush ruleset")
        _flush_connections()
        _flush_routes()
    return interval


def _flush_connections() -> None:
    size = struct.calcsize(_HEADER) + struct.calcsize(_NFGENMSG)
    kind = _NFNL_SUBSYS_CTNETLINK << 8 | _IPCTNL_MSG_CT_DELETE
    message = struct.pack(_HEADER, size, kind, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0)
    message += struct.pack(_NFGENMSG, socket.AF_UNSPEC, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as sock:
        sock.send(message)
        error = struct.unpack_from("=i", sock.recv(4096), 16)[0]
    if error not in (0, -errno.EINVAL, -errno.EOPNOTSUPP):  # the last two: the kernel tracks no connections
        raise OSError(-error, f"the kernel refused to forget connections: {os.strerror(-error)}")


def _flush_routes() -> None:
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        for family in (socket.AF_INET, socket.AF_INET6):
            for route in ip.get_routes(family=family):
                if route["proto"] in _ROUTING_PROTOCOLS:
                    ip.route("del", **_named(route))


def _named(route: dict[str, object]) -> dict[str, object]:
    """What tells one route from all others."""
    attributes: dict[str, object] = dict(route["attrs"])  # type: ignore[call-overload]
    return {
        "family": route["family"],
        "dst": f"{attributes['RTA_DST']}/{route['dst_len']}" if "RTA_DST" in attributes else "default",
        "table": attributes["RTA_TABLE"],
        "proto": route["proto"],
        "priority": attributes.get("RTA_PRIORITY", 0),
        "type": route["type"],
    }
