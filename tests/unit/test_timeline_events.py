"""Events: their file, their clock, choices among them, and how they read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.timeline import event, journal, lanes
from harness.timeline.clock import WallClock
from harness.timeline.event import Event
from harness.timeline.text import render
from harness.timeline.timeline import Timeline

MS = 1_000_000


def make(at_ms: float, kind: str = event.LOG, text: str = "something", **fields: object) -> Event:
    data = fields.pop("data", {})
    assert isinstance(data, dict)
    values = {"source": "test", "subject": "opnsense", "resolution_ns": MS // 10, **fields}
    return Event(at_ns=int(at_ms * MS), kind=kind, text=text, data=data, **values)  # type: ignore[arg-type]


def test_a_line_gives_the_event_back() -> None:
    one = make(1.5, event.FIB_ADD, 'a "quoted" text, ünïcode', data={"next_hops": ["a", "b"], "before": None})
    line = one.line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert Event.parse(line) == one
    assert json.loads(line)["at_ns"] == 1_500_000


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"at_ns": 1}', '{"at_ns": null, "source": "a"}'])
def test_what_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"no event|Expecting"):
        Event.parse(line)


def test_groups_of_kinds() -> None:
    one = make(0, event.PEER_DOWN)
    assert one.is_a("bgp")
    assert one.is_a(event.PEER_UP, event.PEER_DOWN)
    assert not one.is_a("bg", event.PEER_UP)


def test_a_reader_sees_whole_lines_of_all_writers_once(tmp_path: Path) -> None:
    path = tmp_path / journal.FILE
    reader = journal.JournalReader(path)
    assert reader.news() == []
    first, second = journal.Journal(path), journal.Journal(path)
    first.write(make(1), make(2))
    second.write(make(3))
    assert [each.at_ns // MS for each in reader.news()] == [1, 2, 3]
    with path.open("ab") as file:
        file.write(make(4).line()[:20])
    assert reader.news() == []
    with path.open("ab") as file:
        file.write(make(4).line()[20:])
    assert [each.at_ns // MS for each in reader.news()] == [4]
    first.close()
    second.close()


def test_events_saved_are_those_loaded(tmp_path: Path) -> None:
    events = [make(3), make(1, data={"peer": "10.0.0.1"})]
    journal.save(tmp_path / "deep" / "one.jsonl", events)
    assert journal.load(tmp_path / "deep" / "one.jsonl") == events


class Hands:
    """Two clocks moved by hand; reading takes a microsecond."""

    def __init__(self) -> None:
        self.now = 5_000_000_000
        self.offset = 1_700_000_000_000_000_000

    def monotonic(self) -> int:
        self.now += 1000
        return self.now

    def realtime(self) -> int:
        self.now += 1000
        return self.now + self.offset


def test_the_wall_clock_is_converted_within_the_stated_error() -> None:
    hands = Hands()
    clock = WallClock(hands.monotonic, hands.realtime)
    true = 5_123_456_789
    assert abs(clock.monotonic_ns(true + hands.offset) - true) <= clock.error_ns
    assert clock.error_ns <= 2000


def test_a_step_of_the_wall_clock_is_followed_and_told() -> None:
    hands = Hands()
    clock = WallClock(hands.monotonic, hands.realtime)
    hands.now += 2_000_000_000
    hands.offset += 3_000_000_000
    true = hands.now
    assert abs(clock.monotonic_ns(true + hands.offset) - true) <= clock.error_ns
    assert abs(clock.step_ns - 3_000_000_000) <= 2 * clock.error_ns


def test_a_timeline_is_sorted_and_starts_at_the_first_fault() -> None:
    events = [make(30), make(10), make(20, event.FAULT, "killed", subject="worker1/cilium-agent")]
    timeline = Timeline(events)
    assert [each.at_ns // MS for each in timeline] == [10, 20, 30]
    assert timeline.zero_ns == 20 * MS
    assert timeline[1:].zero_ns == 20 * MS
    assert Timeline([make(7)]).zero_ns == 7 * MS
    assert Timeline([]).zero_ns == 0
    assert timeline.relative_to(5).zero_ns == 5


def test_choices_among_events() -> None:
    timeline = Timeline(
        [
            make(1, event.PEER_DOWN, data={"peer": "10.0.0.1"}),
            make(2, event.PEER_UP, data={"peer": "10.0.0.1"}),
            make(3, event.PEER_DOWN, data={"peer": "10.0.0.2"}, subject="other"),
            make(4, event.FIB_DELETE),
        ]
    )
    assert len(timeline.of("bgp")) == 3
    assert len(timeline.of("bgp", "fib", subject="opnsense")) == 3
    found = timeline.first(event.PEER_DOWN, peer="10.0.0.2")
    assert found is not None
    assert found.at_ns == 3 * MS
    assert timeline.first(event.PEER_DOWN, after_ns=4 * MS) is None
    assert [each.at_ns // MS for each in timeline.between(2 * MS, 3 * MS)] == [2, 3]
    assert len(timeline.around(2 * MS, 2 * MS, margin_ns=MS)) == 3


def test_text_is_aligned_relative_to_the_fault_and_says_what_is_not_exact() -> None:
    text = render(
        Timeline(
            [
                make(1000, event.FAULT, "killed (SIGKILL)", subject="worker1/cilium-agent"),
                make(1012.3, event.PEER_DOWN, "opnsense: session with worker1 is down"),
                make(3000, event.FRESH, "fresh again", resolution_ns=35 * MS),
                make(900, event.BLIND, "nobody told", resolution_ns=1_500_000_000),
            ]
        )
    )
    assert text.splitlines() == [
        "   -0.100 s  blind       nobody told  (within 1.5 s before)",
        "   +0.000 s  fault       worker1/cilium-agent killed (SIGKILL)",
        "   +0.012 s  BGP         opnsense: session with worker1 is down",
        "   +2.000 s  BGP         fresh again  (within 35 ms before)",
    ]


def test_a_long_text_keeps_its_ends() -> None:
    lines = render(Timeline([make(n, text=f"event {n}") for n in range(100)]), details=True, at_most=10).splitlines()
    assert len(lines) == 11
    assert "90 more events" in lines[5]
    assert lines[-1].endswith("event 99")


def test_nothing_is_said_so() -> None:
    assert str(Timeline([])) == "nothing happened"


def neighbour(at_ms: float, state: str | None, before: str | None, mac: str = "02:00", old: str = "02:00") -> Event:
    data = {"state": state, "mac": mac, "before": {"state": before, "mac": old} if before else None}
    return make(at_ms, event.NEIGHBOUR, data=data)


def test_only_what_is_new_is_notable() -> None:
    known = {"prefix": "10.0.0.1/32", "peer": "10.1.1.1"}
    agent = {"subject": "worker1/cilium-agent"}
    kept = [
        make(0, event.FAULT, "killed", **agent),
        neighbour(1, "REACHABLE", None),
        neighbour(2, "FAILED", "PROBE"),
        neighbour(3, "REACHABLE", "REACHABLE", mac="02:01"),
        neighbour(4, None, "REACHABLE"),
        make(5, event.ENDED, "worker1/cilium-agent is ended by SIGKILL", **agent),
        make(100, event.ANNOUNCE, data=known),
        make(300, event.DROPPED, data=known),
        make(301, event.ACCEPTED, data={**known, "peer": "10.1.1.2"}),
        make(400, text="opnsense: a line of a log that goes on and on and on, 1"),
        make(1600, text="opnsense: a line of a log that goes on and on and on, 2"),
    ]
    dropped = [
        neighbour(1, "STALE", "REACHABLE"),
        make(0.5, event.SIGNALLED, "worker1/cilium-agent is sent SIGKILL", **agent),
        make(99, event.ACCEPTED, data=known),
        make(401, text="opnsense: a line of a log that goes on and on and on, 3"),
    ]
    assert set(map(id, lanes.notable([*kept, *dropped]))) == set(map(id, kept))
