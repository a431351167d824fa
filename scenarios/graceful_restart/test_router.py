"""The router's own routing daemons end: graceful restart on Cilium's side does not make the router restart so."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness.cilium import semver
from harness.expect import Expect
from harness.faults.base import Fault
from harness.faults.router import BgpdKilled, BgpdRestarted, RouterDaemonsRestarted
from harness.lab import Lab
from harness.measure import Measured
from harness.verdict.predict import BgpTimers, router_bgpd_restarted
from harness.wait import let_pass

pytestmark = [pytest.mark.lab(topology="restart")]

Row = Callable[[str, Callable[[], None]], Mapping[str, Measured]]
MODES = ("both", "peer-only", "none")
#: Seconds until the daemons are started again, as on the real cluster (shared/facts/l2_and_lag.md, section 7).
BACK_AFTER = 3.0


@pytest.mark.parametrize("policy", ["cluster", "local"])
@pytest.mark.parametrize("fault", [BgpdKilled, BgpdRestarted, RouterDaemonsRestarted])
def test_router_daemons_restarted(
    lab: Lab,
    expect: Expect,
    negotiated: BgpTimers,
    row: Row,
    fault: type[BgpdKilled | BgpdRestarted | RouterDaemonsRestarted],
    policy: str,
) -> None:
    """Every flow is lost until Cilium connects again, graceful restart negotiated or not: os-frr's default only helps.

    A router that ends takes its routes out of its kernel; Cilium waits 5 s before it connects again, and does not
    listen.
    """

    def act() -> None:
        injected = [lab.fault(_at(fault, mode)) for mode in MODES]
        for one in injected:
            one.wait_undone(within=BACK_AFTER + 10)
        for mode in MODES:
            lab.wait_next_hops(lab.service(policy).prefix, ["worker1"], router=mode, within=60)
        let_pass(1)

    runs = expect.runs(lambda: row(policy, act))
    version = semver.parse(lab.cilium_version)
    predicted = router_bgpd_restarted(
        negotiated, back_after=BACK_AFTER, cilium=(version.major, version.minor, version.patch)
    )
    for mode in MODES:
        expect.outage_between(
            [run[mode] for run in runs],
            min_ms=BACK_AFTER * 1e3,
            max_ms=predicted.high * 1e3 + 4000,
            predicted=predicted,
        )


def _at(fault: type[BgpdKilled | BgpdRestarted | RouterDaemonsRestarted], router: str) -> Fault:
    return fault(router, restart_after=BACK_AFTER)
