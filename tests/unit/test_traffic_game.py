"""What a player feels, graded."""

from __future__ import annotations

import pytest
from probe_data import MS, START, Path, header, probe

from harness.traffic import game
from harness.traffic.analysis import analyse, moves
from harness.traffic.game import Grade
from harness.traffic.packets import flows
from harness.traffic.records import End, SeenAs

TICK = int(1e9 / 30)


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (33 * MS, None),
        (3 * TICK, None),
        (3 * TICK + 1, Grade.HITCH),
        (250 * MS - 1, Grade.HITCH),
        (250 * MS, Grade.SPIKE),
        (1000 * MS - 1, Grade.SPIKE),
        (1000 * MS, Grade.FREEZE),
        (30_000 * MS - 1, Grade.FREEZE),
        (30_000 * MS, Grade.SEVERE),
        (60_000 * MS - 1, Grade.SEVERE),
        (60_000 * MS, Grade.DISCONNECT),
    ],
)
def test_thresholds(gap: int, expected: Grade | None) -> None:
    assert game.grade(gap, TICK) is expected


def test_gaps_between_updates_are_graded() -> None:
    run = probe(300, Path(up=[10, 20, 21, 22, *range(50, 60), *range(100, 140)]), rate=30)
    found = game.disturbances(flows(run)[0])
    assert [each.grade for each in found] == [Grade.HITCH, Grade.SPIKE, Grade.FREEZE]
    assert found[0].length == pytest.approx(4 * TICK, abs=1000)
    assert found[2].start == pytest.approx(START + 98 * TICK, abs=MS)
    assert game.count(found)[Grade.SPIKE] == 1


def test_late_updates_hurt_until_they_come() -> None:
    run = probe(100, Path(delay_down=lambda n: 500 * MS if n == 40 else MS), rate=30)
    assert game.disturbances(flows(run)[0]) == []  # 41 came in between: nobody waits for 40
    run = probe(100, Path(delay_down=lambda n: (50 - n) * TICK if 40 <= n < 50 else MS), rate=30)
    (stall,) = game.disturbances(flows(run)[0])  # ten updates in one burst
    assert stall.grade is Grade.SPIKE


def test_what_the_prober_missed_is_not_felt() -> None:
    run = probe(100, Path(pauses={40: 400 * MS}), rate=30)
    assert game.disturbances(flows(run)[0]) == []
    run = probe(100, Path(up=range(41, 61), pauses={50: 400 * MS}), rate=30)
    (freeze,) = game.disturbances(flows(run)[0])
    assert freeze.length == pytest.approx(21 * TICK, abs=MS)


def test_a_stream_that_never_comes_back_counts_to_the_end() -> None:
    run = probe(90, Path(up=range(31, 91)), rate=30)
    flow = flows(run)[0]
    assert game.disturbances(flow) == []
    (freeze,) = game.disturbances(flow, until=flow.packets[-1].sent + TICK)
    assert freeze.grade is Grade.FREEZE
    silent = flows(probe(90, Path(up=range(1, 91)), rate=30))[0]
    (whole,) = game.disturbances(silent, until=silent.packets[-1].sent)
    assert whole.length == pytest.approx(89 * TICK, abs=MS)
    assert game.disturbances(type(silent)(0, TICK)) == []


def test_analysis_of_a_run() -> None:
    run = probe(600, Path(up=range(100, 140)), Path(down=range(300, 310), pauses={500: 200 * MS}), rate=30)
    run.seen_as += [SeenAs(START, 0, "10.0.0.1:4000"), SeenAs(START + 5 * MS, 0, "10.0.0.2:4000")]
    run.end = End(at=START + 30_000 * MS, stopped_by="duration", sent=1200, replies=1150, cpu=0)
    result = analyse(run)
    assert not result.clean
    assert [outage.lost for outage in result.outages] == [40, 10]
    assert result.longest is not None
    assert result.longest.lost == 40
    assert result.own_gaps == 200 * MS
    assert [(move.before, move.after) for move in result.moves] == [("10.0.0.1:4000", "10.0.0.2:4000")]
    assert result.disturbances[Grade.FREEZE] == 1
    assert len(result.between(START, START + 4000 * MS)) == 1
    facts = result.facts()
    assert facts["lost"] == {"up": 40, "down": 10, "unknown": 0, "late": 0, "unsent": 0}
    assert facts["longest_outage_ms"] == pytest.approx(40 * TICK / MS, abs=0.01)
    assert facts["outages"][1]["direction"] == "down"
    assert facts["disturbances"] == {"freeze": 1, "spike": 1}
    assert facts["moves"] == 1


def test_analysis_of_a_clean_fast_run() -> None:
    result = analyse(probe(1000, Path()))
    assert result.clean
    assert (result.longest, result.outages, result.blackouts, result.disturbances) == (None, [], [], {})
    assert result.facts()["longest_outage_ms"] == 0
    assert result.facts()["rate_derived_ms"] is None


def test_a_flow_that_is_seen_under_one_address_has_not_moved() -> None:
    assert moves([SeenAs(1, 0, "a"), SeenAs(2, 1, "b"), SeenAs(3, 0, "a")]) == []
    assert len(moves([SeenAs(1, 0, "a"), SeenAs(2, 0, "b"), SeenAs(3, 0, "a")])) == 2


def test_game_grades_need_a_game_rate() -> None:
    assert header(rate=1000).rate > 120 > header(rate=60).rate
    assert analyse(probe(1000, Path(up=range(100, 900)))).disturbances == {}
