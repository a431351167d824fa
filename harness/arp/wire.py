"""Single ARP frames, sent and heard by a test on a packet socket in a host's network."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from types import TracebackType

from harness.arp.frame import ETH_P_ARP, ArpFrame
from harness.backends.base import Backend
from harness.timeline.clock import WallClock
from harness.topology import HOST_DEVICE

#: <asm-generic/socket.h>: the kernel stamps what arrives, with CLOCK_REALTIME; a struct timespec.
_SO_TIMESTAMPNS, _TIMESPEC = 35, struct.Struct("@ll")


class Wire:
    """A packet socket on a node's or a client's interface."""

    def __init__(self, backend: Backend, host: str, device: str = HOST_DEVICE) -> None:
        self._clock = WallClock()
        self._socket = backend.socket(host, socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((device, ETH_P_ARP))
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
