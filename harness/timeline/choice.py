"""Which events a picture of limited size shows: faults and outages first, then what lies nearest to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.timeline import event, lanes
from harness.timeline.event import Event
from harness.timeline.timeline import Timeline

#: Groups that explain most, and those that explain least; what lies between explains as much as it is near.
_FIRST = ("fault", "traffic")
_LAST = ("process", "ARP/NDP", "log")
#: Flows of one probe whose outages begin, or end, within so long are told of together.
_TOGETHER_NS = 100_000_000


def foremost(timeline: Timeline, most: int) -> tuple[list[Event], int]:
    """Choose at most so many events.

    Of groups that explain equally much those events stay that are nearest to a fault or to an end of an outage.

    Args:
        timeline: What happened.
        most: How many events may be shown.

    Returns:
        The chosen ones in order of time, and how many are left out of those that say something new.
    """
    notable = list(together(lanes.notable(timeline)))
    if len(notable) <= most:
        return notable, 0
    moments = sorted(each.at_ns for each in notable if lanes.lane(each) in _FIRST) or [timeline.zero_ns]
    places = sorted(range(len(notable)), key=lambda place: _rank(notable[place], moments))[:most]
    return [notable[place] for place in sorted(places)], len(notable) - most


def _rank(each: Event, moments: Sequence[int]) -> tuple[int, int]:
    name = lanes.lane(each)
    explains = 0 if name in _FIRST else 2 + _LAST.index(name) if name in _LAST else 1
    return explains, min(abs(each.at_ns - moment) for moment in moments)


def together(events: Iterable[Event]) -> list[Event]:
    """Tell of a probe's flows together where their outages begin, or end, at almost the same time.

    Args:
        events: In order of time.
    """
    found: list[Event] = []
    groups: dict[int, list[Event]] = {}
    latest: dict[tuple[str, str], int] = {}
    for each in events:
        key = (each.subject, each.kind)
        place = latest.get(key)
        if each.kind not in (event.OUTAGE_BEGIN, event.OUTAGE_END):
            found.append(each)
        elif place is not None and each.at_ns - found[place].at_ns <= _TOGETHER_NS:
            groups[place].append(each)
        else:
            latest[key] = len(found)
            groups[len(found)] = [each]
            found.append(each)
    for place, group in groups.items():
        if len(group) > 1:
            found[place] = _joined(group)
    return found


def _joined(group: Sequence[Event]) -> Event:
    """One event for outages of several flows: it begins with the first and ends with the last of them."""
    first = group[0]
    ends = [each.data.get("end_ns") for each in group]
    data = {
        **first.data,
        "begin_ns": min(int(each.data["begin_ns"]) for each in group),
        "end_ns": None if None in ends else max(int(end) for end in ends if end is not None),
        "lost": sum(int(each.data.get("lost", 0)) for each in group),
    }
    text = f"{first.subject}, {len(group)} flows: packets are lost"
    if first.kind == event.OUTAGE_END:
        lasted = sorted((int(each.data["end_ns"]) - int(each.data["begin_ns"])) // 1_000_000 for each in group)
        span = f"{lasted[0]} ms" if lasted[0] == lasted[-1] else f"{lasted[0]} to {lasted[-1]} ms"
        text = f"{first.subject}, {len(group)} flows: back after {span}, {data['lost']} packets lost"
    return replace(first, text=text, data=data)
