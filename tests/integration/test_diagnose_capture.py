"""A capture that tcpdump, or a packet socket, writes on a router: what happened on the wire is what is told."""

from __future__ import annotations

import os
import select
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wires_lab import Wires

from harness.backends.netns.spec import Process
from harness.diagnose.decide import Diagnosis, diagnose
from harness.diagnose.load import Given, load
from harness.lag.mechanisms import Mechanism
from harness.wait import let_pass, until

#: An address that the node has beside its own, as an announced one is.
VIP, GAME, OTHER = "10.2.0.100", 7777, 8888
STALL, TICK = 1.5, 0.02
_ETH_P_ALL = 0x0003

pytestmark = pytest.mark.skipif(os.environ.get("LBLAB_NO_LABS") == "1", reason="no labs are wanted here")


class Server:
    """Echoes at two ports of the node; one of them can stall."""

    def __init__(self, wires: Wires) -> None:
        self.stalled = threading.Event()
        self._ended = threading.Event()
        self._sockets = {port: wires.socket("node") for port in (GAME, OTHER)}
        for port, sock in self._sockets.items():
            sock.bind((VIP, port))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._ended.is_set():
            for sock in select.select(list(self._sockets.values()), [], [], 0.1)[0]:
                data, sender = sock.recvfrom(2048)
                if not (self.stalled.is_set() and sock is self._sockets[GAME]):
                    sock.sendto(data, sender)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        for sock in self._sockets.values():
            sock.close()


class Tap(threading.Thread):
    """Writes what passes the router's port to the servers into a pcap, as tcpdump would."""

    def __init__(self, wires: Wires, file: Path) -> None:
        super().__init__()
        descriptor = wires._rpc.descriptor(
            "socket",
            namespace="router",
            family=socket.AF_PACKET,
            type=socket.SOCK_RAW,
            protocol=socket.htons(_ETH_P_ALL),
        )
        self._socket = socket.socket(fileno=descriptor)
        self._socket.bind(("servers0", _ETH_P_ALL))
        self._socket.settimeout(0.1)
        self._ended = threading.Event()
        self._file = file.open("wb")
        self._file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1))

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                frame = self._socket.recv(4096)
            except OSError:  # nothing came, or the port has only just come up
                continue
            now = time.time_ns()
            self._file.write(struct.pack("<4I", now // 10**9, now % 10**9, len(frame), len(frame)) + frame)

    def close(self) -> None:
        self._ended.set()
        self.join()
        self._file.close()
        self._socket.close()


def shell(script: str) -> tuple[str, ...]:
    """A process of the lab that is a shell; it has no PATH of its own."""
    return "/bin/sh", "-c", f"PATH={os.environ['PATH']}; {script}"


def tcpdump(interface: str, file: Path) -> Process:
    """It begins when the router's port is there, which nothing announces to it."""
    there = "until ip link show up dev servers0 2>/dev/null | grep -q servers0; do :; done"
    command = f"exec tcpdump -i {interface} -n -U --immediate-mode -Z root -s 192 -w {file}"
    return Process(f"router/tcpdump-{interface}", "router", shell(f"{there}; {command}"))


@pytest.fixture(scope="module")
def captures() -> Iterator[dict[str, Path]]:
    """One run, captured in three ways: a game server stands still while the other one at its address goes on."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "lab").mkdir()
        written = {"AF_PACKET": folder / "tap.pcap"}
        processes = [
            Process("node/vip", "node", shell(f"until ip addr add {VIP}/32 dev eth0; do :; done; exec sleep 600"))
        ]
        if shutil.which("tcpdump"):
            written |= {"tcpdump": folder / "port.pcap", "tcpdump -i any": folder / "any.pcap"}
            processes += [tcpdump("servers0", written["tcpdump"]), tcpdump("any", written["tcpdump -i any"])]
        wires = Wires(folder / "lab", *processes)
        try:
            wires.call("booted")
            tap = Tap(wires, written["AF_PACKET"])
            tap.start()
            until("captures to begin", lambda: all(_begun(file) for file in written.values()), within=10)
            until("the node to have the address", lambda: _bindable(wires), within=5)
            server = Server(wires)
            try:
                play(wires, server)
            finally:
                server.close()
                tap.close()
        finally:
            wires.close()
        yield written


def _begun(file: Path) -> bool:
    return file.name == "tap.pcap" or (file.exists() and file.stat().st_size >= 24)


def _bindable(wires: Wires) -> bool:
    with wires.socket("node") as sock:
        try:
            sock.bind((VIP, 1))
        except OSError:
            return False
        return True


def play(wires: Wires, server: Server) -> None:
    """Two flows of 50 packets a second; the game's server stalls in the middle."""
    stop = threading.Event()

    def send() -> None:
        with wires.socket("client") as sock:
            sock.bind(("", 40001))
            due = time.monotonic()
            while not stop.is_set():
                for port in (GAME, OTHER):
                    sock.sendto(b"x" * 40, (VIP, port))
                due += TICK
                stop.wait(max(0.0, due - time.monotonic()))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        let_pass(1.5)
        server.stalled.set()
        let_pass(STALL)
        server.stalled.clear()
        let_pass(1.5)
    finally:
        stop.set()
        sender.join()


def longest_gap(found: Diagnosis) -> float:
    """Seconds; a busy machine may add hitches of its own to a lag, but not to a gap."""
    gaps = [gap for finding in found.findings for _, gap in finding.episode.gaps]
    return max((gap.end or gap.begin) - gap.begin for gap in gaps) / 1e9


@pytest.mark.parametrize("how", ["AF_PACKET", "tcpdump"])
def test_a_stalled_server_is_told_from_the_network(captures: dict[str, Path], how: str) -> None:
    if how not in captures:
        pytest.skip(f"{how} is not installed")
    (found,) = diagnose(load(Given([captures[how]])))
    assert found.address == VIP
    assert longest_gap(found) == pytest.approx(STALL, abs=0.5)
    assert found.mechanism is Mechanism.SERVER_STALL
    assert found.innocent


def test_a_capture_of_all_interfaces_has_each_packet_twice(captures: dict[str, Path]) -> None:
    """It tells of the lag, and not of the node, as its frames do not say where they go."""
    if "tcpdump -i any" not in captures:
        pytest.skip("tcpdump is not installed")
    seen = load(Given([captures["tcpdump -i any"]]))
    (found,) = diagnose(seen)
    assert found.mechanism is None
    assert longest_gap(found) == pytest.approx(STALL, abs=0.5)
    assert found.capture
