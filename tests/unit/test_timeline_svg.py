"""The picture: nothing covers anything else, everything is in it, and it is what an XML parser takes."""

from __future__ import annotations

import itertools
import random
import re
import xml.etree.ElementTree as ET

import pytest

from harness.timeline import event, palette, svg
from harness.timeline.choice import foremost, together
from harness.timeline.event import Event
from harness.timeline.outages import events as outage_events
from harness.timeline.spans import spans
from harness.timeline.timeline import Timeline
from harness.traffic.outages import Outage
from harness.traffic.packets import Place

MS = 1_000_000
SVG = "{http://www.w3.org/2000/svg}"
KINDS = [event.FAULT, event.PEER_DOWN, event.PEER_UP, event.FIB_REPLACE, event.LINK_DOWN, event.POD, event.LOG]


def make(at_ms: float, kind: str, text: str, subject: str = "opnsense", **data: object) -> Event:
    return Event(int(at_ms * MS), "test", kind, subject, text, MS, data)


def crowd(count: int, seed: int) -> Timeline:
    """Bursts of events, as a real failover has."""
    chance = random.Random(seed)
    bursts = [chance.uniform(0, 30_000) for _ in range(5)]
    return Timeline(
        make(
            chance.choice(bursts) + chance.random(),
            chance.choice(KINDS),
            f"event {n} " + "word " * chance.randint(0, 25),
            f"host{n}",
        )
        for n in range(count)
    )


def boxes(root: ET.Element, width: float) -> list[tuple[float, float, float, float]]:
    """Rectangles that labels take: left, right, top, bottom, estimated as narrowly as a font may be."""
    found = []
    for text in root.iter(f"{SVG}text"):
        if text.get("class"):
            continue
        content = "".join(part for part in text.itertext() if part)
        title = text.find(f"{SVG}title")
        content = content.removesuffix(title.text or "") if title is not None else content
        length = len(content) * svg._CHARACTER
        x, y = float(text.get("x", 0)), float(text.get("y", 0))
        left = x - length if text.get("text-anchor") == "end" else x
        assert left >= 80, f"{content!r} covers the lanes' names"
        assert left + length <= width, f"{content!r} goes over the edge"
        found.append((left, left + length, y - 10, y + 3))
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [1, 12, 60, 130])
def test_no_label_covers_another(count: int, seed: int) -> None:
    root = ET.fromstring(svg.render(crowd(count, seed)))
    for a, b in itertools.combinations(boxes(root, 1280), 2):
        apart = a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]
        assert apart, (a, b)


def test_every_event_is_there_with_its_exact_time_and_resolution() -> None:
    timeline = crowd(60, 1)
    drawn = svg.render(timeline)
    for n in range(60):
        assert re.search(rf"event {n} .*exact to 1\.000 ms", drawn)


def test_the_same_events_give_the_same_picture() -> None:
    assert svg.render(crowd(40, 3)) == svg.render(crowd(40, 3))


def test_what_is_left_out_is_said() -> None:
    few = [each for each in crowd(60, 2) if each.kind != event.LOG]
    many = Timeline([*few, *(make(n, event.LOG, f"line {n}", f"p{n}") for n in range(200))])
    assert "lesser interest" in svg.render(many)
    assert all(each.text.split(" word")[0] in svg.render(many) for each in few)


def test_text_is_escaped_and_the_picture_needs_nothing_else() -> None:
    drawn = svg.render(Timeline([make(0, event.LOG, 'a <b> & "c" ]]>')]), title="<x>")
    root = ET.fromstring(drawn)
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")
    assert root.find(f"{SVG}title") is not None


def test_a_timeline_of_nothing_and_of_one_moment() -> None:
    ET.fromstring(svg.render(Timeline([])))
    ET.fromstring(svg.render(Timeline([make(5, event.FAULT, "killed")])))


def test_a_picture_for_a_page_has_no_style_of_its_own_and_no_tooltips() -> None:
    drawn = svg.embed(crowd(30, 4), title="a <page>", width=1040, most=30)
    root = ET.fromstring(drawn)
    assert root.find(f"{SVG}style") is None
    assert [title.text for title in root.iter(f"{SVG}title")] == ["a <page>"]
    assert not re.search(r"#[0-9a-f]{6}", drawn), "its colours are the page's"
    used = set(re.findall(r'class="([^"]+)"', drawn)) - {"timeline", "mark bar"}
    assert all(f".{name}" in palette.SHEET for name in used), used


@pytest.mark.parametrize("seed", range(4))
def test_without_labels_bars_cover_nothing_and_everything_stays_in_the_picture(seed: int) -> None:
    down = [make(at, event.PEER_DOWN, "x", f"r{at % 3}", peer_name="w") for at in range(0, 400, 100)]
    up = [make(at + 50, event.PEER_UP, "x", f"r{at % 3}", peer_name="w") for at in range(0, 400, 100)]
    root = ET.fromstring(
        svg.embed(Timeline([*crowd(60, seed), *down, *up]), title="", width=360, most=60, labels=False)
    )
    assert {text.get("class") for text in root.iter(f"{SVG}text")} == {"lane", "tick"}
    bars = [bar for bar in root.iter(f"{SVG}rect") if "bar" in str(bar.get("class"))]
    assert bars
    spans = [(float(bar.get("x", 0)), float(bar.get("width", 0)), bar.get("y")) for bar in bars]
    for (x, width, y), (other, _, row) in itertools.combinations(sorted(spans), 2):
        assert y != row or other >= x + width - 2
    assert all(0 <= float(dot.get("cx", -1)) <= 360 for dot in root.iter(f"{SVG}circle"))


def test_faults_and_outages_stay_when_a_picture_is_small() -> None:
    first, last = make(0, event.FAULT, "killed"), make(9000, event.OUTAGE_END, "back", begin_ns=0, end_ns=9000 * MS)
    near, far = make(10, event.PEER_DOWN, "near"), make(5000, event.PEER_DOWN, "far")
    logs = [make(n, event.LOG, f"line {n}", f"p{n}") for n in range(1, 50)]
    chosen, left_out = foremost(Timeline([first, last, near, far, *logs]), 3)
    assert [each.text for each in chosen] == ["killed", "near", "back"]
    assert left_out == 50


def flow(number: int, begin: float, end: float) -> list[Event]:
    facts = {"begin_ns": int(begin * MS), "end_ns": int(end * MS), "lost": 5}
    return [
        make(begin, event.OUTAGE_BEGIN, f"c, flow {number}", "c", **facts),
        make(end, event.OUTAGE_END, f"c, flow {number}", "c", **facts),
    ]


def test_flows_are_told_of_together_when_they_begin_or_end_together() -> None:
    events = sorted([*flow(1, 0, 1000), *flow(2, 20, 1040), *flow(3, 500, 1050)], key=lambda each: each.at_ns)
    begin, later, end = together(events)
    assert begin.text == "c, 2 flows: packets are lost"
    assert (begin.data["begin_ns"], begin.data["end_ns"], begin.data["lost"]) == (0, 1040 * MS, 10)
    assert later.text == "c, flow 3"
    assert end.text == "c, 3 flows: back after 550 to 1020 ms, 15 packets lost"


def an_outage(first_good: int | None) -> Outage:
    return Outage(
        flow=2,
        first_sequence=7,
        lost=400,
        last_good=999 * MS,
        first_lost=1000 * MS,
        last_lost=1399 * MS,
        first_good=first_good,
        unobserved=0,
        directions={"up": 400},
        places={next(iter(Place)): 400},
        interval=MS,
    )


def test_outages_are_shaded_from_begin_to_end() -> None:
    events = list(outage_events([an_outage(1400 * MS)], "client to 192.168.142.0"))
    assert [each.kind for each in events] == [event.OUTAGE_BEGIN, event.OUTAGE_END]
    assert events[1].text == "client to 192.168.142.0, flow 2: back after 400 ms, 400 packets lost (up)"
    assert [Event.parse(each.line()).data["places"] for each in events] == [{next(iter(Place)).value: 400}] * 2
    root = ET.fromstring(svg.render(Timeline([make(0, event.FAULT, "x"), *events, make(2000, event.LOG, "y")])))
    [shade] = [each for each in root.iter(f"{SVG}rect") if each.get("class") == "outage"]
    # 2000 ms and a margin of 2 % on both sides over 1280 - 92 - 16 pixels
    assert float(shade.get("width", 0)) == pytest.approx(400 / 2080 * 1172, abs=1)


def test_an_outage_without_an_end_has_none() -> None:
    [begin] = outage_events([an_outage(None)], "client")
    assert begin.data["end_ns"] is None
    assert 'class="outage"' in svg.render(Timeline([begin, make(3000, event.LOG, "y")]))


def test_states_last_from_one_event_to_another() -> None:
    known = {"peer": "10.0.0.1", "peer_name": "worker1", "prefix": "10.1.0.0/32"}
    events = [
        make(0, event.PEER_DOWN, "", **known),
        make(1, event.STALE, "", **known),
        make(500, event.FRESH, "", **known),
        make(2000, event.PEER_UP, "", **known),
        make(2500, event.ENDED, "", "worker1/cilium-agent"),
        make(2600, event.BLIND, "nobody told", from_ns=1 * MS, to_ns=2 * MS),
    ]
    found = [(s.begin_ns // MS, s.end_ns // MS, s.text) for s in spans(events, 9000 * MS)]
    assert sorted(found) == [
        (0, 2000, "session of opnsense with worker1 down for 2.000 s"),
        (1, 2, "nobody told"),
        (1, 500, "10.1.0.0/32 from worker1 stale for 499 ms"),
        (2500, 9000, "worker1/cilium-agent not running since then"),
    ]
