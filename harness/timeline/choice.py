"""Which events a picture of limited size shows: faults and outages first, then what lies nearest to them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.timeline import lanes
from harness.timeline.event import Event
from harness.timeline.timeline import Timeline

#: Groups that explain most, and those that explain least; what lies between explains as much as it is near.
_FIRST = ("fault", "traffic")
_LAST = ("process", "ARP/NDP", "log")


def foremost(timeline: Timeline, most: int) -> tuple[list[Event], int]:
    """Choose at most so many events.

    Of groups that explain equally much those events stay that are nearest to a fault or to an end of an outage.

    Args:
        timeline: What happened.
        most: How many events may be shown.

    Returns:
        The chosen ones in order of time, and how many are left out of those that say something new.
    """
    notable = list(lanes.notable(timeline))
    if len(notable) <= most:
        return notable, 0
    moments = sorted(each.at_ns for each in notable if lanes.lane(each) in _FIRST) or [timeline.zero_ns]
    places = sorted(range(len(notable)), key=lambda place: _rank(notable[place], moments))[:most]
    return [notable[place] for place in sorted(places)], len(notable) - most


def _rank(each: Event, moments: Sequence[int]) -> tuple[int, int]:
    name = lanes.lane(each)
    explains = 0 if name in _FIRST else 2 + _LAST.index(name) if name in _LAST else 1
    return explains, min(abs(each.at_ns - moment) for moment in moments)
