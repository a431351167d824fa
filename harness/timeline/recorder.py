"""The recorder: one process of a lab that hears from every source, stamps what it hears and writes it down.

It is a process of its own because a stamp is only as good as the moment in which it is taken: the test process may be
busy for milliseconds. One loop waits for the kernel's and bgpd's sockets and the logs; what must be asked for or blocks
(stale paths, the Kubernetes API) has threads, whose events carry their own stamps.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from harness.routing import bmp
from harness.timeline import event
from harness.timeline.bgp import BgpWatch
from harness.timeline.clock import WallClock
from harness.timeline.event import Event
from harness.timeline.journal import Journal
from harness.timeline.kernel import KernelWatch
from harness.timeline.logs import LogFolder
from harness.timeline.names import Names
from harness.timeline.plan import RecorderPlan
from harness.timeline.stale import StaleWatch
from harness.timeline.stamp import Stamp

#: Seconds between two looks at how late the recorder itself wakes up, and how many of them count.
_CHECK_EVERY, _CHECKS = 0.1, 10
#: A wake-up takes at least so long, whatever the checks say (50 us of timer slack, and the way through the kernel).
_FLOOR_NS = 100_000
#: A thread hands the interpreter over after at most so long (seconds; Python's default is 5 ms).
_SWITCH_INTERVAL = 0.0002
_NICE = -10
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
        self._writing = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._first: Callable[[Stamp], list[Event]] = lambda _: []
        self._late: deque[int] = deque([0], maxlen=_CHECKS)
        self._names = Names(plan.names)
        self._kernels: list[KernelWatch] = []
        self._follow_kernels()
        self._follow_routers()
        self._follow_logs()
        self._serve()

    def run(self) -> None:
        """Record until the process is killed."""
        if self._plan.kubeconfig is not None:
            threading.Thread(target=self._follow_kubernetes, name="kubernetes", daemon=True).start()
        returned = time.monotonic_ns()
        self._write(self._first(Stamp(returned, _SECOND)))
        while True:
            waits_from = time.monotonic_ns()
            timeout = self._timeout(waits_from)
            ready = self._selector.select(timeout)
            now = time.monotonic_ns()
            if not ready and timeout == _CHECK_EVERY:
                self._late.append(max(0, now - waits_from - int(_CHECK_EVERY * 1e9)))
            # what was ready at once may have come at any time since the loop last looked
            unseen = now - returned if now - waits_from < _FLOOR_NS else 0
            stamp = Stamp(now, max(_FLOOR_NS, max(self._late), unseen))
            returned = now
            for key, _ in ready:
                self._write(key.data(stamp))
            for watch in self._kernels:
                self._write(watch.look())

    def _timeout(self, now: int) -> float:
        """Seconds until something has to be looked at that announces nothing."""
        due = min((watch.due_ns for watch in self._kernels if watch.due_ns is not None), default=None)
        return _CHECK_EVERY if due is None else min(_CHECK_EVERY, max(0.0, (due - now) / 1e9))

    def _write(self, events: list[Event]) -> None:
        with self._writing:
            self._journal.write(*events)

    # -- sources ----------------------------------------------------------------------------------------------------

    def _follow_kernels(self) -> None:
        for host, what in self._plan.hosts.items():

            def make(host: str = host) -> socket.socket:
                return self._around.socket(host, socket.AF_NETLINK, socket.SOCK_RAW)

            watch = KernelWatch(host, make, self._names, ports=what.ports, routes=what.routes)
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
            stale = StaleWatch(router, Path(what.vty), self._names, self._write)
            station = _Station(self._selector, listening, BgpWatch(router, self._names), stale)
            self._selector.register(listening, selectors.EVENT_READ, station.accept)

    def _follow_logs(self) -> None:
        if self._plan.logs is not None:
            logs = LogFolder(Path(self._plan.logs), self._plan.log_files, WallClock())
            self._selector.register(logs.watch, selectors.EVENT_READ, logs.read)
            self._first = logs.read

    def _follow_kubernetes(self) -> None:
        # TLS and the API client take 80 ms to import, in which nothing else would be stamped
        from harness.timeline.kubernetes import KINDS, Watcher

        kubeconfig, host = self._plan.kubeconfig, self._plan.kube_host
        assert kubeconfig is not None
        for place, kind in enumerate(KINDS):
            Watcher(
                Path(kubeconfig),
                kind,
                self._write,
                lambda: self._around.enter(host) if host else None,
                tells_gaps=place == 0,
            )

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
        self._selector.register(connection, selectors.EVENT_READ, lambda stamp: self._answer(connection, stamp))
        return []

    def _answer(self, connection: socket.socket, stamp: Stamp) -> list[Event]:
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
                self._write(key.data(stamp))
        with contextlib.suppress(ConnectionError, BlockingIOError):
            connection.sendall(b"\n")
        return []


class _Station:
    """Takes the BMP connections of one router's bgpd, one after the other."""

    def __init__(
        self, selector: selectors.BaseSelector, listening: socket.socket, watch: BgpWatch, stale: StaleWatch
    ) -> None:
        self._selector = selector
        self._listening = listening
        self._watch = watch
        self._stale = stale

    def accept(self, _: Stamp) -> list[Event]:
        """Take a new connection."""
        connection, _address = self._listening.accept()
        connection.setblocking(False)
        parser = bmp.BmpParser()

        def read(stamp: Stamp) -> list[Event]:
            return self._read(connection, parser, stamp)

        self._selector.register(connection, selectors.EVENT_READ, read)
        return []

    def _read(self, connection: socket.socket, parser: bmp.BmpParser, stamp: Stamp) -> list[Event]:
        told: list[bmp.Event] = []
        problem = ""
        try:
            while data := connection.recv(1 << 16):
                told += parser.feed(data, stamp.at_ns / 1e9)
            ended = True
        except BlockingIOError:
            ended = False
        except ConnectionError:
            ended = True
        except bmp.BmpError as error:
            ended, problem = True, str(error)
        if ended:
            self._selector.unregister(connection)
            connection.close()
            told.append(bmp.SpeakerDown(stamp.at_ns / 1e9))
        for each in told:
            if isinstance(each, bmp.PeerDown):
                self._stale.peer_down(stamp.at_ns)
        if told:
            self._stale.something_changed()
        events = [found for each in told for found in self._watch.told(each, stamp)]
        if problem:
            text = f"{self._watch.router}: {problem}"
            events.append(
                Event(stamp.at_ns, self._watch.source, event.BLIND, self._watch.router, text, stamp.resolution_ns)
            )
        return events


def run(plan: Path, around: Surroundings, ready: Callable[[], None] = lambda: None) -> None:
    """Record as a plan says, until the process is killed."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with contextlib.suppress(PermissionError):  # an ordinary user's stamps wait for their turn
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    recorder = Recorder(RecorderPlan.load(plan), around)
    ready()
    recorder.run()
