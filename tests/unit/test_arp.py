"""Frames, the election, a router's ARP as its daemon tells it, and the plan of a lab that has it."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.arp.announcer import Announcer
from harness.arp.frame import BROADCAST, ArpFrame, metallb_gratuitous, rfc_gratuitous_reply, unicast_reply
from harness.arp.router_arp import ArpCounters, ArpEntry, FreebsdArp, LinuxArp
from harness.backends.base import Backend
from harness.backends.netns import plan_routers, wiring
from harness.backends.netns.backend import stand_ins
from harness.metallb.election import leader
from harness.routing.kernel import Neighbour
from harness.timeline import arplog, event, journal
from harness.timeline.clock import WallClock
from harness.timeline.event import Event
from harness.timeline.logs import LogFile
from harness.timeline.names import Names
from harness.topology import load

TOPOLOGY = load(Path(__file__).parents[2] / "topologies" / "router-arp.yaml")
WORKER1, WORKER2 = "02:00:00:00:00:51", "02:00:00:00:00:52"
NAMES = {WORKER1: "worker1", WORKER2: "worker2"}
VIP = "192.168.130.100"


def test_a_frame_is_read_and_written_as_it_is_on_the_wire() -> None:
    frame = metallb_gratuitous("request", WORKER1, VIP)
    wire = bytes.fromhex(
        "ffffffffffff020000000051" "0806" "0001080006040001" "020000000051c0a88264" "ffffffffffffc0a88264"
    )  # fmt: skip
    assert frame.packed() == wire
    assert ArpFrame.parse(wire + bytes(18)) == frame
    assert ArpFrame.parse(wire[:-1]) is None
    assert ArpFrame.parse(wire.replace(b"\x08\x06", b"\x08\x00", 1)) is None


def test_gratuitous_replies_differ_in_their_target() -> None:
    assert metallb_gratuitous("reply", WORKER1, VIP).target_mac == BROADCAST
    assert rfc_gratuitous_reply(WORKER1, VIP).target_mac == WORKER1
    reply = unicast_reply(WORKER1, VIP, "02:00:00:00:00:01", "192.168.130.1")
    assert (reply.to, reply.target) == ("02:00:00:00:00:01", "192.168.130.1")


def test_the_leader_is_the_one_that_the_go_program_elects() -> None:
    """The same table stands in announce_test.go, which the announcer is tested with."""
    nodes = ["k-node1", "k-node2", "k-node5", "k-beef1"]
    go = Path(wiring.__file__).parents[2] / "binaries/go/lablet/internal/announce/announce_test.go"
    rows = [line.split('"') for line in go.read_text().splitlines() if line.startswith('\t"192.168.')]
    assert len(rows) == 4
    assert {row[1]: leader(row[1], nodes) for row in rows} == {row[1]: row[3] for row in rows}


# -- the timeline ----------------------------------------------------------------------------------------------------


def told(**fields: Any) -> Event | None:
    line = json.dumps({"now_ns": 7, "address": VIP, "interface": "vlan0130", **fields}, separators=(",", ":"))
    return arplog.parse(line, "freebsd/arp-freebsd", Names(NAMES))


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"event": "incomplete"}, event.ARP_ASKED, f"freebsd asks for {VIP}"),
        ({"event": "learned", "mac": WORKER1}, event.ARP_LEARNED, f"freebsd learns that {VIP} is at worker1"),
        (
            {"event": "moved", "mac": WORKER2, "before": WORKER1},
            event.ARP_MOVED,
            f"freebsd: {VIP} moved from worker1 to worker2",
        ),
        (
            {"event": "verify_request", "mac": WORKER1, "try": 3},
            event.ARP_VERIFY,
            f"freebsd asks again for {VIP} at worker1 (3 of 5)",
        ),
        ({"event": "expired", "before": "02:9"}, event.ARP_EXPIRED, f"freebsd forgets {VIP}, which was at 02:9"),
    ],
)
def test_what_the_daemon_logs_is_an_event(fields: dict[str, Any], kind: str, text: str) -> None:
    found = told(**fields)
    assert found is not None
    assert (found.at_ns, found.source, found.subject) == (7, "arp freebsd", "freebsd")
    assert (found.kind, found.text) == (kind, text)


@pytest.mark.parametrize(
    "line",
    [
        "arp: 192.168.130.100 moved from a to b on igb0",
        '{"now_ns":7}',
        '{"now_ns":7,"event":"other"}',
        '{"now_ns":',
        '{"now_ns":7,"event":"moved","address":"192.168.130.100"}',
    ],
)
def test_other_lines_are_none(line: str) -> None:
    assert arplog.parse(line, "freebsd/arp-freebsd", Names({})) is None


# -- a router's table ------------------------------------------------------------------------------------------------


class Daemon:
    """Answers on a UNIX socket what it was told to, and remembers what it was asked."""

    def __init__(self, path: Path, answer: dict[str, Any]) -> None:
        self.asked: list[str] = []
        self._answer = json.dumps(answer).encode() + b"\n"
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                self.asked.append(lines.readline().decode().strip())
                connection.sendall(self._answer)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def path() -> Iterator[Path]:
    """A short path: those of UNIX sockets are limited."""
    with tempfile.TemporaryDirectory(prefix="lblab-", dir="/tmp") as folder:
        yield Path(folder)


def backend(folder: Path) -> Backend:
    return cast(
        Backend,
        SimpleNamespace(
            folder=folder,
            arp_socket=lambda _: folder / "arp.sock",
            announcer_socket=lambda _: folder / "announce.sock",
            hosts_by_mac=lambda: NAMES,
        ),
    )


def test_a_freebsd_router_is_asked_on_its_socket(path: Path) -> None:
    entry = {"interface": "vlan0130", "state": "VERIFY", "mac": WORKER1, "heard_ns": 9, "asked": 0, "held": 0}
    counters = {
        **dict.fromkeys(("requests", "learned", "timeouts", "unreachable", "dropped", "ignored"), 1),
        "heard": {WORKER1: 3, WORKER2: 1},
        "replies": {WORKER1: 2},
        "moves": 4,
        "expiries": 5,
    }
    daemon = Daemon(path / "arp.sock", {"now_ns": 1, "entries": {VIP: entry}, "counters": {VIP: counters}})
    table = FreebsdArp(backend(path), "freebsd")
    assert table.entry(VIP) == ArpEntry(VIP, "VERIFY", WORKER1, "worker1", 9)
    assert table.entry("192.168.130.101") is None
    assert (table.moves(VIP), table.expiries(VIP)) == (4, 5)
    assert table.counters(VIP).heard == {"worker1": 3, "worker2": 1}
    assert table.counters("192.168.130.101") == ArpCounters(heard={}, replies={})
    assert set(daemon.asked) == {"state"}
    daemon.close()


def test_a_linux_router_is_read_from_its_kernel_and_the_timeline(path: Path) -> None:
    table = {VIP: Neighbour(VIP, WORKER2, "REACHABLE"), "192.168.130.101": Neighbour("192.168.130.101", None, "FAILED")}
    router = LinuxArp(backend(path), "linux", lambda: table)
    assert router.entry(VIP) == ArpEntry(VIP, "REACHABLE", WORKER2, "worker2")
    assert router.entry("192.168.130.101") == ArpEntry("192.168.130.101", "FAILED", None, None)
    steps: list[tuple[str | None, str | None, str | None]] = [
        (None, WORKER1, "REACHABLE"),
        (WORKER1, WORKER1, "STALE"),
        (WORKER1, WORKER2, "STALE"),
    ]
    steps += [(WORKER2, WORKER2, "PROBE"), (WORKER2, None, "FAILED"), (WORKER1, None, None)]
    writer = journal.Journal(path / journal.FILE)
    for number, (before, mac, state) in enumerate(steps):
        data = {"address": VIP, "mac": mac, "state": state, "before": {"mac": before, "state": "x"} if before else None}
        writer.write(Event(number, "rtnetlink linux", event.NEIGHBOUR, "linux", "", 0, data))
    writer.close()
    assert (router.moves(VIP), router.expiries(VIP)) == (1, 2)


def test_the_announcer_is_told_in_its_words(path: Path) -> None:
    daemon = Daemon(path / "announce.sock", {"now_ns": 42})
    announcer = Announcer(backend(path), "worker1")
    assert announcer.announce(VIP) == 42
    announcer.announce(VIP, gratuitous=False)
    announcer.delay(VIP, 0.002)
    announcer.stall(1, 0.25)
    announcer.elect(["worker1", "worker2"], [VIP])
    assert daemon.asked == [
        f"announce {VIP}",
        f"quiet {VIP}",
        f"delay {VIP} 2000000ns",
        "stall 1000000000ns 250000000ns",
        f"elect worker1,worker2 {VIP}",
    ]
    daemon.close()


# -- the plan --------------------------------------------------------------------------------------------------------


def test_only_a_router_with_freebsds_arp_has_the_daemon(tmp_path: Path) -> None:
    processes = {one.name: one for one in plan_routers.arp(TOPOLOGY, Path("/lablet"), tmp_path)}
    assert set(processes) == {"freebsd/arp-freebsd", "worker1/announce", "worker2/announce"}
    argv = processes["freebsd/arp-freebsd"].argv
    assert argv[:3] == ("/lablet", "arp-freebsd", "--time-scale=0.02")
    assert "--on=vlan0130=192.168.130.0/24" in argv
    (except_,) = [each for each in argv if each.startswith("--except=")]
    assert set(except_.removeprefix("--except=").split(",")) == {
        f"192.168.130.{number}" for number in (1, 2, 150, 151, 152)
    }
    assert not any("igb1" in each for each in argv), "no node is in the clients' network"
    assert processes["worker1/announce"].at_boot is False


def test_every_mac_has_its_host() -> None:
    macs = wiring.hosts_by_mac(TOPOLOGY)
    assert sorted(macs.values()) == sorted([*TOPOLOGY.routers] * 2 + [*TOPOLOGY.nodes, *TOPOLOGY.clients])
    ports = {port.mac: port.namespace for port in wiring.interfaces(TOPOLOGY)}
    assert macs.items() <= ports.items()


def test_the_stand_in_is_named() -> None:
    named = stand_ins(TOPOLOGY)
    assert "lblab's ARP daemon stands in for FreeBSD's on freebsd" in named
    assert named[-1].endswith("scaled by 0.02")
    small = stand_ins(load(Path(__file__).parents[2] / "topologies" / "small.yaml"))
    assert not any("ARP" in each for each in small)


def test_freebsds_own_lines_are_no_second_event(tmp_path: Path) -> None:
    line = json.dumps({"now_ns": 7, "event": "moved", "address": VIP, "mac": WORKER2, "before": WORKER1})
    text = f"arp: {VIP} moved from {WORKER1} to {WORKER2} on vlan0130\n{line.replace(': ', ':')}\n"
    (tmp_path / "log").write_text(text)
    log = LogFile(tmp_path / "log", "freebsd/arp-freebsd", WallClock(), Names(NAMES))
    assert [each.kind for each in log.read(0)] == [event.ARP_MOVED]
