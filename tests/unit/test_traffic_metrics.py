"""The metrics of the RFCs on streams whose answers are known by hand."""

from __future__ import annotations

import pytest
from probe_data import MS, START, Path, probe

from harness.traffic import convergence, metrics
from harness.traffic.packets import flows


def test_loss_by_direction() -> None:
    run = probe(100, Path(up={10, 11}, down={20}, unsent={30}), Path(up={100}))
    loss = metrics.loss(flows(run))
    assert (loss.sent, loss.lost_up, loss.lost_down, loss.lost_unknown, loss.unsent) == (199, 2, 1, 1, 1)
    assert loss.lost == 4
    assert loss.ratio == 4 / 199
    assert loss.ratio_up == 2 / 199
    assert loss.ratio_down == 1 / 196  # of what the server answered
    assert loss.duplicate_ratio == 0


def test_nothing_sent_has_no_ratio_to_divide_by() -> None:
    loss = metrics.loss([])
    assert (loss.ratio, loss.ratio_up, loss.ratio_down, loss.duplicate_ratio) == (0, 0, 0, 0)


def test_loss_episodes() -> None:
    run = probe(100, Path(up={10, 11, 12, 50}))
    found = metrics.episodes(flows(run)[0])
    assert (found.count, found.frequency, found.mean_packets) == (2, 0.02, 2)
    assert (found.mean_duration, found.longest) == (2 * MS, 3 * MS)
    none = metrics.episodes(flows(probe(10, Path()))[0])
    assert (none.count, none.mean_duration, none.longest) == (0, 0, 0)


def test_reordering_by_who_overtook() -> None:
    # Number 5 takes 3.5 ms longer on the way up: 6, 7 and 8 come before it.
    run = probe(10, Path(delay_up=lambda n: 3_600_000 if n == 5 else 100_000))
    flow = flows(run)[0]
    up = metrics.reordering(flow, "up")
    assert (up.received, up.reordered, up.greatest_extent, up.ratio) == (10, 1, 3, 0.1)
    assert metrics.reordering(flow, "round trip").reordered == 1
    down = probe(10, Path(delay_down=lambda n: 3_600_000 if n == 5 else 100_000))
    assert metrics.reordering(flows(down)[0], "up").reordered == 0
    assert metrics.reordering(flows(down)[0], "round trip").greatest_extent == 3


def test_delay_variation() -> None:
    run = probe(100, Path(delay_up=lambda n: MS + (n % 2) * 100_000, delay_down=lambda n: 2 * MS))
    up = metrics.variation(flows(run)[0], "up")
    assert up is not None
    assert (up.delay.minimum, up.delay.maximum) == (MS, MS + 100_000)
    assert (up.pdv.minimum, up.pdv.p99) == (0, 100_000)
    assert (up.ipdv.minimum, up.ipdv.maximum) == (100_000, 100_000)
    down = metrics.variation(flows(run)[0], "down")
    assert down is not None
    assert down.pdv.maximum == down.ipdv.maximum == 0
    both = metrics.variation(flows(run)[0], "round trip")
    assert both is not None
    assert both.delay.p50 in (3 * MS + 10, 3 * MS + 100_010)


def test_delay_variation_is_of_successive_packets_only() -> None:
    # 6 is lost; 5 and 7 differ, but they are no pair (RFC 3393, selection function).
    run = probe(8, Path(up={6}, delay_up=lambda n: 5 * MS if n >= 7 else MS))
    up = metrics.variation(flows(run)[0], "up")
    assert up is not None
    assert up.ipdv.maximum == 0
    assert metrics.variation(flows(probe(3, Path(up={1, 2, 3})))[0], "up") is None


def test_quantiles_are_values_that_occurred() -> None:
    spread = metrics.spread(list(range(1, 101)))
    assert (spread.minimum, spread.p50, spread.p95, spread.p99, spread.maximum) == (1, 50, 95, 99, 100)
    assert metrics.spread([7]).p99 == 7
    assert metrics.spread([1, 2]).p50 == 1


def test_loss_of_connectivity_periods() -> None:
    run = probe(1000, Path(up=range(100, 200)), Path(up=range(100, 400)), Path())
    loc = convergence.loss_of_connectivity(flows(run))
    assert loc.by_flow == {0: 100 * MS, 1: 300 * MS, 2: 0}
    assert (loc.minimum, loc.maximum, loc.median) == (0, 300 * MS, 100 * MS)
    assert convergence.loss_derived(flows(run)) == loc.average == 400 * MS // 3
    until = convergence.loss_of_connectivity(flows(run), since=START, until=START + 199 * MS)
    assert until.by_flow[1] == pytest.approx(100 * MS, abs=MS)
    assert convergence.loss_of_connectivity([]).maximum == 0


def test_rate_derived_convergence() -> None:
    # Flow 0 is out from 100 to 300 ms, flow 1 from 100 to 200 ms: half of the rate is back at 200.
    run = probe(1000, Path(up=range(101, 301)), Path(up=range(101, 201)))
    rate = convergence.rate_derived(flows(run))
    assert rate.sampling == 10 * MS
    assert rate.instant == pytest.approx(START + 100 * MS, abs=rate.sampling)
    assert rate.first_route == pytest.approx(START + 200 * MS, abs=rate.sampling)
    assert rate.recovery == pytest.approx(START + 300 * MS, abs=rate.sampling)
    assert rate.full == pytest.approx(200 * MS, abs=2 * rate.sampling)


def test_rate_derived_convergence_after_an_event_and_without_an_end() -> None:
    run = probe(1000, Path(up=[10, *range(501, 1001)]))
    rate = convergence.rate_derived(flows(run), since=START + 100 * MS)
    assert rate.instant == pytest.approx(START + 500 * MS, abs=rate.sampling)
    assert (rate.recovery, rate.full, rate.first_route) == (None, None, None)
    clean = convergence.rate_derived(flows(probe(100, Path())))
    assert (clean.instant, clean.full) == (None, None)
    assert convergence.rate_derived([]).full is None


def test_samples_of_slow_flows_hold_at_least_two_packets() -> None:
    run = probe(60, Path(up=range(30, 40)), rate=30)
    rate = convergence.rate_derived(flows(run))
    assert rate.sampling > 60 * MS
    assert rate.full == pytest.approx(333 * MS, abs=2 * rate.sampling)


def test_what_was_lost_after_an_event() -> None:
    run = probe(100, Path(up=[10, 50, 51]), Path(up=[60]))
    assert convergence.first_loss_after(flows(run), START + 20 * MS) == START + 49 * MS
    assert convergence.first_loss_after(flows(run), START + 80 * MS) is None
    assert convergence.answered_between(flows(run)[0], START + 49 * MS, START + 59 * MS) == (11, 9)
