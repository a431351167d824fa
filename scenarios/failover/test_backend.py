"""A backend dies: for whom, for how long, and that this is not mistaken for a routing outage."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness.expect import Expect
from harness.faults.backend import BackendKilled, BackendUnready
from harness.lab import Lab
from harness.measure import Measured
from harness.reset import replace_restarted
from harness.traffic.packets import Place
from harness.verdict.predict import Prediction
from harness.wait import let_pass, until

pytestmark = [pytest.mark.lab(topology="failover")]

Row = Callable[..., Mapping[str, Measured]]
MODES = ("graceful", "plain")


@pytest.mark.parametrize("service", ["cluster", "local"])
def test_killed(lab: Lab, expect: Expect, row: Row, service: str) -> None:
    """One of two: its flows are lost until the kubelet has started it again or they go to the other; no route moves."""
    prefix = lab.service(service).prefix
    before = {mode: lab.next_hops(prefix, mode) for mode in MODES}

    def act() -> None:
        victim = lab.service(service).ready_backends()[0]
        lab.fault(BackendKilled(f"default/{service}", node=victim.node, pod=victim.pod))
        until(
            "both backends to be ready",
            lambda: lab.service(service).ready_backends(),
            lambda backends: len(backends) == 2,
            within=20,
        )
        let_pass(2)

    def once() -> Mapping[str, Measured]:
        replace_restarted(lab)  # of a pod that was killed before, the kubelet delays the restart by 10 s and more
        return row(service, act, taps=True)

    runs = expect.runs(once)
    predicted = Prediction(0.0, 0.1, 1.5, "the kubelet starts it again at once", "kubelet: first restart without delay")
    for mode in MODES:
        expect.outage([run[mode] for run in runs], max_ms=1500, predicted=predicted)
    for run in runs:
        for mode in MODES:
            places = {outage.place for outage in run[mode].analysis.outages}
            assert not places & {Place.TO_NODE, Place.TO_CLIENT}, f"{mode}: lost {places}, and it was the backend"
    assert {mode: lab.next_hops(prefix, mode) for mode in MODES} == before


@pytest.mark.gate
def test_unready_local(lab: Lab, expect: Expect, row: Row) -> None:
    """Policy Local: the node of an unready pod is no next hop any more; its flows move to the other node's pod."""
    prefix = lab.service("local").prefix
    victim = lab.service("local").ready_backends()[0]
    (other,) = {"worker1", "worker2"} - {victim.node}

    def act() -> None:
        with lab.fault(BackendUnready("default/local", node=victim.node)):
            for mode in MODES:
                lab.wait_next_hops(prefix, [other], router=mode)
            let_pass(2)

    runs = expect.runs(lambda: row("local", act))
    predicted = Prediction(0, 0.3, 2.5, "kube-proxy stops before the route is withdrawn", "facts/cilium.md section 2.2")
    for mode in MODES:
        expect.outage([run[mode] for run in runs], max_ms=2500, predicted=predicted)
