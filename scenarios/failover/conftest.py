"""Two announcing nodes, a router with graceful restart and one without: `topologies/failover.yaml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness import negotiation
from harness.lab import Lab
from harness.measure import Measured, Probe, together
from harness.verdict.predict import BgpTimers

#: Routers of the topology: graceful restart on both sides, or on neither.
MODES = ("graceful", "plain")
#: Flows of each probe: all on one next hop has a probability of 1 in 2^15.
FLOWS = 16
#: Packets a second of each flow: outages of seconds, known to 20 ms, at 1600 packets a second in all.
RATE = 50

#: The timers that are told apart are a second and more apart: a busy core that delays the prober does not blur them.
RESOLUTION_MS = 50

Row = dict[str, Measured]


@pytest.fixture
def negotiated(lab: Lab) -> BgpTimers:
    """Assert what was negotiated with each router before anything is done; gives the graceful sessions' timers."""
    nodes = ("worker1", "worker2")
    for node in nodes:
        negotiation.plain(lab, "plain", node)
    first, second = (negotiation.graceful(lab, "graceful", node) for node in nodes)
    assert first == second
    return first


@pytest.fixture
def row(lab: Lab) -> Callable[..., Mapping[str, Measured]]:
    """Measure what a client behind each router loses while something is done to the lab."""

    def measure(service: str, act: Callable[[], None], *, taps: bool = False) -> Row:
        address = lab.service(service).address
        probes = {
            mode: Probe(
                lab,
                address,
                7777,
                client=f"client-{mode}",
                rate=RATE,
                flows=FLOWS,
                taps=taps,
                resolution_ms=RESOLUTION_MS,
                name=mode,
            )
            for mode in MODES
        }
        # a run that is repeated finds what the one before has left: everything has to be up again
        lab.converge()
        with together(probes):
            act()
        return {mode: probe.measured for mode, probe in probes.items()}

    return measure
