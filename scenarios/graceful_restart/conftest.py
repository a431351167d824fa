"""The three treatments of a restart, measured at once: `topologies/restart.yaml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness import negotiation
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
    """Assert what was negotiated with each router before anything is done; gives the graceful session's timers."""
    address = lab.node("worker1").address
    negotiation.plain(lab, "peer-only", "worker1")
    negotiation.plain(lab, "none", "worker1")
    assert lab.router("peer-only").bgp.peer(address).graceful_restart.local_mode == "Disable*"
    assert lab.router("none").bgp.peer(address).graceful_restart.remote_mode == "Disable"
    return negotiation.graceful(lab, "both", "worker1")


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
