"""Lblab's own announcer beside MetalLB's speaker: the same frames at the same times, from the same node."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.arp.frame import BROADCAST, ArpFrame, unicast_reply
from harness.arp.wire import Wire
from harness.lab import Lab
from harness.metallb.election import ranking
from harness.process import Process
from harness.wait import let_pass, until

TOPOLOGY = "metallb-l2"
_THERE = (Path(__file__).parents[2] / "topologies" / f"{TOPOLOGY}.yaml").exists()
pytestmark = [
    pytest.mark.lab(topology=TOPOLOGY if _THERE else "router-arp"),
    pytest.mark.skipif(not _THERE, reason="no MetalLB speaker to compare with: lblab does not run MetalLB yet"),
]

#: An address that nobody else has.
FREE = "192.168.130.250"
#: Seconds after the first frame (MetalLB, internal/layer2/announcer.go).
TIMES = (0.0, 0.0, 1.1, 1.1, 2.2, 2.2, 3.3, 3.3, 4.4, 4.4)
TOLERANCE = 0.05
#: Longer than a series of announcements, and than MetalLB takes to notice that a speaker has left.
LISTEN = 9.0


class Heard(NamedTuple):
    """A frame without its address and its sender, which differ."""

    after: float
    operation: str
    to: str
    target_mac: str
    own: bool


def series(lab: Lab, address: str, act: Callable[[], object]) -> tuple[str, list[Heard]]:
    """Do something, and listen on the router's wire to who announces an address: gives the MAC, and what it sent."""
    router = lab.router()
    device = next(link.device for link in lab.topology.links(router.name) if link.network == "servers")
    with Wire(lab.backend, router.name, device) as wire:
        act()
        frames = [(at, frame) for at, frame in wire.heard(LISTEN) if frame.sender == address == frame.target]
    assert frames, f"nobody announced {address}"
    first = frames[0][0]
    macs = {frame.sender_mac for _, frame in frames}
    assert len(macs) == 1, f"several nodes announced {address}: {macs}"
    return macs.pop(), [_heard(at - first, frame) for at, frame in frames]


def _heard(after_ns: int, frame: ArpFrame) -> Heard:
    return Heard(after_ns / 1e9, frame.operation, frame.to, frame.target_mac, frame.sender == frame.target)


@pytest.fixture
def speakers(lab: Lab) -> Iterator[dict[str, Process]]:
    """The speakers by their nodes; those that were stopped are started again."""
    table = lab.backend.processes()
    found = {node: Process(lab.backend, f"{node}/metallb-speaker") for node in lab.nodes}
    found = {node: process for node, process in found.items() if process.name in table}
    yield found
    for process in found.values():
        if not process.running:
            process.start()


def test_gratuitous_arp_is_metallbs(lab: Lab, speakers: dict[str, Process]) -> None:
    """Five rounds of a request and a reply, to everybody, the target's MAC broadcast, 1.1 s apart."""
    web = lab.service("web").address
    first, heir, *_ = ranking(web, speakers)
    let_pass(LISTEN)  # one ticker serves all series: one that is still going on would set the pace of this one
    mac, real = series(lab, web, speakers[first].stop)
    assert lab.backend.hosts_by_mac()[mac] == heir, "MetalLB elected another node than the formula"
    with lab.node(heir).announcer as announcer:
        own, ours = series(lab, FREE, partial(announcer.announce, FREE))
        announcer.withdraw(FREE)
    assert own == mac
    assert [frame[1:] for frame in ours] == [frame[1:] for frame in real]
    assert {(frame.to, frame.target_mac) for frame in real} == {(BROADCAST, BROADCAST)}
    for frames in (real, ours):
        assert [frame.after for frame in frames] == pytest.approx(TIMES, abs=TOLERANCE)


def test_replies_are_metallbs(lab: Lab, speakers: dict[str, Process]) -> None:
    """One unicast reply to the asker; none to a request for another node's MAC, and none to a reply."""
    web = lab.service("web").address
    node, *_ = ranking(web, speakers)
    router = lab.router()
    link = next(link for link in lab.topology.links(router.name) if link.network == "servers")
    own = str(link.addresses[0].ip)
    found: dict[str, list[list[ArpFrame]]] = {}
    with contextlib.ExitStack() as stack:
        announcer = stack.enter_context(lab.node(node).announcer)
        announcer.announce(FREE, gratuitous=False)
        wire = stack.enter_context(Wire(lab.backend, router.name, link.device))
        node_mac = next(mac for mac, host in lab.backend.hosts_by_mac().items() if host == node)
        for address in (web, FREE):
            asks = [
                ArpFrame("request", wire.mac, own, "00:00:00:00:00:00", address),
                ArpFrame("request", wire.mac, own, "00:00:00:00:00:00", address, to=node_mac),
                ArpFrame("request", wire.mac, own, "00:00:00:00:00:00", address, to="02:00:00:00:00:99"),
                unicast_reply(wire.mac, own, node_mac, address),
            ]
            found[address] = [_answers(wire, ask, address) for ask in asks]
    for address, answers in found.items():
        wanted = ArpFrame("reply", node_mac, address, wire.mac, own, to=wire.mac)
        assert answers == [[wanted], [wanted], [], []], f"{address} was answered for otherwise"


def _answers(wire: Wire, ask: ArpFrame, address: str) -> list[ArpFrame]:
    wire.send(ask)
    # rounds of gratuitous ARP may still be going on
    return [frame for _, frame in wire.heard(0.3) if frame.sender == address != frame.target]


def test_the_leader_is_metallbs(lab: Lab, speakers: dict[str, Process]) -> None:
    """Announcers that are told the members elect the node that MetalLB's speakers elect for the same address."""
    web = lab.service("web").address
    holder = partial(lambda: lab.router().arp.entry(web))
    lab.client().http(lab.service("web").url())
    seen = until(
        "the router to know the address", holder, lambda entry: entry is not None and bool(entry.mac), within=5
    )
    assert seen is not None
    with contextlib.ExitStack() as stack:
        announcers = [stack.enter_context(lab.node(node).announcer) for node in speakers]
        for announcer in announcers:
            announcer.elect(speakers, [web])
        active = [announcer.node for announcer in announcers if announcer.addresses()[web].active]
        for announcer in announcers:
            announcer.withdraw(web)
    assert active == [seen.host]
