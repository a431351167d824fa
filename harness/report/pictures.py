"""Timelines as a page shows them: a picture for wide screens, one for narrow ones, and the events as text.

A page of a hundred scenarios has to stay small, so its pictures share a budget: the more there are, the fewer events
each of them shows, those that explain least going first (`harness.timeline.choice`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.timeline import journal, lanes, palette, svg
from harness.timeline.choice import foremost
from harness.timeline.timeline import Timeline

#: Bytes that all pictures of a page may take together; a report of 100 scenarios is to stay below 5 MB (issue 7), and
#: what is written beside them takes about 3 kB each.
_BUDGET = 4_000_000
#: Bytes for each event in both pictures and in the text, measured: 420 on average over 125 scenarios.
_EACH = 480
#: Fewer events explain nothing, more cannot be told apart in one picture.
_FEWEST, _MOST = 12, 120
#: Pixels. A page shows the wide picture from 800 px on, the narrow one fills a phone (`templates/style.css`).
_WIDE, _NARROW = 1040, 360


@dataclass(frozen=True)
class Line:
    """One event as text: its time relative to the first fault, its lane with the lane's class, and what was said."""

    at: str
    lane: str
    style: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A timeline in a page.

    Attributes:
        title: What it shows.
        wide: SVG with labels.
        narrow: SVG without labels.
        lines: The same events as text.
        left_out: How many events it leaves out.
    """

    title: str
    wide: str
    narrow: str
    lines: tuple[Line, ...]
    left_out: int


def events_each(pictures: int) -> int:
    """How many events each of so many pictures of a page may show."""
    return max(_FEWEST, min(_MOST, _BUDGET // (_EACH * max(pictures, 1))))


def draw(file: Path, *, title: str, most: int) -> Picture | None:
    """Draw a file of events; None when nothing has happened.

    Args:
        file: As `--lab-results` and `lblab scorecard` keep it.
        title: What it shows.
        most: How many events are shown, from `events_each`.

    Raises:
        UserError: it is no file of events.
    """
    try:
        happened = Timeline(journal.load(file))
    except (OSError, ValueError) as error:
        raise UserError(f"is no file of events: {error}", file=file) from error
    if not happened:
        return None
    chosen, left_out = foremost(happened, most)
    shown = Timeline(chosen, happened.zero_ns)
    return Picture(
        title=title,
        wide=svg.embed(happened, title=title, width=_WIDE, most=most),
        narrow=svg.embed(happened, title=title, width=_NARROW, most=most, labels=False),
        lines=tuple(_lines(shown)),
        left_out=left_out,
    )


def _lines(shown: Timeline) -> Iterator[Line]:
    for each in shown:
        lane = lanes.lane(each)
        seconds = (each.at_ns - shown.zero_ns) / 1e9
        yield Line(f"{seconds:+.3f} s", lane, palette.class_of(lane), lanes.said(each))
