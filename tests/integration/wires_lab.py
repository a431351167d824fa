"""A lab host with nothing in it but three hosts and their wires, and a stream of numbered packets across them.

client 10.1.0.2 --- lan --- 10.1.0.1 router 10.2.0.1 --- servers --- 10.2.0.2 node (fd00::2)
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.backends.netns import host as lab_host
from harness.backends.netns.rpc import Client
from harness.backends.netns.spec import LOG_FOLDER, HostSpec, Interface, Mount, Process, Route
from harness.wait import until

SERVER = ("10.2.0.2", 9)
STEP = 1_000_000  # nanoseconds between two packets
_ROUTED = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.default.accept_dad": "0"}
DAEMON = "node/daemon"


def make_spec(folder: Path, *processes: Process) -> HostSpec:
    """What the lab host is told; more processes may run in the hosts."""

    def interface(host: str, device: str, network: str, number: int, *addresses: str) -> Interface:
        return Interface(host, device, network, addresses, f"02:00:00:00:00:{number:02x}", f"{host}.{number}")

    idle = (sys.executable, "-c", "import signal; signal.pause()")
    return HostSpec(
        name=folder.name,
        folder=str(folder),
        namespaces=dict.fromkeys(("client", "router", "node"), _ROUTED),
        networks=("lan", "servers"),
        interfaces=(
            interface("client", "eth0", "lan", 1, "10.1.0.2/24"),
            interface("router", "lan0", "lan", 2, "10.1.0.1/24"),
            interface("router", "servers0", "servers", 3, "10.2.0.1/24"),
            interface("node", "eth0", "servers", 4, "10.2.0.2/24", "fd00::2/64"),
        ),
        routes=(
            Route("client", "0.0.0.0/0", "10.1.0.1"),
            Route("node", "0.0.0.0/0", "10.2.0.1"),
            Route("node", "::/0", "fd00::1"),
        ),
        processes=(
            Process(DAEMON, "node", idle),
            Process("node/other", "node", idle),
            Process("router/bgpd", "router", idle),
            *processes,
        ),
        mounts=(Mount("tmpfs", "/run"),),
    )


class Wires:
    """The lab host, as a test uses it."""

    def __init__(self, folder: Path, *processes: Process) -> None:
        self.folder = folder
        (folder / LOG_FOLDER).mkdir()
        make_spec(folder, *processes).save(folder / lab_host.SPEC_FILE)
        read, self._owner = os.pipe()
        command = [sys.executable, "-m", "harness.backends.netns.host", str(folder), f"--owner-fd={read}"]
        root = str(Path(__file__).parents[2])
        self._log = (folder.parent / f"{folder.name}.log").open("w+b")
        self._host = subprocess.Popen(
            command, pass_fds=[read], stdout=self._log, stderr=self._log, env={**os.environ, "PYTHONPATH": root}
        )
        os.close(read)
        ready = folder / lab_host.SOCKET_FILE
        until("the lab host to answer", lambda: ready.exists() or self._host.poll() is not None, within=20, every=0.005)
        self._rpc = Client(ready)

    def call(self, op: str, **arguments: Any) -> Any:
        return self._rpc.call(op, **arguments)

    def socket(self, host: str, family: int = socket.AF_INET, kind: int = socket.SOCK_DGRAM) -> socket.socket:
        descriptor = self._rpc.descriptor("socket", namespace=host, family=family, type=kind, protocol=0)
        return socket.socket(fileno=descriptor)

    @contextlib.contextmanager
    def stream(self) -> Iterator[Stream]:
        """Packets from the client to the node, one each millisecond, while the block runs."""
        with self.socket("client") as sender, self.socket("node") as receiver:
            receiver.bind(SERVER)
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            stream = Stream(sender, receiver)
            stream.start()
            try:
                until("the first packets", lambda: len(stream.arrived) > 20, within=10)
                yield stream
            finally:
                stream.stop()

    def close(self) -> None:
        self._rpc.close()
        os.close(self._owner)
        self._host.wait(10)
        self._log.close()


@dataclass(frozen=True)
class Gap:
    """Packets that did not arrive between two changes; nanoseconds of CLOCK_MONOTONIC."""

    #: When the first of them was sent, and the first one after them.
    start: int
    end: int
    #: By how much the sender itself was late in or around them.
    own: int


class Stream:
    """Numbered packets: when each was sent, and which arrived."""

    def __init__(self, sender: socket.socket, receiver: socket.socket) -> None:
        self.sent: list[int] = []
        self.arrived: set[int] = set()
        self._sender, self._receiver = sender, receiver
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._send, self._receive)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        due = time.monotonic_ns()
        while not self._stop.is_set():
            self._stop.wait(max(0, due - time.monotonic_ns()) / 1e9)
            now = time.monotonic_ns()
            with contextlib.suppress(OSError):  # no route: it is lost like any other
                self._sender.sendto(struct.pack("=Q", len(self.sent)), SERVER)
            self.sent.append(now)
            due = max(due + STEP, now)

    def _receive(self) -> None:
        self._receiver.settimeout(0.2)
        while True:
            try:
                self.arrived.add(struct.unpack("=Q", self._receiver.recv(64))[0])
            except TimeoutError:
                if self._stop.is_set():
                    return

    def passing(self) -> bool:
        """Whether packets that are sent from now on arrive, within half a second."""
        return self._soon(lambda first: any(number >= first for number in self.arrived))

    def silent(self) -> bool:
        """Whether none of the packets that are sent from now on arrives, for a tenth of a second."""
        first = len(self.sent) + 1  # one may be on its way
        until("a hundred packets to be sent", lambda: len(self.sent) > first + 100, within=10)
        return not any(number >= first for number in self.arrived)

    def _soon(self, seen: Callable[[int], bool]) -> bool:
        first, deadline = len(self.sent) + 1, time.monotonic() + 0.5
        pause = threading.Event()
        while not seen(first):
            if time.monotonic() > deadline:
                return False
            pause.wait(0.005)
        return True

    def gap(self, number: int) -> Gap:
        """The packets that were lost around one that was; to be asked when the stream has stopped."""
        first = last = number
        while first - 1 not in self.arrived:
            first -= 1
        while last not in self.arrived:
            last += 1
        stamps = self.sent[max(0, first - 2) : last + 2]
        own = max(after - before for before, after in itertools.pairwise(stamps)) - STEP
        return Gap(self.sent[first], self.sent[last], own)
