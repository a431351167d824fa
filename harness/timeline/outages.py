"""Outages that a probe found, as events among all others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from harness.timeline import event
from harness.timeline.event import Event
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
