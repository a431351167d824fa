"""Outages as intervals, and what the prober itself missed is none of them."""

from __future__ import annotations

import random

import pytest
from probe_data import MS, START, Path, probe

from harness.traffic.outages import (
    ALL,
    outages,
    outages_of_all,
    outages_of_any,
    own_gaps,
    resolution,
    share_of_flows,
)
from harness.traffic.packets import Place, flows


def test_nothing_lost_is_no_outage() -> None:
    run = probe(1000, Path())
    assert outages(flows(run)[0]) == []
    assert outages_of_all(flows(run)) == []
    assert outages_of_any(flows(run)) == []
    assert share_of_flows(flows(run), longer_than=0) == 0


def test_the_ends_of_an_outage() -> None:
    run = probe(200, Path(up=range(51, 101)))
    (outage,) = outages(flows(run)[0])
    assert outage.last_good == START + 49 * MS
    assert outage.first_lost == START + 50 * MS
    assert outage.last_lost == START + 99 * MS
    assert outage.first_good == START + 100 * MS
    assert (outage.shortest, outage.duration, outage.longest) == (49 * MS, 50 * MS, 51 * MS)
    assert (outage.start, outage.end) == (START + 49 * MS + MS // 2, START + 99 * MS + MS // 2)
    assert (outage.lost, outage.first_sequence, outage.flow) == (50, 51, 0)
    assert (outage.direction, outage.place) == ("up", None)


@pytest.mark.parametrize("seed", range(20))
def test_a_drop_of_50_ms_is_measured_within_an_interval(seed: int) -> None:
    """Where the fault falls in the grid changes the figure by at most one interval."""
    at = random.Random(seed).uniform(20, 30)
    lost = [n for n in range(1, 201) if at <= n - 1 < at + 50]
    (outage,) = outages(flows(probe(200, Path(up=lost)))[0])
    assert abs(outage.duration - 50 * MS) <= MS
    assert outage.shortest <= 50 * MS <= (outage.longest or 0)
    assert abs(outage.start - START - at * MS) <= MS


def test_separate_outages_and_the_least_that_counts() -> None:
    run = probe(100, Path(up={5, 20, 21, 40, 41, 42}))
    assert [outage.lost for outage in outages(flows(run)[0])] == [1, 2, 3]
    assert [outage.lost for outage in outages(flows(run)[0], at_least=2)] == [2, 3]
    assert [outage.lost for outage in outages(flows(run)[0], at_least=4)] == []


def test_outages_at_the_edges_have_open_ends() -> None:
    begin, end = outages(flows(probe(50, Path(up=[1, 2, 3, 48, 49, 50])))[0])
    assert (begin.last_good, begin.longest) == (None, None)
    assert begin.duration == 3 * MS
    assert (end.first_good, end.longest) == (None, None)
    assert end.duration == 3 * MS
    (whole,) = outages(flows(probe(50, Path(up=range(1, 51))))[0])
    assert whole.duration == 50 * MS


def test_directions() -> None:
    assert outages(flows(probe(50, Path(down=[10, 11])))[0])[0].direction == "down"
    mixed = outages(flows(probe(50, Path(up=[10], down=[11])))[0])[0]
    assert mixed.direction == "mixed"
    assert mixed.directions == {"up": 1, "down": 1}
    assert outages(flows(probe(50, Path(up=[50])))[0])[0].direction == "unknown"
    local = outages(flows(probe(50, Path(unsent=[10, 11])))[0])[0]
    assert (local.direction, local.place) == ("up", Place.CLIENT)
    late = outages(flows(probe(50, Path(delay_down=lambda n: 300 * MS if n == 7 else MS), late=100 * MS))[0])[0]
    assert late.direction == "late"


def test_own_gaps_are_no_outage() -> None:
    run = probe(100, Path(pauses={40: 30 * MS}))
    flow = flows(run)[0]
    assert outages(flow) == []
    assert own_gaps(flow) == [(START + 38 * MS, START + 69 * MS)]


@pytest.mark.parametrize("pause_at", [50, 60, 70])
def test_own_gaps_before_in_and_after_an_outage_are_left_out(pause_at: int) -> None:
    """Lost are 50 to 69; the prober slept for 30 ms before the first, between two, or after the last of them."""
    run = probe(100, Path(up=range(50, 70), pauses={pause_at: 30 * MS}))
    (outage,) = outages(flows(run)[0])
    assert outage.duration == 20 * MS
    assert outage.unobserved == (30 * MS if pause_at == 60 else 0)
    assert outage.longest == 51 * MS  # it may have lasted: that is not hidden
    assert outage.shortest == 19 * MS


def test_late_sends_of_less_than_a_slot_belong_to_the_resolution() -> None:
    run = probe(1000, Path(pauses=dict.fromkeys(range(100, 1000, 40), 400_000)))
    flow = flows(run)[0]
    assert own_gaps(flow) == []
    assert resolution([flow]) == MS + 400_000
    assert resolution([flows(probe(1000, Path()))[0]]) == MS
    assert resolution([]) == 0


def test_all_flows_are_out_only_when_none_gets_through() -> None:
    run = probe(100, Path(up=range(20, 61)), Path(up=range(40, 81)), Path(up=range(50, 56)))
    all_flows = flows(run)
    (blackout,) = outages_of_all(all_flows)
    assert blackout.flow == ALL
    assert blackout.lost == 20  # numbers 50 to 55 of all, and 56 of the two that are sent before the third
    assert abs(blackout.duration - 6 * MS) < MS
    ((start, end),) = outages_of_any(all_flows)
    assert abs(end - start - 61 * MS) < MS
    assert share_of_flows(all_flows, longer_than=10 * MS) == pytest.approx(2 / 3)
    assert share_of_flows(all_flows, longer_than=0) == 1


def test_one_flow_that_gets_through_ends_every_blackout() -> None:
    run = probe(100, Path(up=range(20, 61)), Path())
    assert outages_of_all(flows(run)) == []
    assert outages_of_all([]) == []


def test_unions_of_separate_times() -> None:
    run = probe(100, Path(up=[10, 11, 50]), Path(up=[11, 12, 70]))
    assert len(outages_of_any(flows(run))) == 3


def test_slots_that_the_prober_missed_make_no_blackout() -> None:
    """Flow 0 is out; for a while the prober sends nothing on flow 1, which would have got through."""
    run = probe(100, Path(up=range(20, 61)), Path(pauses={30: 8 * MS}))
    assert outages_of_all(flows(run)) == []
