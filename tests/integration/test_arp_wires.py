"""FreeBSD's ARP as a daemon beside a kernel that has its own: what becomes of packets, links and restarts."""

from __future__ import annotations

import errno
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wires_lab import Wires

from harness import binaries
from harness.backends.netns.spec import Process, Ready
from harness.errors import LabError, LblabError, MissingCapability
from harness.routing import kernel
from harness.traffic import control
from harness.wait import until

NODE, CLIENT, NOBODY = "10.2.0.2", "10.1.0.2", "10.2.0.77"
DAEMON = "router/arp-freebsd"
#: A SYN that is lost is sent again after a second, data after 200 ms (net.ipv4: TCP_TIMEOUT_INIT, TCP_RTO_MIN).
_BEFORE_SYN_AGAIN, _BEFORE_DATA_AGAIN = 0.9, 0.19
#: <linux/in.h>
_IP_RECVERR = 11


class Router:
    """A router whose ARP towards the node is the daemon's."""

    def __init__(self, folder: Path, lablet: Path, *options: str) -> None:
        self._socket = folder / "arp.sock"
        argv = (str(lablet), "arp-freebsd", "--on=servers0=10.2.0.0/24", f"--control={self._socket}", *options)
        (folder / "lab").mkdir()
        self.wires = Wires(folder / "lab", Process(DAEMON, "router", argv, ready=Ready(unix=str(self._socket))))
        self.wires.call("booted")
        self.listening = self.wires.socket("node", kind=socket.SOCK_STREAM)
        self.listening.bind((NODE, 7777))
        self.listening.listen(8)
        self.listening.settimeout(5)

    def state(self) -> Any:
        return control.ask(self._socket, "state")

    def learned(self, times: int) -> None:
        """Wait until the daemon has learned the node's address so often; the kernel may have used the answer before."""
        until(
            f"the address to be learned {times} times",
            lambda: self.state()["counters"].get(NODE, {}).get("learned"),
            lambda number: number == times,
            within=2,
        )

    def delete(self) -> None:
        control.ask(self._socket, "delete all")

    def neighbours(self) -> dict[str, kernel.Neighbour]:
        with self.wires.socket("router", socket.AF_NETLINK, socket.SOCK_RAW) as sock:
            return {found.address: found for found in kernel.neighbours(sock)}

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """A connection from the client to the node, both ends."""
        client = self.wires.socket("client", kind=socket.SOCK_STREAM)
        client.settimeout(5)
        client.connect((NODE, 7777))
        served, _ = self.listening.accept()
        served.settimeout(5)
        return client, served

    def close(self) -> None:
        self.listening.close()
        self.wires.close()


@pytest.fixture(scope="module")
def lablet() -> Path:
    try:
        (built,) = binaries.build(["lablet"], progress=lambda _: None)
    except LblabError as error:
        pytest.skip(f"lablet cannot be built: {error}")
    return built.folder / "lablet"


def _router(lablet: Path, *options: str) -> Iterator[Router]:
    with tempfile.TemporaryDirectory(prefix="lblab-arp-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        try:
            made = Router(Path(folder), lablet, *options)
        except MissingCapability as error:
            pytest.skip(str(error))
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def router(lablet: Path) -> Iterator[Router]:
    """The node's own address is the daemon's business."""
    yield from _router(lablet)


@pytest.fixture
def beside(lablet: Path) -> Iterator[Router]:
    """The node's own address is left to the kernel; the daemon's seconds are short."""
    yield from _router(lablet, f"--except={NODE}", "--time-scale=0.02")


def test_the_first_packet_is_held_and_arrives_whole(router: Router) -> None:
    """Its checksum was left to the card, and it is sent again by another socket: the vnet header carries that over."""
    before = time.monotonic()
    client, served = router.connect()
    took = time.monotonic() - before
    with client, served:
        assert took < _BEFORE_SYN_AGAIN, f"the SYN was lost: connected after {took:.2f} s"
    router.learned(1)
    state = router.state()
    assert state["counters"][NODE]["requests"] == 1
    assert state["refused"] == 0
    assert router.neighbours()[NODE].state == "PERMANENT"
    assert router.neighbours()[CLIENT].state != "PERMANENT", "the clients' network is the kernel's"


def test_large_segments_are_held_whole(router: Router) -> None:
    """A segment of 64 KB that the card was to cut is held, and sent, as one."""
    client, served = router.connect()
    with client, served:
        router.learned(1)
        router.delete()
        data = bytes(60_000)
        before = time.monotonic()
        client.sendall(data)
        received = 0
        while received < len(data):
            received += len(served.recv(1 << 16))
        took = time.monotonic() - before
    assert took < _BEFORE_DATA_AGAIN, f"data was sent again: it took {took:.2f} s"
    router.learned(2)
    assert router.state()["counters"][NODE]["dropped"] == 0


def test_a_link_that_was_down_is_told_anew(router: Router) -> None:
    """A kernel forgets its entries with the link, FreeBSD's table does not: the kernel's question brings it back."""
    client, served = router.connect()
    client.close()
    served.close()
    router.learned(1)
    router.wires.call("link", host="router", network="servers", up=False, where="host")
    assert NODE not in router.neighbours()
    router.wires.call("link", host="router", network="servers", up=True, where="host")
    client, served = router.connect()
    client.close()
    served.close()
    until("the entry to be back", lambda: router.neighbours()[NODE].state, lambda s: s == "PERMANENT", within=2)
    router.learned(1)  # the entry was there all the time


def test_a_daemon_that_is_started_again_begins_with_an_empty_table(router: Router) -> None:
    client, served = router.connect()
    client.close()
    served.close()
    router.learned(1)
    router.wires.call("signal", name=DAEMON, signal=int(signal.SIGKILL))
    router.wires.call("wait_ended", name=DAEMON, within=5)
    assert router.neighbours()[NODE].state == "PERMANENT", "what a killed daemon leaves"
    router.wires.call("start", name=DAEMON)
    assert NODE not in router.neighbours()
    client, served = router.connect()
    client.close()
    served.close()
    router.learned(1)


def test_the_kernels_own_neighbours_are_left_alone(beside: Router) -> None:
    client, served = beside.connect()
    client.close()
    served.close()
    entry = beside.neighbours()[NODE]
    assert entry.mac is not None
    assert entry.state in ("REACHABLE", "DELAY", "STALE")
    assert NODE not in beside.state()["counters"]


def test_senders_are_told_and_the_router_itself_is_too(beside: Router) -> None:
    """ICMP host unreachable, after five questions, to whoever sends: a client, or a process of the router's."""
    for host in ("client", "router"):
        with beside.wires.socket(host) as sender:
            sender.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            sender.connect((NOBODY, 9))

            def told(sender: socket.socket = sender) -> int:
                try:
                    sender.send(b"?")
                except OSError as error:
                    return error.errno or 0
                return 0

            assert until(f"{host} to be told", told, within=5) == errno.EHOSTUNREACH
        assert beside.state()["counters"][NOBODY]["requests"] >= 5
        beside.delete()
    with pytest.raises(LabError, match="is not state or delete"):
        control.ask(beside._socket, "nonsense")
