"""Cilium's own L2 announcer in a lab, and the stand-in for what it programs: what goes over the wire, and when."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from harness.arp.question import who_has
from harness.backends.netns import plan
from harness.backends.netns.wiring import CONTROL_PLANE
from harness.bringup import open_lab
from harness.cilium import semver
from harness.errors import MissingCapability
from harness.lab import Lab
from harness.timeline import event
from harness.topology import HOST_DEVICE
from harness.wait import until

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.environ.get("LBLAB_NO_LABS") == "1", reason="no labs are wanted here")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    try:
        opened = open_lab(ROOT / "topologies" / "cilium-l2.yaml", name=f"cilium-l2-{os.getpid()}", timers="quick")
    except MissingCapability as error:
        pytest.skip(str(error))
    with opened:
        opened.mark_clean()
        yield opened
    assert not opened.backend.folder.exists()


@pytest.fixture(autouse=True)
def _clean(lab: Lab) -> Iterator[None]:
    yield
    lab.reset()


def asked(lab: Lab, address: str) -> list[tuple[str | None, float]]:
    """Who answers for an address, and after how many seconds."""
    answers = who_has(lab.backend, CONTROL_PLANE, HOST_DEVICE, address)
    return [(lab.l2.node_of(answer.mac), answer.after) for answer in answers]


def test_the_lab_says_what_it_is(lab: Lab) -> None:
    assert lab.quickened == ["L2 announcements: lease 15 -> 6 s, renew 5 -> 2 s, retry 2 -> 0.8 s"]
    status = lab.status()
    assert any("BPF program" in one for one in status.stand_ins)
    address = lab.service("cluster").address
    holder = lab.service("cluster").lease_holder()
    (owner,) = status.owners
    assert (owner.address, owner.announcer, owner.expected) == (address, "Cilium L2", holder)
    assert owner.routers == {"opnsense": holder}


def test_an_answer_takes_no_time_and_is_counted(lab: Lab) -> None:
    address = lab.service("cluster").address
    holder = lab.service("cluster").wait_lease_holder()
    before = sum(lab.backend.l2_responder(holder)["responses"])
    rounds = [asked(lab, address) for _ in range(5)]
    assert [[node for node, _ in one] for one in rounds] == [[holder]] * 5
    # the median: a busy machine may delay one
    assert sorted(after for one in rounds for _, after in one)[2] < 0.02
    assert sum(lab.backend.l2_responder(holder)["responses"]) >= before + 5


def test_a_move_is_one_gratuitous_arp_and_two_changes_of_the_lease(lab: Lab) -> None:
    address = lab.service("cluster").address
    holder = lab.service("cluster").wait_lease_holder()
    (other,) = {"worker1", "worker2"} - {holder}
    before = time.monotonic_ns()
    lab.node(holder).remove_label("announce")
    released = lab.timeline.wait(event.LEASE, within=10, after_ns=before, holder=None)
    taken = lab.timeline.wait(event.LEASE, within=10, after_ns=before, holder=other)
    heard = lab.timeline.wait(event.ARP_ANNOUNCED, within=10, after_ns=before, address=address)
    assert released.at_ns < taken.at_ns
    assert released.subject == "kube-system/cilium-l2announce-default-cluster"
    # up to 1.18 Cilium's pkg/datapath/garp sends a reply, since 1.19 pkg/datapath/gneigh a request
    operation = "request" if semver.parse(lab.cilium_version).line >= (1, 19) else "reply"
    assert (heard.data["node"], heard.data["operation"]) == (other, operation)
    until("the router to send there", lambda: lab.l2.ask(address), lambda node: node == other, within=5)
    lab.node(holder).add_label("announce", "l2")
    lab.service("cluster").wait_lease_holder(other)
    told = lab.timeline.events(before).of(event.ARP_ANNOUNCED, address=address)
    assert len(told) == 1, "Cilium does not repeat it"


def test_the_map_outlives_the_agent_and_its_answers_do_not_outlive_the_lease(lab: Lab) -> None:
    address = lab.service("cluster").address
    holder = lab.service("cluster").wait_lease_holder()
    (other,) = {"worker1", "worker2"} - {holder}
    lab.node(other).agent.kill()  # nobody takes over: what is seen is the responder's own doing
    lab.node(holder).agent.kill()
    killed = time.monotonic()
    assert [node for node, _ in asked(lab, address)] == [holder]
    lease = lab.topology.cilium.l2announcements.lease_duration
    until("it to fall silent", lambda: asked(lab, address), lambda answers: not answers, within=lease + 2)
    # the last sign of life was up to a second old (agent-liveness-update-interval)
    assert time.monotonic() - killed >= lease - 1.5
    state = lab.backend.l2_responder(holder)
    assert [entry["ip"] for entry in state["entries"]] == [address]
    assert not state["answers"]
    logged = lab.timeline.wait(event.LOG, within=5, subject=f"{holder}/l2-responder", level="warning")
    assert "No ARP is answered" in logged.text


def test_an_entry_that_an_agent_left_behind_is_gone_after_a_reset(lab: Lab) -> None:
    address = lab.service("cluster").address
    holder = lab.service("cluster").wait_lease_holder()
    (other,) = {"worker1", "worker2"} - {holder}
    until(f"{holder} to answer", partial(asked, lab, address), lambda seen: [n for n, _ in seen] == [holder], within=10)
    (entry,) = lab.backend.l2_responder(holder)["entries"]
    # what agents up to 1.19 leave in the map
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(plan.l2_responder_socket(lab.backend.folder, other)))
        connection.sendall(json.dumps({"op": "create", **entry, "gratuitous": "reply"}).encode() + b"\n")
        assert json.loads(connection.recv(4096)).get("error") is None
    assert {node for node, _ in asked(lab, address)} == {holder, other}
    assert f"took {address} out of the L2 responder's map of {other}" in lab.reset()
    assert {node for node, _ in asked(lab, address)} == {holder}
