"""What graceful restart buys where another next hop is ready: not packets, but flows that stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness.expect import Expect
from harness.faults.agent import AgentKilled
from harness.lab import Lab
from harness.measure import Measured
from harness.verdict.predict import BgpTimers
from harness.wait import let_pass

pytestmark = [pytest.mark.lab(topology="failover")]

Row = Callable[..., Mapping[str, Measured]]
MODES = ("graceful", "plain")


@pytest.mark.gate
@pytest.mark.scorecard("announcer killed", graceful="cilium-bgp-gr", plain="cilium-bgp")
def test_agent_killed_with_a_spare_next_hop(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row) -> None:
    """On a real cluster (Cilium 1.17) an agent's death cost nothing with graceful restart *and* without it.

    The node's datapath goes on, and without graceful restart the other node takes its flows over: they move, which the
    servers see as unknown peers, once when the route goes and once when it is back.
    """
    address = lab.node("worker1").address

    def act() -> None:
        lab.fault(AgentKilled("worker1", restart_after=1))
        for mode in MODES:
            lab.router(mode).wait_established(address)
        let_pass(negotiated.restart)

    runs = expect.runs(lambda: row("cluster", act))
    for mode in MODES:
        expect.no_outage(
            [run[mode] for run in runs],
            window=negotiated.restart - 1,
            precondition="the session of one of two next hops was lost and came back",
            held=lab.router(mode).bgp.peer(address).dropped_count > 0,
        )
    for run in runs:
        assert run["graceful"].analysis.moves == [], "flows moved although the route was kept"
        assert run["plain"].analysis.moves, "no flow moved although the route was gone: the control is blind"


def test_api_server_away_while_the_agent_restarts(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row) -> None:
    """An agent that starts without an API server knows of no peers: the routes go when the restart time is over.

    Not in Cilium's documentation; by its code (facts/cilium.md 3.4). The other node's agent, which only lost its
    watches, announces on.
    """
    prefix = lab.service("cluster").prefix

    def act() -> None:
        lab.api_server.kill()
        lab.node("worker1").agent.kill()
        lab.node("worker1").agent.start()
        lab.wait_next_hops(prefix, ["worker2"], router="plain", within=5)
        assert lab.next_hops(prefix, "graceful").kernel == {"worker1", "worker2"}, "kept as stale for the restart time"
        lab.wait_next_hops(prefix, ["worker2"], router="graceful", within=negotiated.restart + 5)
        lab.hold_next_hops(prefix, ["worker2"], router="graceful", window=negotiated.hold + 1)
        lab.api_server.start()
        lab.wait_next_hops(prefix, ["worker1", "worker2"], router="graceful", within=60)

    (run,) = expect.runs(lambda: row("cluster", act), count=1)
    for mode in MODES:  # the other node takes the flows over before the route to this one goes
        precondition = "worker1 was no next hop for a time, while its datapath forwarded on"
        expect.no_outage(run[mode], window=negotiated.restart, precondition=precondition, held=True)


@pytest.mark.parametrize("process", ["operator", "controller_manager"])
def test_control_plane_part_gone(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row, process: str) -> None:
    """No packet depends on Cilium's operator or on Kubernetes' controllers while nothing changes."""
    part = getattr(lab, process)

    def act() -> None:
        part.kill()
        let_pass(negotiated.hold + 3)
        assert not part.running
        part.start()

    runs = expect.runs(lambda: row("cluster", act))
    for mode in MODES:
        expect.no_outage(
            [run[mode] for run in runs],
            window=negotiated.hold + 1,
            precondition=f"the {process.replace('_', ' ')} was gone for longer than the hold time",
            held=True,
        )
