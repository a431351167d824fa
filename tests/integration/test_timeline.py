"""A real small lab and what its timeline says of it: every source, its stamps, its gaps, its price."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backends.netns.plan import RECORDER
from harness.errors import LblabError, MissingCapability
from harness.lab import Lab, open_lab
from harness.routing.daemons import installed
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
    if not installed().bmp:
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


def test_stamps_of_the_kernel_are_as_exact_as_they_say(small: Lab) -> None:
    """A link that is set down and up by netlink requests, which bracket what happens: 20 times each."""
    delays = []
    for round_ in range(40):
        up = bool(round_ % 2)
        asked = time.monotonic_ns()
        done = small.backend.set_link("client", "lan", up)
        kind = event.LINK_UP if up else event.LINK_DOWN
        found = small.timeline.wait(kind, within=5, after_ns=asked, subject="client")
        assert found.at_ns - found.resolution_ns <= done.at_ns, "the event was later than its stamp allows"
        delays.append((found.at_ns - (done.at_ns - done.resolution_ns)) / MS)
    delays.sort()
    print(f"netlink stamp minus the start of the request: median {delays[20]:.3f} ms, worst {delays[-1]:.3f} ms")
    assert delays[20] < 5


def test_routes_that_the_kernel_drops_in_silence_are_missed_too(small: Lab) -> None:
    """With its link goes every IPv4 route over it, which the kernel does not announce."""
    prefix = small.service("web").prefix
    asked = time.monotonic_ns()
    small.backend.set_link("opnsense", "servers", False)
    try:
        down = small.timeline.wait(event.LINK_DOWN, within=5, after_ns=asked, subject="opnsense", device="vlan0130")
        gone = small.timeline.wait(event.FIB_DELETE, within=5, after_ns=asked, prefix="192.168.130.0/24")
        small.timeline.wait(event.FIB_DELETE, within=5, after_ns=asked, prefix=prefix)
    finally:
        small.backend.set_link("opnsense", "servers", True)
    assert gone.source.endswith("(read again)")
    assert gone.at_ns - gone.resolution_ns <= down.at_ns + MS


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
    small.backend.start(RECORDER)
    assert not small.timeline.events(begin).of(event.BLIND, source="recorder")
    again = time.monotonic_ns()
    small.backend.set_link("client", "lan", False)
    small.backend.set_link("client", "lan", True)
    small.timeline.wait(event.LINK_UP, within=5, after_ns=again, subject="client")


def test_waiting_for_what_does_not_come_says_what_came(small: Lab) -> None:
    with pytest.raises(LblabError, match=r"waited 0.05 s for fault, subject nobody; seen .*nothing"):
        small.timeline.wait(event.FAULT, within=0.05, after_ns=time.monotonic_ns(), subject="nobody")
