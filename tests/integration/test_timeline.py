"""A real small lab and what its timeline says of it: every source, its stamps, its gaps, its price."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_DELADDR, RTM_GETLINK, RTM_NEWADDR
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from harness.backends.netns.plan_timeline import RECORDER
from harness.bringup import open_lab
from harness.errors import LblabError, MissingCapability
from harness.lab import Lab
from harness.routing import daemons, kernel
from harness.timeline import event
from harness.wait import until

ROOT = Path(__file__).parents[2]
MS = 1_000_000
PREFIX_KINDS = (event.FIB_ADD, event.FIB_REPLACE, event.FIB_DELETE)

pytestmark = pytest.mark.skipif(os.environ.get("LBLAB_NO_LABS") == "1", reason="no labs are wanted here")


@pytest.fixture(scope="module")
def small() -> Iterator[Lab]:
    try:
        opened = open_lab(ROOT / "topologies" / "small.yaml", name=f"timeline-{os.getpid()}")
    except MissingCapability as error:
        pytest.skip(str(error))
    with opened:
        opened.mark_clean()
        yield opened
    assert not opened.backend.folder.exists()


@pytest.fixture(autouse=True)
def _clean(small: Lab) -> Iterator[None]:
    yield
    small.reset()


def needs_bmp() -> None:
    if not daemons.installed().bmp:
        pytest.skip("this FRR has no BMP module")


def test_an_agents_death_and_return_from_every_side(small: Lab) -> None:
    """SIGKILL: the process ends, the session goes, the path is stale; the new agent's OPEN says so, and it is fresh."""
    needs_bmp()
    prefix = small.service("web").prefix
    before = time.monotonic_ns()
    killed_at = small.node("worker1").agent.kill()
    after = time.monotonic_ns()
    ended = small.timeline.wait(event.ENDED, within=5, after_ns=before, subject="worker1/cilium-agent")
    assert before < ended.at_ns <= after
    assert ended.at_ns == killed_at
    assert ended.data["exit_code"] == -signal.SIGKILL

    down = small.timeline.wait(event.PEER_DOWN, within=5, after_ns=before, peer_name="worker1")
    assert down.subject == "opnsense"
    assert "code" not in down.data, "a killed process sends no NOTIFICATION"
    stale = small.timeline.wait(event.STALE, within=5, after_ns=before, peer_name="worker1", prefix=prefix)
    assert abs(stale.at_ns - down.at_ns) < 200 * MS

    started_at = small.node("worker1").agent.start()
    started = small.timeline.wait(event.STARTED, within=5, after_ns=ended.at_ns, subject="worker1/cilium-agent")
    assert started.at_ns == started_at
    up = small.timeline.wait(event.PEER_UP, within=20, after_ns=started_at, peer_name="worker1")
    opened = small.timeline.events(started_at).first(event.OPEN, direction="received", peer_name="worker1")
    assert opened is not None
    graceful = opened.data["graceful_restart"]
    assert (graceful["r_bit"], graceful["n_bit"]) == (True, True)
    small.timeline.wait(event.END_OF_RIB, within=5, after_ns=up.at_ns, peer_name="worker1")
    fresh = small.timeline.wait(event.FRESH, within=5, after_ns=up.at_ns, peer_name="worker1", prefix=prefix)
    happened = small.timeline.events(before, fresh.at_ns)
    order = [e.kind for e in happened if e.is_a("process", "bgp") and e.data.get("peer_name") in (None, "worker1")]
    # the kernel closes the sockets of a dying process before its parent is told of the end
    assert order.index(event.SIGNALLED) < order.index(event.PEER_DOWN) < order.index(event.STARTED)
    # graceful restart: the kernel's route was never touched
    assert not happened.of(*PREFIX_KINDS, prefix=prefix)


def test_a_withdrawal_reaches_the_kernel_in_order(small: Lab) -> None:
    """A node loses its label: the peer goes, and then its next hop in the kernel."""
    needs_bmp()
    prefix = small.service("web").prefix
    begin = time.monotonic_ns()
    small.node("worker2").remove_label("io.cilium/bgp")
    labelled = small.timeline.wait(event.NODE, within=5, after_ns=begin, subject="worker2")
    assert "labels without io.cilium/bgp" in labelled.text
    down = small.timeline.wait(event.PEER_DOWN, within=20, after_ns=begin, peer_name="worker2")
    replaced = small.timeline.wait(event.FIB_REPLACE, within=20, after_ns=begin, prefix=prefix)
    assert replaced.data["before"] is not None
    assert set(replaced.data["next_hops"]) == {"192.168.130.151"}
    assert down.at_ns - down.resolution_ns <= replaced.at_ns


class Addresses:
    """Adds an address to a client and removes it, each by one netlink request."""

    def __init__(self, lab: Lab) -> None:
        self._socket = lab.backend.socket("client", socket.AF_NETLINK, socket.SOCK_RAW)
        self._socket.settimeout(5)
        links = kernel.dump(self._socket, ifinfmsg(), RTM_GETLINK, socket.AF_UNSPEC)
        [self._index] = [link["index"] for link in links if link.get_attr("IFLA_IFNAME") == "eth0"]

    def change(self, add: bool) -> tuple[int, int]:
        """Gives the clock before the request, and after the kernel has carried it out."""
        request = ifaddrmsg()
        request["family"], request["prefixlen"], request["index"] = socket.AF_INET, 32, self._index
        request["attrs"] = [("IFA_LOCAL", "203.0.113.7"), ("IFA_ADDRESS", "203.0.113.7")]
        request["header"]["type"] = RTM_NEWADDR if add else RTM_DELADDR
        request["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | (NLM_F_CREATE if add else 0)
        request.encode()
        before = time.monotonic_ns()
        self._socket.send(request.data)
        after = time.monotonic_ns()
        assert int.from_bytes(self._socket.recv(4096)[16:20], "little", signed=True) == 0, "the kernel refused"
        return before, after

    def close(self) -> None:
        self._socket.close()


@pytest.mark.timing
def test_stamps_of_the_kernel_are_as_exact_as_they_say(small: Lab) -> None:
    """Requests whose two clock readings bracket what happens: a stamp's interval must reach into theirs.

    A virtual core that its hypervisor does not run is late without knowing it: one stamp in fifty is forgiven that, and
    no more than 20 ms.
    """
    addresses = Addresses(small)
    delays, claims, wrong = [], [], []
    try:
        for number in range(200):
            add = number % 2 == 0
            before, after = addresses.change(add)
            kind = event.ADDRESS_ADD if add else event.ADDRESS_DELETE
            found = small.timeline.wait(kind, within=5, after_ns=before, subject="client")
            assert before <= found.at_ns
            wrong.append((found.at_ns - found.resolution_ns - after) / MS)
            delays.append((found.at_ns - before) / MS)
            claims.append(found.resolution_ns / MS)
    finally:
        addresses.close()
    delays.sort()
    claims.sort()
    wrong.sort()
    print(f"rtnetlink stamp behind the request: median {delays[100]:.3f} ms, p99 {delays[198]:.3f} ms")
    print(f"stated resolution: median {claims[100]:.3f} ms, p99 {claims[198]:.3f} ms")
    assert claims[100] < 1
    assert wrong[195] <= 0, "more than one in fifty was earlier than its stamp allows"
    assert wrong[-1] <= 20


@pytest.mark.timing
def test_routes_that_the_kernel_drops_in_silence_are_missed_too(small: Lab) -> None:
    """With its link goes every IPv4 route over it, which the kernel does not announce."""
    prefix = small.service("web").prefix
    asked = time.monotonic_ns()
    small.backend.set_link("opnsense", "servers", False)
    done = time.monotonic_ns()  # the kernel tells of the link, drops the routes, and only then acknowledges
    try:
        small.timeline.wait(event.LINK_DOWN, within=5, after_ns=asked, subject="opnsense", device="vlan0130")
        gone = small.timeline.wait(event.FIB_DELETE, within=5, after_ns=asked, prefix="192.168.130.0/24")
        small.timeline.wait(event.FIB_DELETE, within=5, after_ns=asked, prefix=prefix)
    finally:
        small.backend.set_link("opnsense", "servers", True)
    assert gone.source.endswith("(read again)")
    assert gone.at_ns - gone.resolution_ns <= done


@pytest.mark.timing
def test_changes_of_kubernetes_objects_within_milliseconds(small: Lab) -> None:
    delays = []
    for round_ in range(20):
        policy = "Local" if round_ % 2 == 0 else "Cluster"
        before = time.monotonic_ns()
        small.cluster.patch("Service", "web", {"spec": {"externalTrafficPolicy": policy}})
        after = time.monotonic_ns()
        found = small.timeline.wait(event.SERVICE, within=5, after_ns=before, policy=policy)
        delays.append((found.at_ns - after) / MS)
    delays.sort()
    print(f"watch event minus the API server's answer: median {delays[10]:.3f} ms, worst {delays[-1]:.3f} ms")
    assert delays[10] < 10


def test_backends_that_are_no_longer_ready(small: Lab) -> None:
    begin = time.monotonic_ns()
    small.cluster.patch("Deployment", "web", {"spec": {"replicas": 1}})
    until(
        "one ready backend",
        lambda: [e.data["ready"] for e in small.timeline.events(begin).of(event.ENDPOINTS, service="default/web")],
        lambda seen: bool(seen) and sum(seen[-1].values()) == 1,
        within=20,
    )


def test_bgpd_that_is_killed_and_comes_back_leaves_a_stated_gap(small: Lab) -> None:
    needs_bmp()
    begin = time.monotonic_ns()
    small.backend.signal("opnsense/bgpd", signal.SIGKILL)
    small.backend.wait_ended("opnsense/bgpd", 5)
    small.backend.start("opnsense/bgpd")
    away = small.timeline.wait(event.SPEAKER_DOWN, within=5, after_ns=begin, subject="opnsense")
    blind = small.timeline.wait(event.BLIND, within=10, after_ns=begin, subject="opnsense")
    assert blind.data["from_ns"] == away.at_ns
    assert blind.data["to_ns"] == blind.at_ns
    small.timeline.wait(event.PEER_UP, within=30, after_ns=blind.at_ns, peer_name="worker1")


def test_an_api_server_that_is_away_leaves_a_stated_gap(small: Lab) -> None:
    begin = time.monotonic_ns()
    small.api_server.kill()
    small.api_server.start()
    small.cluster.wait_ready(within=60)
    blind = small.timeline.wait(event.BLIND, within=30, after_ns=begin, subject="kube-apiserver")
    assert blind.data["from_ns"] >= begin
    small.cluster.patch("Service", "web", {"spec": {"externalTrafficPolicy": "Local"}})
    small.timeline.wait(event.SERVICE, within=10, after_ns=blind.at_ns, policy="Local")


def cpu_ticks(small: Lab, pid: int) -> int:
    """CPU time of a process of the lab in ticks, from within its PID namespace."""
    said = small.backend.exec("fabric", ["cat", f"/proc/{pid}/stat"]).stdout
    fields = said.rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.timing
def test_the_recorder_takes_little_of_a_core(small: Lab) -> None:
    pid = small.backend.processes()[RECORDER].pid
    assert pid is not None
    start, ticks = time.monotonic(), cpu_ticks(small, pid)
    until("5 s to pass", lambda: time.monotonic() - start > 5, within=10, every=0.1)
    used = (cpu_ticks(small, pid) - ticks) / os.sysconf("SC_CLK_TCK")
    share = used / (time.monotonic() - start)
    print(f"the recorder took {share:.2%} of a core in a quiet lab")
    assert share <= 0.05


def test_a_recorder_that_is_gone_is_said_and_can_be_started_again(small: Lab) -> None:
    begin = time.monotonic_ns()
    small.backend.signal(RECORDER, signal.SIGKILL)
    small.backend.wait_ended(RECORDER, 5)
    blind = small.timeline.events(begin).of(event.BLIND, source="recorder")
    assert len(blind) == 1
    told = len(small.timeline.events().of(event.LOG))
    small.backend.start(RECORDER)
    assert len(small.timeline.events().of(event.LOG)) - told < 20, "old lines of logs were told again"
    assert not small.timeline.events(begin).of(event.BLIND, source="recorder")
    again = time.monotonic_ns()
    small.backend.set_link("client", "lan", False)
    small.backend.set_link("client", "lan", True)
    small.timeline.wait(event.LINK_UP, within=5, after_ns=again, subject="client")


def test_waiting_for_what_does_not_come_says_what_came(small: Lab) -> None:
    with pytest.raises(LblabError, match=r"waited 0.05 s for fault, subject nobody; seen .*nothing"):
        small.timeline.wait(event.FAULT, within=0.05, after_ns=time.monotonic_ns(), subject="nobody")


def test_an_frr_without_bmp_is_asked_instead(monkeypatch: pytest.MonkeyPatch, small: Lab) -> None:
    """The fallback: the same events, known within some 15 ms."""
    del small  # two labs at once are too much for a small machine; this one comes after its tests
    there = daemons.installed()
    monkeypatch.setattr(daemons, "installed", lambda: dataclasses.replace(there, bmp=False))
    with open_lab(ROOT / "topologies" / "small.yaml", name=f"polled-{os.getpid()}") as lab:
        prefix = lab.service("web").prefix
        killed = lab.node("worker1").agent.kill()
        down = lab.timeline.wait(event.PEER_DOWN, within=5, after_ns=killed - 1000 * MS, peer_name="worker1")
        assert down.source == "vty opnsense"
        assert down.resolution_ns < 500 * MS
        lab.timeline.wait(event.STALE, within=5, after_ns=killed - 1000 * MS, prefix=prefix)
        started = lab.node("worker1").agent.start()
        up = lab.timeline.wait(event.PEER_UP, within=20, after_ns=started, peer_name="worker1")
        opened = lab.timeline.events(started).first(event.OPEN, peer_name="worker1")
        assert opened is not None
        assert opened.data["graceful_restart"]["r_bit"]
        lab.timeline.wait(event.FRESH, within=5, after_ns=up.at_ns - up.resolution_ns, prefix=prefix)
