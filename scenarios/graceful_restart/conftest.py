"""The three treatments of a restart, measured at once: `topologies/restart.yaml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness.lab import Lab
from harness.measure import Measured, Probe, together
from harness.verdict.predict import BgpTimers

#: Graceful restart on both sides, on the node's side only, and on neither: routers of the topology.
MODES = ("both", "peer-only", "none")
#: Packets a second of each of the three probes: outages are known to 4 ms, and three probes leave the cores free.
RATE = 500

#: The timers that are told apart are a second and more apart: a busy core that delays the prober does not blur them.
RESOLUTION_MS = 50

Row = dict[str, Measured]


@pytest.fixture
def negotiated(lab: Lab) -> BgpTimers:
    """Assert what was negotiated with each router before anything is done; gives the graceful session's timers.

    A test of graceful restart passes for nothing when it was never negotiated (shared/facts/anchors.md, section 8).
    """
    address = lab.node("worker1").address
    both, peer_only, none = (lab.router(mode).bgp.peer(address) for mode in MODES)
    assert both.graceful_restart.capability == "advertisedAndReceived"
    assert (both.graceful_restart.local_mode, both.graceful_restart.remote_mode) == ("Helper*", "Restart")
    assert both.graceful_restart.n_bit
    assert peer_only.graceful_restart.local_mode == "Disable*"
    assert peer_only.graceful_restart.capability != "advertisedAndReceived"
    assert none.graceful_restart.remote_mode == "Disable"
    assert both.hold is not None
    assert both.keepalive is not None
    assert both.graceful_restart.restart_time is not None
    return BgpTimers(both.hold, both.keepalive, both.graceful_restart.restart_time, connect_retry=1)


@pytest.fixture
def row(lab: Lab) -> Callable[[str, Callable[[], None]], Mapping[str, Measured]]:
    """Measure what a client behind each router loses while something is done to the lab."""

    def measure(policy: str, act: Callable[[], None]) -> Row:
        address = lab.service(policy).address
        probes = {
            mode: Probe(lab, address, 7777, client=f"client-{mode}", rate=RATE, resolution_ms=RESOLUTION_MS, name=mode)
            for mode in MODES
        }
        # a run that is repeated finds what the one before has left: everything has to be up again
        lab.converge()
        with together(probes):
            act()
        return {mode: probe.measured for mode, probe in probes.items()}

    return measure
