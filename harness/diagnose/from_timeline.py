"""What a lab's timeline shows of what a real site could have seen.

The answer is never read: faults, and what lblab's own announcer is told to do, are on the timeline, too, and are left
out here, as are signals that processes were sent. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from harness.diagnose.observed import Flow, Gap, Observations, Sees, Sign, What
from harness.timeline import event
from harness.timeline.event import Event
from harness.timeline.timeline import Timeline

#: Kinds that tell the answer.
ANSWERS = (event.FAULT, event.SIGNALLED, "announcer")

_ARP = {
    event.ARP_ASKED: What.ASKED,
    event.ARP_VERIFY: What.VERIFIES,
    event.ARP_VERIFIED: What.ANSWERED,
    event.ARP_LEARNED: What.ANSWERED,
    event.ARP_ANNOUNCED: What.ANNOUNCED,
    event.ARP_MOVED: What.MOVED,
    event.ARP_EXPIRED: What.EXPIRED,
    event.ARP_TIMED_OUT: What.UNRESOLVED,
    event.ARP_DOWN: What.UNRESOLVED,
}
_LINK = {event.LINK_DOWN: What.LINK_DOWN, event.LINK_GONE: What.LINK_DOWN, event.LINK_UP: What.LINK_UP}
_PEER = {event.PEER_DOWN: What.PEER_DOWN, event.PEER_UP: What.PEER_UP}
#: memberlist's own words (facts/l2_and_lag.md, 1.4).
_SUSPECT = re.compile(r"Suspect (\S+) has failed|Marking (\S+) as failed")


def observe(timeline: Timeline, source: str, scale: float = 1.0) -> Observations:
    """Take a timeline's evidence.

    Args:
        timeline: Of one lab.
        source: The file.
        scale: The lab's time scale.
    """
    known = Timeline(each for each in timeline if not each.is_a(*ANSWERS))
    seen = Observations([source], scale=scale)
    if len(known):
        seen.begin, seen.end = known[0].at_ns, known[-1].at_ns
    seen.flows = list(_flows(known))
    routers = {each.subject for each in known.of("arp")} | {each.subject for each in known.of("fib", "bgp")}
    for each in known:
        if each.kind == event.NEIGHBOUR and each.subject not in routers:
            seen.signs += _neighbour_of_node(each) if each.data.get("who") in routers else ()
        else:
            seen.signs += _SIGNS.get(each.kind, _nothing)(each)
        mac, name = each.data.get("mac"), each.data.get("at") or each.data.get("node")
        if mac and name and name != mac and each.is_a("arp", event.NEIGHBOUR):
            seen.hosts[mac] = name
            seen.nodes.add(name)
    told = {str(name) for account in known.of(event.PROBED) for name in account.data.get("nodes", ())}
    seen.nodes = told or seen.nodes
    seen.signs.sort(key=lambda sign: sign.at)
    # The recorder of a lab always follows these, MetalLB's logs only where there are such.
    seen.sees = {Sees.ARP, Sees.NEXT_HOP, Sees.LINKS, Sees.LEASES}
    if any(each.subject.endswith("speaker") for each in known):
        seen.sees.add(Sees.METALLB)
    if any(gap.stalled is not None for flow in seen.flows for gap in flow.gaps):
        seen.sees.add(Sees.SERVER)
    return seen.named()


# -- flows ------------------------------------------------------------------------------------------------------------


def _flows(known: Timeline) -> Iterator[Flow]:
    """One for each flow of each run of a probe; probes of older timelines have no account of theirs."""
    accounts = known.of(event.PROBED)
    of_run: dict[int, list[Event]] = {id(account): [] for account in accounts}
    without: dict[str, list[Event]] = {}
    for outage in known.of(event.OUTAGE_BEGIN):
        # what a probe loses before it is said to have started belongs to the run that comes then
        own = [each for each in accounts if each.subject == outage.subject]
        run = next((each for each in own if each.at_ns >= outage.at_ns), None)
        if run is not None:
            of_run[id(run)].append(outage)
        elif not own:  # what begins when the last run has ended is its own end
            without.setdefault(outage.subject, []).append(outage)
    for account in accounts:
        outages = of_run[id(account)]
        began = min([int(account.data["began_ns"]), *(outage.at_ns for outage in outages)])
        yield from _run(account.subject, account.data, outages, began, int(account.data["ended_ns"]))
    for subject, outages in without.items():
        yield from _run(subject, {}, outages, known[0].at_ns, known[-1].at_ns)


def _run(subject: str, data: Mapping[str, Any], outages: list[Event], began: int, ended: int) -> Iterator[Flow]:
    numbers = sorted({int(each.data.get("flow", 0)) for each in outages} | set(range(int(data.get("flows", 0)))))
    for number in numbers:
        own = [each for each in outages if int(each.data.get("flow", 0)) == number]
        yield Flow(
            name=subject if len(numbers) == 1 else f"{subject}, flow {number}",
            address=str(data.get("address") or _address(subject)),
            port=int(data.get("port") or 0),
            begin=began,
            end=ended,
            interval=float(data.get("interval_ns") or (own[0].data.get("interval") if own else 0) or 0),
            gaps=tuple(map(_gap, own)),
            node=str(data.get("node") or ""),
            to_node=bool(data.get("node")),
        )


def _gap(outage: Event) -> Gap:
    data = outage.data
    directions: Mapping[str, int] = data.get("directions") or {}
    end = data.get("end_ns")
    # What came too late was held back, and not lost.
    return Gap(
        begin=int(data.get("begin_ns", outage.at_ns)),
        end=None if end is None else int(end),
        direction=_direction(directions, str(data.get("direction", "unknown"))),
        burst=int(directions.get("late", 0)),
        strangers=int(data.get("unknown_peer") or 0),
        stalled=None if data.get("server_stalled_ns") is None else int(data["server_stalled_ns"]),
    )


def _direction(directions: Mapping[str, int], told: str) -> str:
    """Where nearly all packets were lost: a few at the edges of a gap say nothing."""
    total = sum(directions.values())
    for way in ("up", "down", "late"):
        if total and directions.get(way, 0) >= 0.95 * total:
            return way
    return "both" if directions.get("up") and directions.get("down") else told if told != "mixed" else "unknown"


def _address(subject: str) -> str:
    found = re.search(r"\d+\.\d+\.\d+\.\d+", subject)
    return found[0] if found else ""


# -- signs ------------------------------------------------------------------------------------------------------------


def _nothing(_: Event) -> Iterable[Sign]:
    return ()


def _sign(each: Event, what: What, about: str, who: str = "", before: str = "") -> Sign:
    return Sign(each.at_ns, what, about, who, before, each.text, each.source, each.resolution_ns)


def _arp(each: Event) -> Iterator[Sign]:
    data = each.data
    about = str(data.get("address", ""))
    who = str(data.get("at") or data.get("node") or data.get("mac") or "")
    before = str(data.get("from") or data.get("before") or "")
    yield _sign(each, _ARP[each.kind], about, who, before)


def _neighbour(each: Event) -> Iterator[Sign]:
    """A Linux router's entry: where it leads, and whether somebody answers."""
    data, before = each.data, each.data.get("before") or {}
    about, mac = str(data.get("address", "")), data.get("mac")
    if data.get("state") == "PERMANENT" or before.get("state") == "PERMANENT":
        return  # kept by lblab's ARP daemon, which tells more
    if mac and before.get("mac") and mac != before["mac"]:
        yield _sign(each, What.MOVED, about, mac, before["mac"])
    elif mac and data.get("state") == "REACHABLE":
        yield _sign(each, What.ANSWERED, about, mac)
    if data.get("state") == "INCOMPLETE":
        yield _sign(each, What.ASKED, about)
    elif data.get("state") == "PROBE":
        yield _sign(each, What.VERIFIES, about, mac or "")
    elif data.get("state") == "FAILED":
        yield _sign(each, What.EXPIRED if before.get("mac") else What.UNRESOLVED, about, before=before.get("mac") or "")


def _neighbour_of_node(each: Event) -> Iterator[Sign]:
    """A node that does not find the router."""
    if each.data.get("state") in ("INCOMPLETE", "FAILED"):
        yield _sign(each, What.NODE_ASKS, str(each.data.get("who", "")), each.subject)


def _process(each: Event) -> Iterator[Sign]:
    host, _, program = each.subject.partition("/")
    yield _sign(each, What.ENDED, program or each.subject, host)


def _link(each: Event) -> Iterator[Sign]:
    port = str(each.data.get("port", each.subject))
    yield _sign(each, _LINK[each.kind], port, each.subject)


def _peer(each: Event) -> Iterator[Sign]:
    yield _sign(each, _PEER[each.kind], str(each.data.get("peer", "")), str(each.data.get("node") or each.subject))


def _route(each: Event) -> Iterator[Sign]:
    now, before = each.data.get("next_hops") or (), each.data.get("before") or ()
    came, went = set(now) - set(before), set(before) - set(now)
    prefix = str(each.data.get("prefix", "")).removesuffix("/32")
    yield _sign(each, What.ROUTE, prefix, ", ".join(sorted(came)), ", ".join(sorted(went)))


def _lease(each: Event) -> Iterator[Sign]:
    yield _sign(each, What.LEASE, each.subject, str(each.data.get("holder") or ""))


def _node(each: Event) -> Iterator[Sign]:
    ready = each.data.get("ready")
    if ready is not None and "eady" in each.text:
        yield _sign(each, What.NODE_UP if ready == "True" else What.NODE_DOWN, each.subject, each.subject)


def _pod(each: Event) -> Iterator[Sign]:
    if "restarts" in each.text:
        yield _sign(each, What.ENDED, each.subject, str(each.data.get("node") or ""))


def _log(each: Event) -> Iterator[Sign]:
    host, _, program = each.subject.partition("/")
    if program.endswith("speaker"):
        found = _SUSPECT.search(each.text)
        if found:
            yield _sign(each, What.SUSPECTED, found[1] or found[2], host)


def _seen_as(each: Event) -> Iterator[Sign]:
    yield _sign(each, What.SEEN_AS, each.subject, str(each.data.get("after", "")), str(each.data.get("before", "")))


_SIGNS: Mapping[str, Callable[[Event], Iterable[Sign]]] = {
    **dict.fromkeys(_ARP, _arp),
    event.ENDED: _process,
    **dict.fromkeys(_LINK, _link),
    **dict.fromkeys(_PEER, _peer),
    event.NEIGHBOUR: _neighbour,
    event.FIB_ADD: _route,
    event.FIB_REPLACE: _route,
    event.FIB_DELETE: _route,
    event.LEASE: _lease,
    event.NODE: _node,
    event.POD: _pod,
    event.LOG: _log,
    event.SEEN_AS: _seen_as,
}
