"""A router reboots, one of two routers is lost, or BGP alone cannot pass."""

from __future__ import annotations

from typing import Literal

import pytest

from harness.cilium import semver
from harness.expect import Expect
from harness.faults.bgp_filter import BgpFiltered
from harness.faults.router import RouterRebooted
from harness.lab import Lab
from harness.measure import Measured, Probe, together
from harness.verdict.predict import BgpTimers, Prediction, router_bgpd_restarted
from harness.wait import let_pass

#: Seconds that a router is away.
DOWN = 5.0


@pytest.mark.lab(topology="two-routers")
@pytest.mark.parametrize("orderly", [True, False])
def test_one_of_two_routers_reboots(lab: Lab, expect: Expect, orderly: bool) -> None:
    """The other router's client loses nothing; the rebooted one's waits until Cilium has connected again."""
    web = lab.service("web")

    def run() -> dict[str, Measured]:
        probes = {
            "rebooted": Probe(
                lab, web.address, 7777, client="client1", rate=500, resolution_ms=50, name="behind the rebooted router"
            ),
            "other": Probe(
                lab, web.address, 7777, client="client2", rate=500, resolution_ms=50, name="behind the other router"
            ),
        }
        with together(probes):
            lab.fault(RouterRebooted("opnsense1", down_for=DOWN, orderly=orderly)).wait_undone(within=DOWN + 15)
            lab.wait_next_hops(web.prefix, lab.nodes, router="opnsense1", within=60)
            let_pass(1)
        return {name: probe.measured for name, probe in probes.items()}

    runs = expect.runs(run)
    peer = lab.router("opnsense1").bgp.peer(lab.node("worker1").address)
    timers = BgpTimers(peer.hold or 3, peer.keepalive or 1, 6, connect_retry=1)
    version = semver.parse(lab.cilium_version)
    cilium = (version.major, version.minor, version.patch)
    back = router_bgpd_restarted(timers, back_after=DOWN, cilium=cilium)
    expect.outage_between(
        [one["rebooted"] for one in runs], min_ms=DOWN * 1e3 - 200, max_ms=back.high * 1e3 + 6000, predicted=back
    )
    # the nodes' replies go through the first router, their gateway: that is what its reboot costs the other client
    replies = Prediction(DOWN, DOWN, DOWN + 1, "the nodes' gateway is away", "topologies/two-routers.yaml")
    expect.outage_between(
        [one["other"] for one in runs], min_ms=DOWN * 1e3 - 300, max_ms=DOWN * 1e3 + 2000, predicted=replies
    )
    for one in runs:
        worst = one["other"].worst()
        assert worst is not None
        assert worst.direction == "down", f"requests were lost {worst.direction}, not replies"


@pytest.mark.lab(topology="failover")
@pytest.mark.parametrize("direction", ["from", "to"])
def test_bgp_filtered_one_way(lab: Lab, expect: Expect, direction: Literal["from", "to"]) -> None:
    """TCP 179 with one node is dropped one way: its session ends by a hold timer, and no packet is lost.

    The node goes on forwarding, so a dead session with a living node costs nothing but the spare.
    """
    prefix = lab.service("cluster").prefix
    peer = lab.router("plain").bgp.peer(lab.node("worker1").address)
    hold = peer.hold or 3

    def run() -> Measured:
        probe = Probe(
            lab, lab.service("cluster").address, 7777, client="client-plain", rate=50, flows=16, resolution_ms=50
        )
        with probe, lab.fault(BgpFiltered("worker1", direction=direction, router="plain")):
            lab.wait_next_hops(prefix, ["worker2"], router="plain", within=hold + 5)
            let_pass(2)
            assert lab.next_hops(prefix, "plain").kernel == {"worker2"}
        return probe.measured

    runs = expect.runs(run)
    expect.no_outage(runs, window=2, precondition="the session of one of two next hops ended", held=True)
