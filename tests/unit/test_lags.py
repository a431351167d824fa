"""What players felt, out of a game's records: freezes, rubber-banding, and a server that stood still."""

from __future__ import annotations

import pytest
from probe_data import MS, START, Path, probe

from harness.traffic import game
from harness.traffic.game import Grade
from harness.traffic.game_records import Refusal, Update
from harness.traffic.lags import lags, strangers
from harness.traffic.packets import flows
from harness.traffic.records import Run, SeenAs, parse

TICK = 33_333_333


def played(*, lost: range, stall: range = range(0), updates_lost: range = range(0)) -> Run:
    """Three hundred inputs at 30 Hz: some refused by the server, some in a stall of it, some updates lost."""
    run = probe(
        300,
        Path(up=lost, down=updates_lost, delay_down=lambda n: (stall.stop - n) * TICK if n in stall else MS),
        rate=30,
    )
    replied = START
    for number in range(1, 301):
        at = START + number * TICK
        if number in stall:
            continue
        replied = at
        if number not in updates_lost:
            new = int(number not in lost)
            tick = number - sum(each < number for each in stall)
            run.updates.append(Update(at + MS, 0, tick, replied, new))
    run.refusals = [Refusal(START + (number + 1) * TICK, 0, place, "x") for place, number in enumerate(lost, start=1)]
    return run


def test_inputs_that_are_refused_are_a_rubber_band() -> None:
    run = played(lost=range(100, 160))
    (lag,) = lags(run, flows(run))
    assert lag.grade is Grade.FREEZE
    assert lag.length == pytest.approx(61 * TICK, abs=2 * MS)
    assert 57 <= lag.updates <= 60
    assert lag.refused == 60
    assert lag.server_pause == pytest.approx(TICK, abs=MS)
    assert lag.rubber_band
    assert lag.lost == pytest.approx(1.0, abs=0.05)


def test_updates_that_are_lost_freeze_everything() -> None:
    run = played(lost=range(100, 160), updates_lost=range(100, 160))
    run.refusals = []
    (lag,) = lags(run, flows(run))
    assert (lag.updates, lag.refused, lag.rubber_band) == (0, 0, False)
    # the numbers of the updates tell that the server went on
    assert lag.server_pause == pytest.approx(TICK, abs=MS)


def test_a_server_that_stands_still_says_so_itself() -> None:
    run = played(lost=range(0), stall=range(100, 160))
    (lag,) = lags(run, flows(run))
    assert lag.server_pause == pytest.approx(61 * TICK, abs=2 * MS)
    assert not lag.rubber_band
    assert lag.lost == 0.0  # all were acknowledged in the end


def test_a_lag_that_lasts_counts_until_the_last_input() -> None:
    run = played(lost=range(200, 301))
    (lag,) = lags(run, flows(run))
    assert lag.length == pytest.approx(102 * TICK, abs=2 * MS)
    run = played(lost=range(0))
    assert lags(run, flows(run)) == []


def test_thresholds_scale_but_for_a_hitch() -> None:
    tick = 4 * MS
    assert game.grade(30 * MS, tick, 0.02) is Grade.FREEZE
    assert game.grade(600 * MS, tick, 0.02) is Grade.SEVERE
    assert game.grade(13 * MS, tick, 0.02) is Grade.HITCH  # a spike's 5 ms are less than three ticks
    assert game.grade(12 * MS, tick, 0.02) is None


def test_strangers_are_told_beside_whom_the_server_knew() -> None:
    run = played(lost=range(100, 103))
    run.seen_as = [SeenAs(START, 0, "10.0.0.1:4000")]
    (move,) = strangers(run)
    assert (move.before, move.after) == ("10.0.0.1:4000", "x")


def test_a_games_records_are_read() -> None:
    lines = [
        '{"lblab":"probe","version":1,"mode":"game","to":"a:1","rate":30,"interval":33333333,"flows":1,"sources":["b:2"],'
        '"size":100,"session":"1","late":250000000,"started":1,"receive_stamp":"","scheduler":""}\n',
        '["j",5,0,0]\n',
        '["m",10,0,1,9,1]\n',
        '["k",20,0,3,"192.0.2.1:4"]\n',
        '["d",30,0]\n',
    ]
    run = parse(lines)
    assert run.updates[0].replied == 9
    assert run.refusals[0].stranger == "192.0.2.1:4"
    assert (run.greetings[0].again, run.given_up[0].at) == (0, 30)
