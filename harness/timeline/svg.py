"""A timeline as a picture: lanes from cause to effect over one time axis, outages shaded across all of them.

A pure function of the events; the result needs nothing else to be shown. Labels are laid out in rows so that none
covers another, whatever the events are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from harness.timeline import event, lanes, palette
from harness.timeline.choice import foremost
from harness.timeline.event import Event
from harness.timeline.spans import Span, outages, spans
from harness.timeline.timeline import Timeline

_LEFT, _RIGHT, _TOP, _BOTTOM = 92, 16, 46, 34
_ROW, _GAP = 15, 6
_BAR = 12
#: Width of a character at 11 px, on the wide side for a proportional font, so that an estimate never is too short.
_CHARACTER = 6.0
_LONGEST = 110
#: More events than this are not drawn: what explains least is left out (`choice.foremost`).
_MOST = 140


@dataclass
class _Row:
    """What is taken of one row: intervals of x."""

    taken: list[tuple[float, float]] = field(default_factory=list)

    def free(self, begin: float, end: float) -> bool:
        return all(end <= left or begin >= right for left, right in self.taken)


@dataclass(frozen=True)
class _Label:
    """A label in its place; its marker is at `x`, its text begins or ends at `text_x`."""

    row: int
    x: float
    text_x: float
    anchor: str
    at: str
    text: str
    full: str
    end_x: float | None = None


@dataclass
class _Lane:
    name: str
    rows: list[_Row] = field(default_factory=list)
    labels: list[_Label] = field(default_factory=list)

    @property
    def height(self) -> int:
        return len(self.rows) * _ROW + 2 * _GAP

    def row(self, begin: float, end: float) -> int:
        """The first row in which an interval is free, which it takes."""
        place = next((place for place, each in enumerate(self.rows) if each.free(begin, end)), len(self.rows))
        if place == len(self.rows):
            self.rows.append(_Row())
        self.rows[place].taken.append((begin, end))
        return place


@dataclass(frozen=True)
class _Axis:
    begin_ns: int
    end_ns: int
    zero_ns: int
    width: float

    def x(self, at_ns: float) -> float:
        share = (at_ns - self.begin_ns) / (self.end_ns - self.begin_ns)
        return _LEFT + share * (self.width - _LEFT - _RIGHT)

    def seconds(self, at_ns: int) -> float:
        return (at_ns - self.zero_ns) / 1e9


def render(timeline: Timeline, *, title: str = "", width: int = 1280) -> str:
    """Draw a timeline as a picture of its own.

    Args:
        timeline: What happened; times are shown relative to its zero.
        title: Written above.
        width: In pixels; the height follows from what there is to show.
    """
    drawn, left_out = foremost(timeline, _MOST)
    heading = title or _heading(drawn)
    texts = [f'<text class="title" x="12" y="24">{escape(heading)}</text>']
    if left_out:
        note = f"{left_out} events of lesser interest are not drawn"
        texts.append(f'<text class="tick" x="{width - _RIGHT}" y="24" text-anchor="end">{note}</text>')
    return _picture(
        timeline,
        drawn,
        width,
        top=_TOP,
        head=[
            f"<title>{escape(heading)}</title><style>{palette.SHEET}</style>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            *texts,
        ],
    )


def embed(timeline: Timeline, *, title: str, width: int, most: int, labels: bool = True) -> str:
    """Draw a timeline for an HTML page that has `palette.SHEET`: without a title, a background and tooltips.

    Args:
        timeline: What happened; times are shown relative to its zero.
        title: For those who cannot see it.
        width: In pixels at full size; the page may show it smaller.
        most: How many events may be drawn.
        labels: Write beside each marker what happened; without, the lanes say of which kind it is.
    """
    drawn, _left_out = foremost(timeline, most)
    head = [f"<title>{escape(title)}</title>"]
    return _picture(timeline, drawn, width, top=4, head=head, labels=labels, tips=False)


def _picture(
    timeline: Timeline,
    drawn: Sequence[Event],
    width: int,
    *,
    top: int,
    head: Sequence[str],
    labels: bool = True,
    tips: bool = True,
) -> str:
    axis = _axis(drawn, timeline.zero_ns, width)
    ink = _Ink(axis, top, labels=labels, tips=tips)
    shown = [_lane(name, drawn, timeline, axis, labels=labels) for name in dict.fromkeys(lanes.LANES.values())]
    shown = [lane for lane in shown if lane.labels]
    height = top + sum(lane.height for lane in shown) + _BOTTOM
    body = [*ink.shades(drawn, height), *ink.grid(height), *ink.fault_lines(drawn, height), *ink.lanes(shown)]
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img">'
    )
    return "\n".join([opening, *head, *body, "</svg>"]) + "\n"


def _heading(drawn: Sequence[Event]) -> str:
    fault = next((each for each in drawn if each.is_fault), None)
    return lanes.said(fault) if fault else "Timeline"


# -- scale -----------------------------------------------------------------------------------------------------------


def _axis(drawn: Sequence[Event], zero_ns: int, width: float) -> _Axis:
    begin = min((each.at_ns for each in drawn), default=zero_ns)
    end = max((each.at_ns for each in drawn), default=zero_ns)
    margin = max((end - begin) // 50, 1_000_000)
    return _Axis(begin - margin, end + margin, zero_ns, width)


def _ticks(axis: _Axis) -> Iterator[tuple[float, str]]:
    """Round times some 100 pixels apart."""
    span = (axis.end_ns - axis.begin_ns) / 1e9
    wanted = span / max(2.0, (axis.width - _LEFT - _RIGHT) / 100)
    step = 10 ** math.floor(math.log10(wanted))
    step = next(step * factor for factor in (1, 2, 5, 10) if step * factor >= wanted)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    place = math.ceil(axis.seconds(axis.begin_ns) / step)
    while (at := axis.zero_ns + place * step * 1e9) <= axis.end_ns:
        yield axis.x(at), f"{place * step:+.{digits}f} s" if place else "0 s"
        place += 1


# -- layout ----------------------------------------------------------------------------------------------------------


def _lane(name: str, drawn: Sequence[Event], timeline: Timeline, axis: _Axis, *, labels: bool) -> _Lane:
    lane = _Lane(name)
    place = _place if labels else _mark
    # what ends a state may be left out of the drawing
    for span in spans((each for each in timeline if lanes.lane(each) == name), axis.end_ns):
        place(lane, axis, max(span.begin_ns, axis.begin_ns), span.text, span.text, span=span)
    for each in drawn:
        if lanes.lane(each) == name and each.kind != event.BLIND:
            place(lane, axis, each.at_ns, lanes.said(each), _tooltip(each, axis))
    return lane


def _place(lane: _Lane, axis: _Axis, at_ns: int, text: str, full: str, *, span: Span | None = None) -> None:
    """Put a marker with its label, or a bar with it, into the first row in which it covers nothing."""
    x = axis.x(at_ns)
    end_x = axis.x(min(span.end_ns, axis.end_ns)) if span else None
    at = "" if span else f"{axis.seconds(at_ns):.3f}"
    right, stamped = (end_x or x) + 7, len(at) + 1 if at else 0
    room_right, room_left = axis.width - 4 - right, x - 7 - _LEFT
    to_right = room_right >= min(room_left, (len(text) + stamped) * _CHARACTER)
    longest = min(_LONGEST, int((room_right if to_right else room_left) / _CHARACTER) - stamped)
    short = text if len(text) <= longest else text[: max(longest - 1, 0)] + "…"
    length = (len(short) + stamped) * _CHARACTER
    whole = (len(text) + stamped) * _CHARACTER
    if end_x is not None and whole > room_right and whole < end_x - x - 10:
        begin, end, text_x, anchor, short = x - 5, end_x + 5, x + 5, "start", text
    elif to_right:
        begin, end, text_x, anchor = x - 5, right + length + 6, right, "start"
    else:
        begin, end, text_x, anchor = x - 7 - length - 6, (end_x or x) + 5, x - 7, "end"
    lane.labels.append(_Label(lane.row(begin, end), x, text_x, anchor, at, short, full, end_x))


def _mark(lane: _Lane, axis: _Axis, at_ns: int, _text: str, full: str, *, span: Span | None = None) -> None:
    """Put a marker or a bar without a label: markers of one lane may cover one another, bars cover nothing."""
    x = axis.x(at_ns)
    end_x = axis.x(min(span.end_ns, axis.end_ns)) if span else None
    if end_x is not None:
        row = lane.row(x, end_x + 1)
    else:
        row = next((row for row, each in enumerate(lane.rows) if each.free(x, x)), len(lane.rows))
        if row == len(lane.rows):
            lane.rows.append(_Row())
    lane.labels.append(_Label(row, x, x, "start", "", "", full, end_x))


def _tooltip(each: Event, axis: _Axis) -> str:
    stamp = f"{axis.seconds(each.at_ns):+.6f} s, exact to {each.resolution_ns / 1e6:.3f} ms"
    return f"{lanes.said(each)} [{stamp}; {each.source}, {each.kind}]"


# -- ink -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ink:
    """Writes what has been laid out.

    Attributes:
        axis: Where times are.
        top: Where the first lane begins.
        labels: Whether markers have labels.
        tips: Whether they say the whole text with the exact time when pointed at.
    """

    axis: _Axis
    top: int
    labels: bool
    tips: bool

    def shades(self, drawn: Sequence[Event], height: float) -> Iterator[str]:
        for begin, end in outages(drawn, self.axis.end_ns):
            left, right = self.axis.x(begin), self.axis.x(end)
            size = f'width="{max(right - left, 1.5):.1f}" height="{height - self.top - _BOTTOM}"'
            yield f'<rect class="outage" x="{left:.1f}" y="{self.top}" {size}/>'

    def grid(self, height: float) -> Iterator[str]:
        for x, text in _ticks(self.axis):
            yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{height - _BOTTOM}"/>'
            yield f'<text class="tick" x="{x:.1f}" y="{height - _BOTTOM + 16}" text-anchor="middle">{text}</text>'

    def fault_lines(self, drawn: Iterable[Event], height: float) -> Iterator[str]:
        for each in drawn:
            if each.kind == event.FAULT:
                x, style = f"{self.axis.x(each.at_ns):.1f}", "begun" if each.is_fault else "undone"
                yield f'<line class="{style}" x1="{x}" x2="{x}" y1="{self.top}" y2="{height - _BOTTOM}"/>'

    def lanes(self, shown: Iterable[_Lane]) -> Iterator[str]:
        y = float(self.top)
        yield f'<line class="edge" x1="0" x2="{self.axis.width}" y1="{y}" y2="{y}"/>'
        for lane in shown:
            yield f'<g class="{palette.class_of(lane.name)}">'
            yield f'<text class="lane" x="12" y="{y + _GAP + 11}">{escape(lane.name)}</text>'
            for label in lane.labels:
                yield from self._label(label, y + _GAP + label.row * _ROW + _ROW / 2)
            y += lane.height
            yield f'</g><line class="edge" x1="0" x2="{self.axis.width}" y1="{y}" y2="{y}"/>'

    def _label(self, label: _Label, middle: float) -> Iterator[str]:
        tip = f"<title>{escape(label.full)}</title>" if self.tips else ""
        if label.end_x is None:
            yield f'<circle class="mark" cx="{label.x:.1f}" cy="{middle}" r="3.5">{tip}</circle>'
        else:
            size = f'width="{max(label.end_x - label.x, 2):.1f}" height="{_BAR}" rx="2"'
            yield f'<rect class="mark bar" x="{label.x:.1f}" y="{middle - _BAR / 2}" {size}>{tip}</rect>'
        if self.labels:
            at = f'<tspan class="at">{label.at}</tspan> ' if label.at else ""
            place = f'x="{label.text_x:.1f}" y="{middle + 4}"'
            anchor = f' text-anchor="{label.anchor}"' if label.anchor != "start" else ""
            yield f"<text {place}{anchor}>{at}{escape(label.text)}{tip}</text>"
