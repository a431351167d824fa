"""The announcing node's Cilium agent ends and comes back: what graceful restart saves, beside the same without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness.cilium import semver
from harness.expect import Expect
from harness.faults.agent import AgentKilled, AgentStopped
from harness.lab import Lab
from harness.measure import Measured
from harness.routing.frr import Notification
from harness.verdict.predict import BgpTimers, agent_gone, agent_restarted
from harness.wait import let_pass, until

pytestmark = [pytest.mark.lab(topology="restart")]

Row = Callable[[str, Callable[[], None]], Mapping[str, Measured]]
POLICIES = pytest.mark.parametrize("policy", ["cluster", "local"])
#: Seconds after which the agent is started again: well inside the restart time, and longer than an agent needs to end.
SOON = 1.0
#: Less than the shortest time in which an agent that has started can be connected again (facts/cilium.md 3.3).
BLIND_MS = 800
#: Cease/Peer De-configured (RFC 4486), which Cilium 1.20 sends to peers without graceful restart (facts/cilium.md 2.5).
DECONFIGURED = (6, 3)


def up_again(lab: Lab) -> None:
    """Wait until every router has the session back."""
    for router in lab.routers.values():
        router.wait_established(lab.node("worker1").address)


@pytest.mark.scorecard("announcer, the only one, is back after 1 s", both="cilium-bgp-gr", none="cilium-bgp")
@POLICIES
@pytest.mark.parametrize("fault", [AgentKilled, AgentStopped])
def test_back_inside_the_window(
    lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row, fault: type[AgentKilled | AgentStopped], policy: str
) -> None:
    """Graceful restart: no packet lost, until after the last timer. Without it: downtime, or this test is blind."""

    def act() -> None:
        injected = lab.fault(fault("worker1", restart_after=SOON))
        up_again(lab)
        # the stale routes' timer may still fire, in the protected case
        let_pass(max(0.0, negotiated.restart + 1 - SOON))
        assert not injected.active

    runs = expect.runs(lambda: row(policy, act))
    restarted = {
        graceful: agent_restarted(
            negotiated, graceful_restart=graceful, back_after=SOON, cilium=_version(lab), starts=lab.agent_starts
        )
        for graceful in (True, False)
    }
    again = lab.router("both").bgp.peer(lab.node("worker1").address).graceful_restart
    expect.no_outage(
        [run["both"] for run in runs],
        window=negotiated.restart,
        precondition="graceful restart was negotiated both ways, and the session was lost and came back",
        held=again.capability == "advertisedAndReceived",
    )
    for mode in ("peer-only", "none"):
        measured = [run[mode] for run in runs]
        expect.outage_at_least(measured, min_ms=BLIND_MS, predicted=restarted[False])
        expect.outage(measured, max_ms=restarted[False].high * 1e3 + 1000, predicted=restarted[False])


@pytest.mark.gate
def test_second_open_says_restarted(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row) -> None:
    """After its restart the agent's OPEN has the R-bit and IPv4's F-bit: forwarding state was kept (RFC 4724)."""
    address = lab.node("worker1").address
    counts: list[int] = []

    def act() -> None:
        counts.append(lab.router("both").bgp.peer(address).established_count)
        lab.node("worker1").agent.kill()
        until(
            "the route to be stale",
            lambda: [path.stale for path in lab.router("both").bgp.routes()[lab.service("local").prefix].paths],
            lambda stale: stale == [True],
            within=negotiated.restart,
        )
        lab.node("worker1").agent.start()
        up_again(lab)

    (run,) = expect.runs(lambda: row("local", act), count=1)
    after = lab.router("both").bgp.peer(address)
    assert after.established_count == counts[-1] + 1
    assert after.graceful_restart.r_bit
    assert after.graceful_restart.f_bit.get("ipv4") is True, after.graceful_restart.f_bit
    until(
        "the End-of-RIB and no stale route",
        lambda: lab.router("both").bgp.routes()[lab.service("local").prefix].paths,
        lambda paths: [path.stale for path in paths] == [False],
        within=10,
        show=lambda paths: f"stale: {[path.stale for path in paths]}",
    )
    expect.no_outage(run["both"], window=1, precondition="the route was stale", held=True)
    back = agent_restarted(
        negotiated, graceful_restart=False, back_after=0, cilium=_version(lab), starts=lab.agent_starts
    )
    for mode in ("peer-only", "none"):
        expect.outage_at_least(run[mode], min_ms=500, predicted=back)


@pytest.mark.gate
def test_notification_of_an_orderly_stop(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row) -> None:
    """SIGTERM: a graceful peer hears no NOTIFICATION; one without graceful restart hears Cease 6/3 from 1.20 on."""
    address = lab.node("worker1").address
    watched = min(2.0, negotiated.restart / 2)
    heard: dict[str, Notification | None] = {}

    def act() -> None:
        before = {name: router.bgp.peer(address).dropped_count for name, router in lab.routers.items()}
        with lab.fault(AgentStopped("worker1")):
            until(
                "every router to lose the session",
                lambda: {name: router.bgp.peer(address).dropped_count for name, router in lab.routers.items()},
                lambda counts: all(counts[name] > before[name] for name in counts),
                within=negotiated.hold + 1,
            )
            let_pass(watched)
            heard.update({name: router.bgp.peer(address).last_notification for name, router in lab.routers.items()})

    (run,) = expect.runs(lambda: row("local", act), count=1)
    received = {name: (n.code, n.subcode) for name, n in heard.items() if n is not None and n.direction == "received"}
    assert "both" not in received, f"a Cease defeats graceful restart: {received}"
    if _version(lab) >= (1, 20, 0):
        assert received.get("none") == DECONFIGURED, received
    expect.no_outage(run["both"], window=watched, precondition="the agent was stopped", held=True)
    for mode in ("peer-only", "none"):
        gone = agent_gone(negotiated, graceful_restart=False, watched=watched)
        expect.outage_at_least(run[mode], min_ms=gone.low * 1e3, predicted=gone)


@POLICIES
def test_back_after_the_window(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row, policy: str) -> None:
    """An agent that is away longer than the restart time: graceful restart shortens the outage by that time only."""
    away = negotiated.restart + 2

    def act() -> None:
        injected = lab.fault(AgentKilled("worker1", restart_after=away))
        injected.wait_undone(within=away + 10)
        up_again(lab)
        let_pass(1)

    runs = expect.runs(lambda: row(policy, act))
    for mode, graceful in (("both", True), ("peer-only", False), ("none", False)):
        predicted = agent_restarted(
            negotiated, graceful_restart=graceful, back_after=away, cilium=_version(lab), starts=lab.agent_starts
        )
        expect.outage_between(
            [run[mode] for run in runs],
            min_ms=predicted.low * 1e3 - 500,
            max_ms=predicted.high * 1e3 + 1500,
            predicted=predicted,
        )


@POLICIES
def test_never_back(lab: Lab, expect: Expect, negotiated: BgpTimers, row: Row, policy: str) -> None:
    """The routes are kept, stale, for exactly the restart time; without graceful restart they go at once."""
    faults: list[int] = []

    def act() -> None:
        with lab.fault(AgentKilled("worker1")) as injected:
            faults.append(injected.at_ns)
            let_pass(negotiated.restart + 2)
            for mode in ("both", "peer-only", "none"):
                assert lab.next_hops(lab.service(policy).prefix, mode).kernel == frozenset()

    runs = expect.runs(lambda: row(policy, act))
    kept = {"both": negotiated.restart, "peer-only": 0.0, "none": 0.0}
    for run in runs:
        for mode, seconds in kept.items():
            worst = run[mode].worst()
            assert worst is not None, f"{mode}: no outage at all, with nobody to announce the route"
            (fault,) = (at for at in faults if run[mode].started_ns <= at <= run[mode].ended_ns)
            begins = (worst.start - fault) / 1e9
            assert seconds - 0.2 <= begins <= seconds + 0.8, f"{mode}: packets were lost from {begins:.2f} s on"
    for mode in kept:
        gone = agent_gone(negotiated, graceful_restart=mode == "both", watched=negotiated.restart + 2)
        expect.outage_at_least([run[mode] for run in runs], min_ms=1000, predicted=gone)


def _version(lab: Lab) -> tuple[int, int, int]:
    version = semver.parse(lab.cilium_version)
    return version.major, version.minor, version.patch
