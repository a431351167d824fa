"""The announcing node's link: short and long flaps, and silence. Graceful restart was not made for these."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import pytest

from harness.expect import Expect
from harness.faults.link import LinkDown
from harness.faults.node import NodeSilent
from harness.lab import Lab
from harness.measure import Measured
from harness.verdict.conformance import MILLISECONDS
from harness.verdict.predict import BgpTimers, Prediction, silent_node
from harness.wait import let_pass, until

pytestmark = [pytest.mark.lab(topology="restart")]

Row = Callable[[str, Callable[[], None]], Mapping[str, Measured]]
POLICIES = pytest.mark.parametrize("policy", ["cluster", "local"])
MODES = ("both", "peer-only", "none")


def up_again(lab: Lab, policy: str) -> None:
    """Wait until every router has the route back, fresh and in its kernel."""
    for mode in MODES:
        lab.wait_next_hops(lab.service(policy).prefix, ["worker1"], router=mode, within=30)


@POLICIES
def test_short_flap(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row, policy: str) -> None:
    """A link that is away for less than the hold time costs that time and no session, whatever was negotiated."""
    away = 1.0
    address = lab.node("worker1").address
    count = {mode: lab.router(mode).bgp.peer(address).established_count for mode in MODES}

    def act() -> None:
        lab.fault(LinkDown("worker1", where="path"), lasting=away).wait_undone(within=10)
        let_pass(negotiated.hold)

    runs = expect.runs(lambda: row(policy, act))
    assert {mode: lab.router(mode).bgp.peer(address).established_count for mode in MODES} == count
    predicted = Prediction(away, away, away + 0.1, f"link away for {away:g} s, no timer fires", "RFC 4271 section 6.5")
    for mode in MODES:
        expect.outage_between(
            [run[mode] for run in runs], min_ms=away * 1e3 - 50, max_ms=away * 1e3 + 250, predicted=predicted
        )


@POLICIES
def test_long_flap(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row, policy: str) -> None:
    """Longer than the hold time: sessions are lost, but graceful restart keeps the stale route for the link's return.

    Without it packets wait for the session, too: the idle time of 5 s and the connect delay come on top.
    """
    away = negotiated.hold + 2

    def act() -> None:
        lab.fault(LinkDown("worker1", where="path"), lasting=away).wait_undone(within=away + 10)
        up_again(lab, policy)
        let_pass(1)

    runs = expect.runs(lambda: row(policy, act))
    kept = Prediction(away, away, away + 0.5, f"link away for {away:g} s, route kept stale", "RFC 8538 section 4")
    expect.outage_between(
        [run["both"] for run in runs], min_ms=away * 1e3 - 100, max_ms=away * 1e3 + 1000, predicted=kept
    )
    reconnect = Prediction(
        away, negotiated.hold + 8, negotiated.hold + 12, "hold time + idle 5 s + connect", "facts/cilium.md section 3.3"
    )
    for mode in ("peer-only", "none"):
        measured = [run[mode] for run in runs]
        expect.outage_at_least(measured, min_ms=away * 1e3 + 300, predicted=reconnect)


def test_silence_is_noticed_by_the_hold_timer(
    lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row, record_property: Callable[[str, float], None]
) -> None:
    """A silent node: the route goes after the hold time, and with graceful restart after hold + restart time.

    With the N-bit (RFC 8538) an expired hold timer starts a graceful restart: what protects that prolongs a death.
    """
    prefix = lab.service("cluster").prefix
    gone: dict[str, float] = {}

    def act() -> None:
        gone.clear()
        with lab.fault(NodeSilent("worker1")) as silent:

            def look() -> dict[str, float]:
                for mode in MODES:
                    if mode not in gone and not lab.router(mode).kernel_next_hops(prefix):
                        gone[mode] = (time.monotonic_ns() - silent.at_ns) / 1e9
                return gone

            until(
                "every router to give the route up",
                look,
                lambda seen: len(seen) == len(MODES),
                within=negotiated.hold + negotiated.restart + 10,
            )

    (run,) = expect.runs(lambda: row("cluster", act), count=1)
    for mode in MODES:
        record_property(f"{MILLISECONDS}{mode}: route given up after", round(gone[mode] * 1e3))
    plain = silent_node(negotiated, graceful_restart=False)
    graceful = silent_node(negotiated, graceful_restart=True)
    for mode in ("peer-only", "none"):
        assert plain.low - 0.3 <= gone[mode] <= plain.high + 0.5, f"{mode}: {gone[mode]:.2f} s, predicted {plain}"
    assert graceful.low - 0.3 <= gone["both"] <= graceful.high + 0.5, (
        f"both: {gone['both']:.2f} s, predicted {graceful}"
    )
    # with the node goes the only next hop: packets are lost for as long as it is silent, wherever the route is
    silent_for = Prediction(gone["both"], gone["both"], gone["both"] + 1, "as long as it is silent", "nothing else is")
    for mode in MODES:
        expect.outage_at_least(run[mode], min_ms=gone["both"] * 1e3 - 200, predicted=silent_for)
