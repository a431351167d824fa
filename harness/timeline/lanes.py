"""How events are grouped where they are shown, and which of them are details."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.timeline import event
from harness.timeline.event import Event

#: Groups from cause to effect, by the group of an event's kind.
LANES = {
    "fault": "fault",
    "probe": "traffic",
    "process": "process",
    "link": "link",
    "address": "link",
    "bgp": "BGP",
    "fib": "FIB",
    "neighbour": "ARP/NDP",
    "arp": "ARP/NDP",
    "announcer": "ARP/NDP",
    "k8s": "Kubernetes",
    "log": "log",
    "blind": "blind",
}
#: A neighbour's states that follow one another while it answers (RFC 4861 section 7.3.2).
_ALIVE = frozenset({"REACHABLE", "STALE", "DELAY", "PROBE", "PERMANENT"})
#: bgpd puts a route into its table at most so long before or after BMP has told of the peer's UPDATE.
_SAME_UPDATE_NS = 50_000_000
#: A fault that signals or starts a process is told of by whoever injects it and by the supervisor.
_SAME_SIGNAL_NS = 10_000_000
#: An announcement by ARP is made again and again: MetalLB's five times in 4.4 s (facts/l2_and_lag.md 1.2).
_ANNOUNCED_AGAIN_NS = 5_000_000_000
#: A line of a log that begins like one that came so shortly before says nothing new.
_REPEATED_NS, _OPENING = 1_000_000_000, 40


def lane(each: Event) -> str:
    """The group that an event is shown in."""
    return LANES.get(each.kind.partition(".")[0], each.kind)


def said(each: Event) -> str:
    """An event's text with what it happened to, which only faults leave out."""
    return each.text if each.kind != event.FAULT or each.subject in each.text else f"{each.subject} {each.text}"


def notable(events: Iterable[Event]) -> Iterator[Event]:
    """Leave out what says nothing new.

    That is a neighbour that is confirmed as usual, a route that enters or leaves the table as the peer has just asked,
    the supervisor's word on a process that a fault is already told of, an announcement that is made again, and a
    process that repeats itself in its log.
    """
    ordered = sorted(events, key=lambda each: each.at_ns)
    said_of = {
        kind: [each for each in ordered if each.kind == kind] for kind in (event.ANNOUNCE, event.WITHDRAW, event.FAULT)
    }
    logged: dict[tuple[str, str], int] = {}
    announced: dict[tuple[str, object, object], int] = {}
    for each in ordered:
        if each.kind == event.NEIGHBOUR and _usual(each):
            continue
        if each.kind == event.ACCEPTED and _follows(each, said_of[event.ANNOUNCE]):
            continue
        if each.kind == event.DROPPED and _follows(each, said_of[event.WITHDRAW]):
            continue
        if each.kind in (event.SIGNALLED, event.STARTED) and _by_fault(each, said_of[event.FAULT]):
            continue
        if each.kind == event.ARP_ANNOUNCED:
            what = (each.subject, each.data.get("address"), each.data.get("mac"))
            again = each.at_ns - announced.get(what, -_ANNOUNCED_AGAIN_NS) < _ANNOUNCED_AGAIN_NS
            announced[what] = each.at_ns
            if again:
                continue
        if each.kind == event.LOG:
            opening = (each.subject, each.text[: len(each.subject) + _OPENING])
            repeated = each.at_ns - logged.get(opening, -_REPEATED_NS) < _REPEATED_NS
            logged[opening] = each.at_ns
            if repeated:
                continue
        yield each


def _usual(each: Event) -> bool:
    before = each.data.get("before") or {}
    same = before.get("mac") == each.data.get("mac")
    return same and before.get("state") in _ALIVE and each.data.get("state") in _ALIVE


def _by_fault(each: Event, faults: list[Event]) -> bool:
    return any(fault.subject == each.subject and abs(each.at_ns - fault.at_ns) <= _SAME_SIGNAL_NS for fault in faults)


def _follows(each: Event, updates: list[Event]) -> bool:
    return any(
        abs(each.at_ns - update.at_ns) <= _SAME_UPDATE_NS
        and each.subject == update.subject
        and all(each.data.get(key) == update.data.get(key) for key in ("prefix", "peer"))
        for update in updates
    )
