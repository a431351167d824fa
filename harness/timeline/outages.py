"""What a probe found, as events among all others: its outages, its account, whom the server took it for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from harness.timeline import event
from harness.timeline.event import Event
from harness.traffic.analysis import Analysis, Move
from harness.traffic.outages import ALL, Outage

_SOURCE = "probe"


def events(outages: Iterable[Outage], subject: str, resolution_ns: int | None = None) -> Iterator[Event]:
    """Give two events for each outage: its begin and, unless the probe ended in it, its end.

    Args:
        outages: As `harness.traffic.outages` finds them.
        subject: What was probed, such as "client to 192.168.142.1".
        resolution_ns: How finely begin and end are known (`harness.traffic.outages.resolution`); by default the send
            interval.
    """
    for outage in outages:
        resolution = outage.interval if resolution_ns is None else resolution_ns
        what = f"{subject}, flow {outage.flow}" if outage.flow != ALL else f"{subject}, all flows"
        ended = outage.first_good is not None
        data: dict[str, Any] = {
            **asdict(outage),
            "begin_ns": outage.start,
            "end_ns": outage.end if ended else None,
            "direction": outage.direction,
            "place": outage.place.value if outage.place else None,
            "places": {place.value: count for place, count in outage.places.items()},
        }
        where = f" ({outage.direction})" if outage.direction != "unknown" else ""
        yield Event(outage.start, _SOURCE, event.OUTAGE_BEGIN, subject, f"{what}: packets are lost", resolution, data)
        if ended:
            text = f"{what}: back after {outage.duration / 1e6:.0f} ms, {outage.lost} packets lost{where}"
            yield Event(outage.end, _SOURCE, event.OUTAGE_END, subject, text, resolution, data)


def seen_as(moves: Iterable[Move], subject: str) -> Iterator[Event]:
    """Give an event for each change of the address under which the server sees a flow."""
    for move in moves:
        text = f"{subject}, flow {move.flow}: the server sees it as {move.after}, before as {move.before}"
        yield Event(move.at, _SOURCE, event.SEEN_AS, subject, text, 0, asdict(move))


def account(
    analysis: Analysis,
    subject: str,
    *,
    client: str,
    address: str,
    port: int,
    nodes: Mapping[str, str],
    began_ns: int,
    ended_ns: int,
) -> Event:
    """Give the event that says what a probe has sent, so that one that lost nothing is on the timeline, too.

    Args:
        analysis: Of the probe.
        subject: What was probed, as for `events`.
        client: The client's name.
        address: Where to.
        port: The port there.
        nodes: The lab's nodes by their own addresses: which hosts are nodes, and whether this is a node's address.
        began_ns: From when on it sent.
        ended_ns: Until when.
    """
    loss = analysis.loss
    flows = analysis.flows
    data = {
        "client": client,
        "address": address,
        "port": port,
        "node": nodes.get(address),
        "nodes": sorted(nodes.values()),
        "flows": len(flows),
        "interval_ns": flows[0].interval if flows else 0,
        "sent": loss.sent,
        "lost": loss.lost,
        "began_ns": began_ns,
        "ended_ns": ended_ns,
    }
    text = f"{subject}: {loss.sent} packets sent, {loss.lost} lost"
    return Event(ended_ns, _SOURCE, event.PROBED, subject, text, 0, data)
