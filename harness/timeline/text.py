"""A timeline as text: one line for each event, times relative to the first fault."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.timeline import lanes
from harness.timeline.event import Event
from harness.timeline.timeline import Timeline

#: A stamp that may be off by more than this says so: everything else is exact to the millisecond that is shown.
_SHOWN_NS = 1_000_000
_TIME, _LANE = 11, 10


def render(timeline: Timeline, *, details: bool = False, at_most: int | None = None) -> str:
    """Write a timeline down.

    Args:
        timeline: The events.
        details: Also what says nothing new.
        at_most: Lines; of a longer one the middle is left out.
    """
    chosen = list(timeline) if details else list(lanes.notable(timeline))
    if not chosen:
        return "nothing happened"
    lines = [line(each, timeline.zero_ns) for each in chosen]
    return "\n".join(_shortened(lines, at_most))


def line(each: Event, zero_ns: int) -> str:
    """One event as one line."""
    seconds = (each.at_ns - zero_ns) / 1e9
    within = f"  (within {_span(each.resolution_ns)} before)" if each.resolution_ns > _SHOWN_NS else ""
    return f"{seconds:+{_TIME - 2}.3f} s  {lanes.lane(each):<{_LANE}}  {lanes.said(each)}{within}"


def _span(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:.1f} s" if nanoseconds >= 1_000_000_000 else f"{nanoseconds / 1e6:.0f} ms"


def _shortened(lines: Sequence[str], at_most: int | None) -> Iterator[str]:
    if at_most is None or len(lines) <= at_most:
        yield from lines
        return
    half = at_most // 2
    yield from lines[:half]
    yield f"{'':>{_TIME}}  … {len(lines) - 2 * half} more events …"
    yield from lines[-half:]
