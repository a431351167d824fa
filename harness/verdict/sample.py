"""From a probe's run to the sample that a budget judges: which outage a fault caused, and how well it is known."""

from __future__ import annotations

from collections.abc import Sequence

from harness.traffic.analysis import Analysis
from harness.traffic.outages import Outage, own_gaps
from harness.traffic.records import Run
from harness.verdict.budget import Sample
from harness.verdict.trust import JITTER_MS, Load, ProbeQuality, judge

_MS = 1_000_000


def outage_of(analysis: Analysis, at: int, until: int | None = None) -> Outage | None:
    """The longest outage that a fault can have caused: one that began after it and, if given, before `until`.

    A fault is stamped when it takes effect, and the first packet that it costs may have been sent before: by less than
    the resolution, for packets on their way.
    """
    earliest = at - analysis.resolution
    caused = [
        outage for outage in analysis.outages if outage.end >= earliest and (until is None or outage.start <= until)
    ]
    return max(caused, key=lambda outage: outage.duration, default=None)


def quality(run: Run, analysis: Analysis, around: Outage | None = None) -> ProbeQuality:
    """What the prober says of itself.

    Args:
        run: The records.
        analysis: Of the run.
        around: The outage that is judged: only what the prober missed in it and at its ends matters then.
    """
    missed = analysis.longest_own_gap
    if around is not None:
        begin = around.first_lost if around.last_good is None else around.last_good
        finish = around.last_lost if around.first_good is None else around.first_good
        missed = max(
            (
                after - before - flow.interval
                for flow in analysis.flows
                if flow.number == around.flow
                for before, after in own_gaps(flow)
                if before < finish and after > begin
            ),
            default=0,
        )
    end = run.end
    return ProbeQuality(
        interval_ms=run.header.interval / _MS,
        spacing_p99_ms=analysis.resolution / _MS,
        own_gap_ms=missed / _MS,
        stamps=len(run.replies),
        stamps_replaced=(end.stamps_replaced or 0) if end else 0,
        clock_steps=len(run.clock_steps),
        socket_drops=(end.socket_drops or 0) if end else 0,
    )


def sample(
    run: Run,
    analysis: Analysis,
    *,
    at: int,
    until: int | None = None,
    cpu: Load | None = None,
    resolution_ms: float = JITTER_MS,
    details: Sequence[str] = (),
) -> Sample:
    """One run as a budget sees it.

    Args:
        run: The records.
        analysis: Of the run.
        at: When the fault took effect, ns of CLOCK_MONOTONIC.
        until: When what the fault may cause was over; None: to the end of the run.
        cpu: How CPU time was used in the run.
        resolution_ms: How finely the question needs the outage; by default as lblab promises.
        details: What else a failure should show, such as the timeline.
    """
    outage = outage_of(analysis, at, until)
    probe = quality(run, analysis, outage)
    trust = judge(cpu=cpu, probes=[probe], resolution_ms=resolution_ms)
    last = max((flow.packets[-1].sent for flow in analysis.flows if flow.packets), default=at)
    lost = sum(o.lost for o in analysis.outages if o.end >= at - analysis.resolution)
    text = list(details)
    if outage is not None:
        place = f", {outage.place.value}" if outage.place else ""
        text.insert(
            0,
            f"flow {outage.flow}: {outage.lost} packets lost {outage.direction}{place}, from "
            f"{(outage.start - at) / _MS:+.1f} to {(outage.end - at) / _MS:+.1f} ms after the fault",
        )
    return Sample(
        outage_ms=outage.duration / _MS if outage else 0.0,
        resolution_ms=analysis.resolution / _MS,
        lost=lost,
        watched_ms=max(0.0, (last - at) / _MS),
        trust=trust,
        detail="\n".join(text),
    )
