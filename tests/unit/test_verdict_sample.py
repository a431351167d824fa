"""The outage that a fault caused, and how well the prober knows it."""

from __future__ import annotations

from probe_data import MS, START, Path, probe

from harness.traffic.analysis import analyse
from harness.traffic.records import ClockStep, End
from harness.verdict.sample import outage_of, quality, sample
from harness.verdict.trust import Load


def test_the_outage_after_the_fault_is_taken() -> None:
    run = probe(1000, Path(up=[*range(50, 250), *range(501, 551), *range(700, 710)]))
    found = sample(run, analyse(run), at=START + 500 * MS)
    assert found.outage_ms == 50
    assert found.lost == 60
    assert found.watched_ms == 499
    assert found.resolution_ms == 1
    assert found.trust.trusted
    assert found.detail == "flow 0: 50 packets lost up, from -0.5 to +49.5 ms after the fault"
    until = outage_of(analyse(run), START, until=START + 400 * MS)
    assert until is not None
    assert until.lost == 200


def test_nothing_lost_is_a_sample_too() -> None:
    run = probe(1000, Path())
    found = sample(run, analyse(run), at=START + 500 * MS, details=["the timeline"])
    assert (found.outage_ms, found.lost, found.detail) == (0, 0, "the timeline")


def test_what_the_prober_missed_counts_where_the_question_is() -> None:
    early = probe(1000, Path(up=range(501, 551), pauses={100: 30 * MS}))
    assert sample(early, analyse(early), at=START + 500 * MS).trust.trusted
    within = probe(1000, Path(up=range(501, 551), pauses={520: 30 * MS}))
    doubt = sample(within, analyse(within), at=START + 500 * MS)
    assert "sent nothing for 30.0 ms" in str(doubt.trust)
    at_the_end = probe(1000, Path(up=range(501, 551), pauses={551: 30 * MS}))
    assert not sample(at_the_end, analyse(at_the_end), at=START + 500 * MS).trust.trusted
    coarse = sample(within, analyse(within), at=START + 500 * MS, resolution_ms=100)
    assert coarse.trust.trusted
    # An outage may hide in an own gap, so it matters anywhere when none was seen.
    unseen = probe(1000, Path(pauses={100: 30 * MS}))
    assert not sample(unseen, analyse(unseen), at=START + 500 * MS).trust.trusted


def test_doubts_about_the_machine_and_its_clock() -> None:
    run = probe(1000, Path())
    assert not sample(run, analyse(run), at=START, cpu=Load(0.1, 0.7, 0.0)).trust.trusted
    run.clock_steps.append(ClockStep(START, 10**9))
    run.end = End(at=START, stopped_by="duration", sent=1000, replies=1000, cpu=0, stamps_replaced=50, socket_drops=3)
    found = quality(run, analyse(run))
    assert (found.clock_steps, found.stamps, found.stamps_replaced, found.socket_drops) == (1, 1000, 50, 3)
    assert len(sample(run, analyse(run), at=START).trust.reasons) == 3
