"""Gaps to a period: found where there is one, also with beats left out; not found in noise."""

from __future__ import annotations

import random

import pytest

from harness.verdict.period import BY_CHANCE, merged, period


def test_the_period_of_two_announcers() -> None:
    found = period([1229.0, 2455.2, 3681.1])  # facts/l2_and_lag.md, S6
    assert found is not None
    assert found.seconds == pytest.approx(1226, abs=0.1)
    assert found.beats == (1, 1)
    assert str(found) == "every 1226 s (1226 to 1226 s)"


def test_beats_may_be_left_out() -> None:
    found = period([0, 1196, 3588, 4784, 8372])  # 20, 40, 20, 60 minutes
    assert found is not None
    assert found.seconds == pytest.approx(1196)
    assert found.beats == (1, 2, 1, 3)


def test_the_shortest_interval_may_be_of_several_beats() -> None:
    found = period([0, 2400, 6000])
    assert found is not None
    assert found.seconds == pytest.approx(1200)
    assert found.beats == (2, 3)


@pytest.mark.parametrize("starts", [[], [5.0], [5.0, 1200.0], [1.0, 1.0, 1.0], [0, 1226, 1900]])
def test_too_few_or_irregular(starts: list[float]) -> None:
    assert period(starts) is None


def test_noise_has_no_period() -> None:
    """Out of a thousand random series about as many have a period as chance may give."""
    dice = random.Random(7)
    series = [[dice.uniform(0, 7200) for _ in range(5)] for _ in range(1000)]
    found = sum(period(each) is not None for each in series)
    assert found < 3 * BY_CHANCE * len(series)


def test_a_tolerance_wider_than_the_period_tells_nothing() -> None:
    assert period([0, 3, 6, 9, 12]) is None
    assert period([0, 3, 6, 9, 12], tolerance=0.1) is not None


def test_overlapping_gaps_are_one() -> None:
    assert merged([(10, 40), (11, 41), (100, 130), (132, 140)], apart=5) == [(10, 41), (100, 140)]
    assert merged([]) == []
