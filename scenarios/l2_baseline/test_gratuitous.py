"""The announcements themselves: when they are sent, and how many."""

from __future__ import annotations

import time

import pytest

from harness.faults import SpeakerStopped
from harness.lab import Lab
from harness.timeline import event
from harness.wait import let_pass

pytestmark = [pytest.mark.lab(topology="metallb-l2")]

#: Seconds after the first one (MetalLB, internal/layer2/announcer.go: at once, then every 1.1 s for 5 s).
TIMES = (0.0, 1.1, 2.2, 3.3, 4.4)
TOLERANCE = 0.05
#: Longer than a series lasts; nothing repeats it later (facts/l2_and_lag.md 1.2).
WINDOW = 8.0


def test_a_move_is_announced_five_times(lab: Lab, web: str, leader: str, heir: str) -> None:
    """A request and a reply at 0, 1.1, 2.2, 3.3 and 4.4 s: ten frames; before the move, not one."""
    quiet = time.monotonic_ns()
    let_pass(WINDOW)
    assert not lab.timeline.events(quiet).of(event.ARP_ANNOUNCED, address=web), "announced although nothing moved"
    fault = lab.fault(SpeakerStopped(leader))
    lab.timeline.wait(event.ARP_ANNOUNCED, within=5, after_ns=fault.at_ns, address=web, node=heir)
    let_pass(WINDOW)
    frames = list(lab.timeline.events(fault.at_ns).of(event.ARP_ANNOUNCED, address=web))
    assert {each.data["node"] for each in frames} == {heir}
    first = frames[0].at_ns
    for operation in ("request", "reply"):
        times = [(each.at_ns - first) / 1e9 for each in frames if each.data["operation"] == operation]
        assert len(times) == len(TIMES), f"{operation}: {times}"
        assert times == pytest.approx(TIMES, abs=TOLERANCE)
