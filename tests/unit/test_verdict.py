"""Intervals that say what they are, budgets, trust, and what timers predict against what real clusters showed."""

from __future__ import annotations

import random
from statistics import NormalDist, median
from typing import Any

import pytest

from harness.verdict import interval, predict
from harness.verdict.budget import Result, Sample, Verdict, no_outage, outage, outage_at_least
from harness.verdict.deviation import deviation
from harness.verdict.predict import BgpTimers, Lease, Prediction
from harness.verdict.trust import CpuTimes, Load, ProbeQuality, Trust, judge, load

TRUSTED = Trust(True)
DOUBTED = Trust(False, ("other programs used 60% of all cores (limit 25%)",))


def sample(outage_ms: float, *, lost: int | None = None, watched_ms: float = 60_000, trust: Trust = TRUSTED) -> Sample:
    return Sample(outage_ms, 1.0, int(outage_ms) if lost is None else lost, watched_ms, trust, detail="the timeline")


# --- intervals ---


def test_one_run_has_no_interval() -> None:
    assert interval.of_median([5.0]) is None
    assert interval.of_mean([5.0]) is None
    assert interval.interval([]) is None


def test_the_t_interval_of_a_textbook_sample() -> None:
    # n = 5, mean 3, s = 1.5811; t(0.975, 4) = 2.776: 3 +- 1.963
    found = interval.of_mean([1, 2, 3, 4, 5])
    assert found is not None
    assert [found.low, found.high] == pytest.approx([1.037, 4.963], abs=1e-3)
    assert "t interval of the mean" in str(found)


def test_durations_are_not_negative() -> None:
    values = [0.0, 0.0, 10.0]
    found, open_ended = interval.of_mean(values), interval.of_mean(values, floor=None)
    assert found is not None
    assert open_ended is not None
    assert found.low == 0
    assert open_ended.low < 0


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.706), (30, 2.042), (40, 2.021), (60, 2.000), (120, 1.980)])
def test_students_t(freedom: int, expected: float) -> None:
    assert interval._t(freedom) == pytest.approx(expected, abs=0.001)


def test_t_goes_to_the_normal_quantile() -> None:
    assert interval._t(10**6) == pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-5)


def test_the_bootstrap_is_the_same_every_time_and_holds_the_median() -> None:
    values = [50, 51, 49, 52, 48, 50.5, 90]
    found = interval.of_median(values)
    assert found == interval.of_median(values)
    assert found is not None
    assert found.low <= median(values) <= found.high
    assert found.high <= 90
    assert "bootstrap of the median" in found.method


def test_the_method_follows_the_number_of_runs() -> None:
    few, many = interval.interval([1, 2, 3, 4, 5]), interval.interval([1, 2, 3, 4, 5, 6])
    assert few is not None
    assert many is not None
    assert "mean" in few.method
    assert "median" in many.method


@pytest.mark.parametrize("make", [interval.of_median, interval.of_mean])
def test_coverage_is_about_95_percent(make: object) -> None:
    """Of 200 samples of a uniform outage (the age of a keepalive), the interval holds the true middle nearly always."""
    pick = random.Random(3)
    held = 0
    for _ in range(200):
        values = [pick.uniform(6, 9) for _ in range(10)]
        found = interval.of_median(values, resamples=500) if make is interval.of_median else interval.of_mean(values)
        assert found is not None
        held += found.low <= 7.5 <= found.high
    assert held >= 180


# --- budgets ---


def verdict_of(result: Result) -> tuple[Verdict, str]:
    return result.verdict, result.message


def test_a_budget_holds_when_the_whole_interval_is_within() -> None:
    assert outage([sample(40)], max_ms=50).verdict is Verdict.PASSED
    good = outage([sample(40 + n % 3) for n in range(10)], max_ms=50, runs=10)
    assert good.verdict is Verdict.PASSED
    assert good.interval is not None
    assert good.interval.runs == 10


def test_a_budget_fails_with_what_was_measured_and_why() -> None:
    verdict, message = verdict_of(outage([sample(60)], max_ms=50))
    assert verdict is Verdict.FAILED
    assert (
        message
        == "expected an outage of at most 50 ms over 1 run: measured 60.0 ms (one run, no interval)\nthe timeline"
    )
    assert outage([sample(60 + n) for n in range(10)], max_ms=50, runs=10).verdict is Verdict.FAILED


def test_an_interval_across_the_budget_does_not_show_it() -> None:
    verdict, message = verdict_of(outage([sample(ms) for ms in (30, 45, 70)], max_ms=50, runs=3))
    assert verdict is Verdict.FAILED
    assert "not shown" in message


def test_one_bad_run_can_be_limited() -> None:
    runs = [sample(40)] * 9 + [sample(900)]
    assert outage(runs, max_ms=50, runs=10).verdict is Verdict.PASSED  # the median's interval does not see it
    verdict, message = verdict_of(outage(runs, max_ms=50, runs=10, worst_ms=200))
    assert verdict is Verdict.FAILED
    assert "900" in message


@pytest.mark.parametrize("outage_ms", [0, 10_000])
def test_an_untrusted_run_neither_passes_nor_fails(outage_ms: float) -> None:
    runs = [sample(outage_ms), sample(outage_ms, trust=DOUBTED)]
    for result in (
        outage(runs, max_ms=50, runs=2),
        no_outage(runs, window_ms=1000, precondition="GR was on", held=True),
        outage_at_least(runs, min_ms=100),
    ):
        assert result.verdict is Verdict.UNTRUSTED
        assert "1 of 2 runs untrusted: other programs used 60%" in result.message


def test_too_few_runs_prove_nothing() -> None:
    assert outage([sample(1)] * 3, max_ms=50, runs=10).verdict is Verdict.UNTRUSTED
    assert outage([], max_ms=50).verdict is Verdict.UNTRUSTED


def test_no_outage_needs_a_precondition_a_window_and_not_one_lost_packet() -> None:
    def check(held: bool = True, **of_sample: float) -> Result:
        runs = [sample(0), Sample(0, 1, int(of_sample.get("lost", 0)), of_sample.get("watched_ms", 60_000), TRUSTED)]
        return no_outage(runs, window_ms=30_000, precondition="GR was negotiated both ways", held=held, runs=2)

    assert check().verdict is Verdict.PASSED
    assert check(lost=1).verdict is Verdict.FAILED
    assert "29000 ms only" in check(watched_ms=29_000).message
    assert check(watched_ms=29_000).verdict is Verdict.FAILED
    vacuous = check(held=False)
    assert vacuous.verdict is Verdict.FAILED
    assert "nothing to prove" in vacuous.message


def test_a_control_without_an_outage_is_blind() -> None:
    assert outage_at_least([sample(3000), sample(2500)], min_ms=1000, runs=2).verdict is Verdict.PASSED
    verdict, message = verdict_of(outage_at_least([sample(3000), sample(0)], min_ms=1000, runs=2))
    assert verdict is Verdict.FAILED
    assert "blind" in message


def test_facts_for_a_result_file() -> None:
    facts = outage([sample(40), sample(40.5)], max_ms=50, runs=2).facts()
    assert facts["verdict"] == "passed"
    assert facts["outages_ms"] == [40, 40.5]
    assert facts["interval_ms"]["method"] == "95 % t interval of the mean"
    assert facts["trust"] == ["trusted", "trusted"]
    assert outage([sample(40)], max_ms=50).facts()["interval_ms"] is None


# --- trust ---


def test_cpu_times_of_proc_stat() -> None:
    before = CpuTimes.parse("cpu  100 0 50 800 10 1 2 3 0 0\n")
    after = CpuTimes.parse("cpu  200 0 100 850 20 1 2 27 0 0\n")
    used = after - before
    assert (used.busy, used.total) == (150, 234)
    found = load(before, after, lab_ticks=100)
    assert found.foreign == pytest.approx(50 / 234)
    assert found.lab == pytest.approx(100 / 234)
    assert found.steal == pytest.approx(24 / 234)
    assert load(before, before, lab_ticks=0) == Load(0, 0, 0)
    assert load(before, after, lab_ticks=1000).foreign == 0
    for bad in ("cpu0 1 2 3 4 5 6 7 8", "cpu 1 2", "intr 1"):
        with pytest.raises(ValueError, match=r"proc/stat"):
            CpuTimes.parse(bad)


def quality(**of: Any) -> ProbeQuality:
    return ProbeQuality(**{"interval_ms": 1.0, "spacing_p99_ms": 1.1, **of})


def test_an_idle_machine_is_trusted() -> None:
    trust = judge(cpu=Load(0.3, 0.05, 0.0), probes=[quality(stamps=1000, stamps_replaced=1)])
    assert trust.trusted
    assert str(trust) == "trusted"
    assert trust.figures["foreign_cpu"] == 0.05
    assert judge().trusted


@pytest.mark.parametrize(
    ("cpu", "probe", "says"),
    [
        (Load(0.3, 0.6, 0.0), quality(), "other programs used 60%"),
        (Load(0.3, 0.0, 0.2), quality(), "hypervisor took 20%"),
        (None, quality(spacing_p99_ms=5.0), "4.0 ms late"),
        (None, quality(own_gap_ms=30.0), "sent nothing for 30.0 ms"),
        (None, quality(clock_steps=1), "stepped"),
        (None, quality(socket_drops=4), "dropped 4 replies"),
        (None, quality(stamps=100, stamps_replaced=2), "2 of 100 receive stamps"),
    ],
)
def test_what_makes_a_run_untrusted(cpu: Load | None, probe: ProbeQuality, says: str) -> None:
    trust = judge(cpu=cpu, probes=[quality(), probe])
    assert not trust.trusted
    assert len(trust.reasons) == 1
    assert says in trust.reasons[0]


def test_a_coarse_question_bears_more_jitter() -> None:
    late = quality(spacing_p99_ms=8.0, own_gap_ms=20.0)
    assert not judge(probes=[late]).trusted
    assert judge(probes=[late], resolution_ms=100).trusted
    assert not judge(probes=[quality()], realtime_steps=1).trusted


# --- predictions: what was measured on real clusters must lie within ---

QUICK = BgpTimers(hold=9, keepalive=3, restart=20, connect_retry=5)
GUIDE = BgpTimers(hold=90, keepalive=30, restart=120)


@pytest.mark.parametrize(
    ("prediction", "measured"),
    [
        (predict.silent_node(QUICK, graceful_restart=True), (27.0, 28.0)),
        (predict.silent_node(QUICK, graceful_restart=False), (6.1, 8.5)),
        (predict.silent_node(QUICK, graceful_restart=True, notification_bit=False), (7.6, 7.6)),
        (predict.silent_node(GUIDE, graceful_restart=True), (180.5, 210.0)),
        (predict.link_down(QUICK, carrier_lost_at_router=True, graceful_restart=True), (0.0, 0.4)),
        (predict.link_down(QUICK, carrier_lost_at_router=False, graceful_restart=True), (27.0, 28.0)),
        (predict.node_killed(QUICK, graceful_restart=True), (20.0, 20.3)),
        (predict.node_killed(QUICK, graceful_restart=False), (0.1, 0.4)),
        (predict.agent_restarted(QUICK, graceful_restart=True, back_after=3, cilium=(1, 18, 0)), (0.0, 0.0)),
        (predict.agent_restarted(QUICK, graceful_restart=False, back_after=3, cilium=(1, 18, 0)), (4.2, 5.5)),
        (predict.agent_restarted(QUICK, graceful_restart=True, back_after=25, cilium=(1, 18, 0)), (6.2, 8.0)),
        (predict.agent_gone(QUICK, graceful_restart=True, watched=60), (39.7, 40.0)),
        (predict.agent_gone(QUICK, graceful_restart=True, watched=10), (0.0, 0.0)),
        (predict.agent_gone(QUICK, graceful_restart=False, watched=60), (59.6, 60.0)),
        (predict.router_bgpd_restarted(QUICK, back_after=3, cilium=(1, 17, 0)), (10.0, 14.0)),
        (predict.router_bgpd_restarted(QUICK, back_after=3, cilium=(1, 18, 0)), (6.0, 7.4)),
        (predict.metallb_speaker_lost(2), (5.3, 6.2)),
        (predict.metallb_speaker_lost(5), (5.3, 7.4)),
        (predict.metallb_speaker_lost(5, confirmed=False), (25.9, 27.4)),
        (predict.metallb_speaker_lost(3, confirmed=False), (5.4, 6.8)),
        (predict.metallb_speaker_left(), (0.0, 0.9)),
        (predict.cilium_l2_node_lost(), (14.0, 18.0)),
        (predict.cilium_l2_released(), (0.0, 4.0)),
        (predict.lost_announcement("freebsd"), (0.0, 1201.0)),
        (predict.lost_announcement("linux"), (0.0, 54.0)),
        (predict.dead_backend(), (48.0, 48.0)),
    ],
)
def test_measured_durations_lie_within_the_prediction(prediction: Prediction, measured: tuple[float, float]) -> None:
    low, high = measured
    assert prediction.low <= low + 1e-9
    assert high <= prediction.high + 1e-9
    assert prediction.low <= prediction.likely <= prediction.high
    assert prediction.formula
    assert prediction.source


def test_predictions_are_no_wider_than_their_timers() -> None:
    """A range that holds everything predicts nothing."""
    quiet = predict.silent_node(QUICK, graceful_restart=True)
    assert quiet.high - quiet.low <= QUICK.keepalive + 0.5
    assert predict.silent_node(QUICK, graceful_restart=False).high < quiet.low
    assert predict.metallb_speaker_lost(5).high < predict.metallb_speaker_lost(5, confirmed=False).low
    assert predict.cilium_l2_node_lost(Lease(duration=6, retry=1)).high < predict.cilium_l2_node_lost().low


def test_a_router_that_comes_back_late_is_waited_for_with_the_retry_time() -> None:
    slow = predict.router_bgpd_restarted(GUIDE, back_after=30, cilium=(1, 18, 0))
    assert (slow.low, slow.high) == (126, 247.4)  # facts/cilium.md 3.3: 120 to 240 s after the first attempt
    newer = predict.router_bgpd_restarted(GUIDE, back_after=30, cilium=(1, 20, 2))
    assert (newer.low, newer.high) == (96.5, 127.4)
    between = predict.router_bgpd_restarted(QUICK, back_after=6.3, cilium=(1, 18, 0))
    assert between.low == 6.5
    assert between.high == pytest.approx(17.4)
    many = predict.router_bgpd_restarted(QUICK, back_after=40, cilium=(1, 20, 0))
    assert many.low == pytest.approx(40.2)
    assert 45 < many.high < 60


def test_freebsd_arp() -> None:
    refreshed = predict.freebsd_arp_silence(100, 400)
    assert (refreshed.low, refreshed.high) == (0, 0)
    mute = predict.freebsd_arp_silence(1190, 1225)
    assert (mute.low, mute.high) == (24, 25)
    # facts/l2_and_lag.md 2.3, S1: mute for 30 s over the refresh, at a scale of 0.02: 20.7 s in unscaled time
    scaled = predict.freebsd_arp_silence(23.84, 24.44, scale=0.02)
    assert scaled.low / 0.02 == pytest.approx(21, abs=1)


def test_first_connects_by_version() -> None:
    assert predict.first_connect((1, 15, 19)) == predict.first_connect((1, 16, 9)) == (5, 10)
    assert predict.first_connect((1, 16, 10)) == predict.first_connect((1, 17, 3)) == (1, 2)
    assert predict.first_connect((1, 17, 2)) == (5, 10)
    assert predict.first_connect((1, 20, 0)) == (1.5, 2.0)
    assert predict.next_connect(2, (1, 15, 0)) == (5, 10)
    assert predict.share_of_flows(4) == 0.25


# --- deviation ---


def test_agreement_is_no_finding() -> None:
    predicted = predict.silent_node(QUICK, graceful_restart=True)
    assert deviation(27_500, predicted) is None
    assert deviation(30_500, predicted) is None  # within 5 %
    interval_across = interval.Interval(24_000, 28_000, 26_000, 10, "t")
    assert deviation(interval_across, predicted) is None


def test_a_deviation_says_how_much_and_from_what() -> None:
    predicted = predict.silent_node(QUICK, graceful_restart=True)
    found = deviation(8_000, predicted)
    assert found is not None
    assert found.text.startswith("measured 8.00 s, 18.00 s shorter than predicted: 26.0 to 29.4 s (hold 9 s")
    assert str(found) == found.text
    longer = deviation(interval.Interval(40_000, 42_000, 41_000, 10, "t"), predicted)
    assert longer is not None
    assert "longer" in longer.text
    assert deviation(600, predict.agent_restarted(QUICK, graceful_restart=True, back_after=3, cilium=(1, 18, 0)))
