"""The recorder: one process of a lab that is told by the kernel, bgpd and the logs, stamps it and writes it down.

It is a process of its own, with one thread, because a stamp is only as good as the moment in which it is taken: the
test process may be busy for milliseconds, and so may be another thread of the same interpreter. What has to be asked
for is the business of the observer.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from harness.arp.frame import ETH_P_ARP
from harness.routing import bmp
from harness.timeline import event, punctual
from harness.timeline.arp import ArpWatch
from harness.timeline.bgp import BgpWatch
from harness.timeline.clock import WallClock
from harness.timeline.event import Event
from harness.timeline.journal import Journal
from harness.timeline.kernel import KernelWatch
from harness.timeline.logs import LogFolder
from harness.timeline.names import Names
from harness.timeline.plan import RecorderPlan
from harness.timeline.punctual import RunDelay
from harness.timeline.stamp import Stamp

#: From the moment at which a waiting thread is given a CPU until it has taken its stamp; 0.1 ms was just not exceeded
#: in 1200 stamps of changes whose moment was known (tests/integration/test_timeline.py does 200 each time).
_FLOOR_NS = 200_000
#: Taken for the time that a thread waits for a CPU where the kernel does not count it.
_UNKNOWN_DELAY_NS = 1_000_000
_SECOND = 1_000_000_000


class Surroundings(Protocol):
    """What a recorder needs of the backend that it runs in."""

    def socket(self, host: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Make a socket in a host's network."""

    def enter(self, host: str) -> None:
        """Move the calling thread into a host's network."""


class Recorder:
    """Follows every source of a plan; `run` never returns."""

    def __init__(self, plan: RecorderPlan, around: Surroundings) -> None:
        self._plan = plan
        self._around = around
        self._journal = Journal(Path(plan.journal))
        self._selector = selectors.DefaultSelector()
        self._first: Callable[[int], list[Event]] = lambda _: []
        self._names = Names({**plan.names, **plan.macs})
        self._kernels: list[KernelWatch] = []
        self._follow_kernels()
        self._follow_routers()
        self._follow_arp()
        self._follow_logs()
        self._serve()

    def run(self) -> None:
        """Record until the process is killed."""
        delay = RunDelay()
        looked = time.monotonic_ns()
        self._write(self._first(looked - _SECOND))
        while True:
            ready, since, looked = self._wait(delay, looked)
            for key in ready:
                self._write(key.data(since))
            for watch in self._kernels:
                self._write(watch.look())

    def _wait(self, delay: RunDelay, looked: int) -> tuple[list[selectors.SelectorKey], int, int]:
        """Wait until something is ready.

        Clocks are read before the system calls that they stand for, as the thread may lose its CPU after any of them.

        Args:
            delay: Of this thread.
            looked: A moment before the last look, which did not show what is ready now.

        Returns:
            What is ready, a moment before which it was not, and one before what is not among it.
        """
        delay.added_ns()
        looks = time.monotonic_ns()
        if ready := self._selector.select(0):
            return [key for key, _ in ready], looked, looks  # it came while other things were written down
        self._selector.select(self._timeout(looks))
        now = time.monotonic_ns()
        late = (delay.added_ns() if delay.known else _UNKNOWN_DELAY_NS) + _FLOOR_NS
        since, looks = max(looks, now - late), time.monotonic_ns()
        return [key for key, _ in self._selector.select(0)], since, looks

    def _timeout(self, now: int) -> float | None:
        """Seconds until something has to be looked at that announces nothing."""
        due = min((watch.due_ns for watch in self._kernels if watch.due_ns is not None), default=None)
        return None if due is None else max(0.0, (due - now) / 1e9)

    def _write(self, events: list[Event]) -> None:
        self._journal.write(*events)

    # -- sources ----------------------------------------------------------------------------------------------------

    def _follow_kernels(self) -> None:
        for host, what in self._plan.hosts.items():

            def make(host: str = host) -> socket.socket:
                return self._around.socket(host, socket.AF_NETLINK, socket.SOCK_RAW)

            watch = KernelWatch(host, make, self._names, ports=what.ports, routes=what.routes, strangers=what.strangers)
            self._kernels.append(watch)
            self._selector.register(watch.socket, selectors.EVENT_READ, watch.read)

    def _follow_routers(self) -> None:
        for router, what in self._plan.routers.items():
            if what.bmp_port is None:
                continue
            listening = self._around.socket(router, socket.AF_INET, socket.SOCK_STREAM)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", what.bmp_port))
            listening.listen(4)
            listening.setblocking(False)
            station = _Station(self._selector, listening, BgpWatch(router, self._names))
            self._selector.register(listening, selectors.EVENT_READ, station.accept)

    def _follow_arp(self) -> None:
        for router in self._plan.routers:
            listening = self._around.socket(router, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
            watch = ArpWatch(router, listening, self._plan.macs)
            self._selector.register(watch.socket, selectors.EVENT_READ, watch.read)

    def _follow_logs(self) -> None:
        if self._plan.logs is not None:
            logs = LogFolder(Path(self._plan.logs), self._plan.log_files, WallClock(), Names(self._plan.macs))
            if Path(self._plan.socket).exists():
                logs.skip()  # a recorder before this one has read them
            self._selector.register(logs.watch, selectors.EVENT_READ, logs.read)
            self._first = logs.read

    # -- synchronisation ----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Answer each line with one when everything that had arrived before it is written."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        Path(self._plan.socket).unlink(missing_ok=True)  # of a recorder before this one
        listening.bind(self._plan.socket)
        listening.listen(16)
        listening.setblocking(False)
        self._selector.register(listening, selectors.EVENT_READ, lambda _: self._accept(listening))

    def _accept(self, listening: socket.socket) -> list[Event]:
        connection, _ = listening.accept()
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, lambda since: self._answer(connection, since))
        return []

    def _answer(self, connection: socket.socket, since_ns: int) -> list[Event]:
        try:
            asked = connection.recv(64)
        except ConnectionError:
            asked = b""
        if not asked:
            self._selector.unregister(connection)
            connection.close()
            return []
        for key, _ in self._selector.select(0):
            if key.fileobj is not connection:
                self._write(key.data(since_ns))
        with contextlib.suppress(ConnectionError, BlockingIOError):
            connection.sendall(b"\n")
        return []


class _Station:
    """Takes the BMP connections of one router's bgpd, one after the other."""

    def __init__(self, selector: selectors.BaseSelector, listening: socket.socket, watch: BgpWatch) -> None:
        self._selector = selector
        self._listening = listening
        self._watch = watch

    def accept(self, _: int) -> list[Event]:
        """Take a new connection."""
        connection, _address = self._listening.accept()
        connection.setblocking(False)
        parser = bmp.BmpParser()

        def read(since_ns: int) -> list[Event]:
            return self._read(connection, parser, since_ns)

        self._selector.register(connection, selectors.EVENT_READ, read)
        return []

    def _read(self, connection: socket.socket, parser: bmp.BmpParser, since_ns: int) -> list[Event]:
        received, ended, problem = bytearray(), True, ""
        try:
            while data := connection.recv(1 << 16):
                received += data
        except BlockingIOError:
            ended = False
        except ConnectionError:
            pass  # bgpd was killed
        stamp = Stamp.now(since_ns)
        told: list[bmp.Event] = []
        try:
            told += parser.feed(bytes(received), stamp.at_ns / 1e9)
        except bmp.BmpError as error:
            ended, problem = True, str(error)
        if ended:
            self._selector.unregister(connection)
            connection.close()
            told.append(bmp.SpeakerDown(stamp.at_ns / 1e9))
        events = [found for each in told for found in self._watch.told(each, stamp)]
        if problem:
            text = f"{self._watch.router}: {problem}"
            events.append(
                Event(stamp.at_ns, self._watch.source, event.BLIND, self._watch.router, text, stamp.resolution_ns)
            )
        return events


def run(plan: Path, around: Surroundings) -> None:
    """Record as a plan says, until the process is killed."""
    punctual.hurry()
    Recorder(RecorderPlan.load(plan), around).run()
