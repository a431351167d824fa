"""Linux against FreeBSD: which ARP frame changes a router's entry (shared/facts/l2_and_lag.md 2.2).

Each row is its own control: what one router takes the other refuses, or the same frame is taken at another age.
"""

from __future__ import annotations

import errno
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from harness.arp.frame import ArpFrame, Operation, metallb_gratuitous, rfc_gratuitous_reply, unicast_reply
from harness.arp.router_arp import FreebsdArp
from harness.arp.wire import Wire
from harness.errors import Untrusted
from harness.lab import Lab
from harness.wait import let_pass, steady, until

pytestmark = [pytest.mark.lab(topology="router-arp")]

ROUTERS = ("freebsd", "linux")
#: Addresses of no service, one for each row: an address that a row has used has a past in both routers.
_UNUSED = itertools.count(200)
#: Linux takes no change but a gratuitous one for a second after an entry's last update (locktime, facts 2.2).
_LOCKTIME_NS, _PAST_LOCKTIME = 1_000_000_000, 1.3
#: <linux/in.h>: errors of sent packets are reported.
_IP_RECVERR = 11
#: Seconds in which a frame that is ignored would have been taken: it takes a millisecond.
_TAKEN_WITHIN = 0.3


@dataclass(frozen=True)
class Row:
    """A frame of worker2's against an entry that says worker1, and whether a Linux router takes it."""

    name: str
    frame: Callable[[str, str, str, str], ArpFrame]
    young: bool
    linux_takes_it: bool


def _rows() -> Iterator[Row]:
    frames: dict[str, tuple[Callable[[str, str, str, str], ArpFrame], bool]] = {
        "metallb-garp-reply": (lambda mac, address, *_: metallb_gratuitous("reply", mac, address), False),
        "rfc-garp-reply": (lambda mac, address, *_: rfc_gratuitous_reply(mac, address), True),
        "metallb-garp-request": (lambda mac, address, *_: metallb_gratuitous("request", mac, address), True),
        "unicast-reply": (unicast_reply, False),
    }
    for name, (frame, within_locktime) in frames.items():
        yield Row(name, frame, young=True, linux_takes_it=within_locktime)
        yield Row(name, frame, young=False, linux_takes_it=True)


@pytest.fixture
def address(lab: Lab) -> Iterator[str]:
    """An address that nobody has; what arrives for it ends on the nodes, which would ask for it themselves."""
    found = f"192.168.130.{next(_UNUSED)}"
    rules = f"chain into {{ type filter hook prerouting priority -400; ip daddr {found} drop; }};"
    for node in lab.nodes:
        lab.backend.set_filter(node, "unused", rules)
    yield found
    for node in lab.nodes:
        lab.backend.set_filter(node, "unused", None)


def packets(lab: Lab, address: str, number: int = 1) -> None:
    """Datagrams for an address through each router, which has to resolve it."""
    for router in ROUTERS:
        with lab.backend.socket(f"client-{router}", socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(number):
                sender.sendto(b"?", (address, 9))


def holder(lab: Lab, router: str, address: str) -> str | None:
    """The host that a router's entry leads to; None without an entry, or while it is not resolved."""
    entry = lab.router(router).arp.entry(address)
    return entry.host if entry is not None else None


def learn(lab: Lab, address: str) -> int:
    """Let both routers resolve an address to worker1; gives when the first packet was sent."""
    with lab.node("worker1").announcer as announcer:
        announcer.announce(address, gratuitous=False)
        begun = time.monotonic_ns()
        packets(lab, address)
        for router in ROUTERS:
            until(
                f"{router} to have {address} at worker1",
                partial(holder, lab, router, address),
                lambda host: host == "worker1",
                within=2,
            )
    return begun


def tell_routers(lab: Lab, frame: Callable[[str, str, str, str], ArpFrame], address: str) -> int:
    """Send a frame of worker2's for each router; gives when the last one was on the wire."""
    with Wire(lab.backend, "worker2") as wire:
        targets = []
        for router in ROUTERS:
            interface = lab.topology.routers[router].interfaces["servers"]
            with Wire(lab.backend, router, interface.device) as port:
                targets.append((port.mac, str(interface.address[0])))
        return [wire.send(frame(wire.mac, address, *target)) for target in targets][-1]


@pytest.mark.parametrize("row", list(_rows()), ids=lambda row: f"{row.name}-{'young' if row.young else 'old'}")
def test_a_frame_against_an_entry(lab: Lab, address: str, row: Row) -> None:
    """FreeBSD takes every frame at once; a Linux entry younger than a second only what it calls gratuitous."""
    learned_ns = learn(lab, address)
    if not row.young:
        let_pass(_PAST_LOCKTIME)
    sent_ns = tell_routers(lab, row.frame, address)
    if row.young and sent_ns - learned_ns >= _LOCKTIME_NS:
        raise Untrusted(f"the machine was busy: the frame came {(sent_ns - learned_ns) / 1e9:.2f} s after the entry")
    at = {router: partial(holder, lab, router, address) for router in ROUTERS}
    until("freebsd to take it", at["freebsd"], lambda host: host == "worker2", within=1)
    assert lab.router("freebsd").arp.moves(address) == 1
    assert f"arp: {address} moved from " in lab.router("freebsd").daemon("arp-freebsd").log()
    if row.linux_takes_it:
        until("linux to take it", at["linux"], lambda host: host == "worker2", within=1)
        assert lab.router("linux").arp.moves(address) == 1
    else:
        steady("the Linux entry", at["linux"], lambda host: host == "worker1", window=_TAKEN_WITHIN)


@pytest.mark.parametrize("operation", ["request", "reply"])
def test_gratuitous_arp_creates_no_entry(lab: Lab, address: str, operation: Operation) -> None:
    """Neither router learns an address from a gratuitous ARP; both do from an answer to their own question."""
    tell_routers(lab, lambda mac, wanted, *_: metallb_gratuitous(operation, mac, wanted), address)
    arp = lab.router("freebsd").arp
    assert isinstance(arp, FreebsdArp)
    until(  # one was sent for each router, and both are broadcast
        "freebsd to have heard of it", lambda: arp.counters(address).ignored, lambda number: number == 2, within=1
    )
    for router in ROUTERS:
        steady(
            f"{router} without an entry",
            partial(lab.router(router).arp.entry, address),
            lambda entry: entry is None,
            window=_TAKEN_WITHIN,
        )
    learn(lab, address)


@pytest.mark.parametrize(("first", "last"), [("worker1", "worker2"), ("worker2", "worker1")])
def test_two_replies_to_one_request(lab: Lab, address: str, first: str, last: str) -> None:
    """Two announcers, one of them 2 ms slower: Linux keeps the first answer, FreeBSD the last."""
    with lab.node(first).announcer as quick, lab.node(last).announcer as slow:
        for announcer in (quick, slow):
            announcer.announce(address, gratuitous=False)
        slow.delay(address, 0.002)
        packets(lab, address)
        arp = lab.router("freebsd").arp
        until("freebsd to be told twice", partial(arp.moves, address), lambda moves: moves == 1, within=2)
        at = {router: partial(holder, lab, router, address) for router in ROUTERS}
        until("linux to have an answer", at["linux"], lambda host: host is not None, within=2)
        until(  # the slower one's second answer may still be on its way
            "both announcers to have answered both routers",
            lambda: [announcer.addresses()[address].answered for announcer in (quick, slow)],
            lambda answered: answered == [2, 2],
            within=2,
        )
        steady("the Linux entry", at["linux"], lambda host: host == first, window=_TAKEN_WITHIN)
        assert at["freebsd"]() == last


def test_nobody_answers(lab: Lab, address: str) -> None:
    """FreeBSD asks once a second for as long as traffic lasts and tells senders after five questions; both recover.

    The control is the answer at the end: the same packets arrive when somebody has the address.
    """
    second = lab.topology.time_scale
    arp = lab.router("freebsd").arp
    assert isinstance(arp, FreebsdArp)
    with lab.backend.socket("client-freebsd", socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        sender.connect((address, 9))

        sent: list[float] = []  # at least one of FreeBSD's seconds apart, so each asks again

        def refused() -> bool:
            try:
                sender.send(b"?")
                if not sent or time.monotonic() - sent[-1] >= second:
                    sent.append(time.monotonic())
            except OSError as error:
                if error.errno != errno.EHOSTUNREACH:
                    raise
                return True
            return False

        begun = time.monotonic()
        until("the sender to be told", refused, within=5, every=second / 10)
        told = time.monotonic() - begun
        # the first question is asked at once, the fifth when the fourth second of the uptime after it begins
        assert told > 3 * second, f"told after {told / second:.1f} of FreeBSD's seconds"
        asked, begun = arp.counters(address).requests, time.monotonic()
        sent.clear()
        until(
            "packets for 20 s", refused, lambda _: time.monotonic() - begun > 20 * second, within=5, every=second / 10
        )
        more, passed = arp.counters(address).requests - asked, time.monotonic() - begun
        # on a busy machine the daemon may get packets of two seconds at once
        assert 0.8 * len(sent) <= more <= passed / second + 1, f"{more} questions in {passed / second:.1f} seconds"
        assert len(sent) > 5, "there was no traffic that could have asked"
        entry = arp.entry(address)
        assert entry is not None
        assert entry.state == "INCOMPLETE"
        with lab.node("worker1").announcer as announcer:
            announcer.announce(address, gratuitous=False)
            until(
                "freebsd to learn it from an answer",
                lambda: (refused(), holder(lab, "freebsd", address))[1],
                lambda host: host == "worker1",
                within=2,
                every=second / 10,
            )
    print(f"told after {told / second:.2f} s, {more} questions in the next {passed / second:.2f} s (FreeBSD's)")
