"""How long the others take to replace a speaker that was killed: the figures that the scorecard rests on."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest

from harness.faults import SpeakerKilled
from harness.lab import Lab
from harness.metallb.settled import settled
from harness.timeline import event
from harness.verdict.predict import metallb_speaker_lost
from harness.wait import let_pass

#: Kills of one speaker; each takes some ten seconds.
RUNS = 20
#: Seconds between the probes of a member, each of another member (memberlist, DefaultLANConfig).
PROBE_INTERVAL = 1.0
#: Median seconds until the next one announces: 5.0 to 6.0 on kind, 5.6 in namespaces (facts/l2_and_lag.md).
MEDIAN = (5.3, 6.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "speakers",
    [
        pytest.param(2, marks=pytest.mark.lab(topology="metallb-two")),
        pytest.param(3, marks=pytest.mark.lab(topology="metallb-l2")),
        pytest.param(5, marks=pytest.mark.lab(topology="metallb-five")),
    ],
)
def test_median(lab: Lab, speakers: int, record_property: Callable[[str, object], None]) -> None:
    """Twenty kills of the leader's speaker, each from a memberlist that is whole."""
    web = lab.service("web").address
    assert len(lab.topology.speakers()) == speakers
    leader = lab.l2.leader(web)
    assert leader is not None
    heir = lab.l2.expected()[web].candidates[0]
    times = []
    for run in range(RUNS):
        settled(lab, web, leader)
        # that wait ends in step with the probes: without this, every kill would come at the same moment of their round
        let_pass(PROBE_INTERVAL * (speakers - 1) * run / RUNS)
        with lab.fault(SpeakerKilled(leader)) as fault:
            since = fault.at_ns
            heard = lab.timeline.wait(event.ARP_ANNOUNCED, within=30, after_ns=since, address=web, node=heir)
            times.append((heard.at_ns - since) / 1e9)
            lab.l2.wait_owner(web, heir, within=2)
    record_property("takeover_seconds", [round(seconds, 3) for seconds in times])
    ordered = sorted(times)
    shown = f"min {ordered[0]:.2f}, p50 {statistics.median(times):.2f}, max {ordered[-1]:.2f} s"
    print(f"{speakers} speakers: {shown}")
    assert MEDIAN[0] <= statistics.median(times) <= MEDIAN[1], shown
    assert ordered[0] >= metallb_speaker_lost(speakers).low - 0.1, shown
