"""Cilium's L2 announcements: who answers, and what a change of the lease costs that everybody lives to see.

The lease's timers are quick ones (6, 2, 0.8 s) unless `--timers manifest` is given; Cilium's own are 15, 5 and 2 s.
"""

from __future__ import annotations

import pytest

from harness.cilium.expected_l2 import LOCAL_SINCE
from harness.expect import Expect
from harness.faults import AgentKilled, AgentStalled, AgentStopped
from harness.lab import Lab
from harness.measure import Measured
from harness.objects import deployment, service
from harness.timeline import event
from harness.verdict.predict import cilium_l2_node_lost, cilium_l2_released
from harness.wait import let_pass, steady, until
from scenarios.l2_baseline.cilium import ANNOUNCERS, LABEL, VALUE, Announced, minor

pytestmark = [pytest.mark.lab(topology="cilium-l2")]

#: The agent's sign of life is up to a second old (pkg/datapath/agentliveness: agent-liveness-update-interval).
_ALIVE_EVERY = 1.0
#: From this minor on an agent that is stopped in order tries to take its entries out of the BPF map.
_TRIES_TO_CLEAN_UP = (1, 20)
#: Seconds that a busy machine may add to what the timers say.
_MARGIN = 1.5


@pytest.fixture
def announced(lab: Lab) -> Announced:
    """The service whose backends are on a node that does not announce."""
    return Announced(lab)


def test_one_holder_answers(lab: Lab, announced: Announced) -> None:
    """The holder of the lease answers, nobody else does, and nobody answers for an address that no service has."""
    holder = announced.holder()
    free = "192.168.130.207"  # the pool's last
    assert announced.address != free
    assert announced.answering() == {holder}
    assert announced.answering(free) == set(), "the control: somebody answers for everything"
    assert announced.programmed() == {holder}
    url = announced.service.url()
    until("an answer", lambda: lab.client().http(url).status, lambda status: status == 200, within=5)
    assert announced.at_router() == holder
    # the lease is renewed: longer than it would last by itself, with the age of the last renewal
    window = announced.lease.duration + 1
    steady("the lease", announced.service.lease_holder, lambda seen: seen == holder, window=window)


@pytest.mark.gate
@pytest.mark.scorecard("announcer stopped in order", cluster="cilium-l2")
def test_agent_stopped(lab: Lab, expect: Expect, announced: Announced) -> None:
    """SIGTERM releases the lease, the next attempt of the other node takes it, and no packet is lost.

    Up to 1.19 whoever would take the entry out of the map has ended by then, and the map outlives the agent: two nodes
    answer until the old one's sign of life is older than the lease, and a router that asks anew in the meantime may
    come back to it. From 1.20 on the leases' jobs are stopped before all else (cilium/hive 1.0, PreStopHookMarker),
    which leaves the others time to clean up; a busy agent may not manage, as nobody waits for it.
    """
    predicted = cilium_l2_released(announced.lease)
    took: list[float] = []
    answering: list[set[str]] = []

    def run() -> Measured:
        holder = announced.holder()
        other = announced.other(holder)

        def act() -> None:
            fault = lab.fault(AgentStopped(holder))
            taken = lab.timeline.wait(event.LEASE, within=30, after_ns=fault.at_ns, holder=other)
            took.append((taken.at_ns - fault.at_ns) / 1e9)
            announced.wait_at_router(other)
            answering.append(announced.answering())
            assert other in answering[-1]
            announced.wait_answering({other}, within=announced.lease.duration + _MARGIN)
            fault.undo()
            # it does not take it back
            window = announced.lease.duration
            steady("the lease", announced.service.lease_holder, lambda seen: seen == other, window=window)

        return announced.measure(act)

    runs = expect.runs(run)
    assert all(seconds <= predicted.high + _MARGIN for seconds in took), f"taken after {took} s, {predicted}"
    if minor(lab) < _TRIES_TO_CLEAN_UP:
        assert all(seen == ANNOUNCERS for seen in answering), f"only {answering} answered after the agent had ended"
    for one in runs:
        assert one.analysis.moves, "no flow moved: the control is blind"
    expect.no_outage(runs, window=announced.lease.duration, precondition="another node took the lease", held=bool(took))


@pytest.mark.scorecard("announcer killed", cluster="cilium-l2")
def test_agent_killed(lab: Lab, expect: Expect, announced: Announced) -> None:
    """SIGKILL: the lease has to run out; the responder and the datapath go on, so no packet is lost.

    The responder falls silent when the lease may have been taken: up to a second before that moment nobody answers any
    more, and what the router knows has to last until the next holder's gratuitous ARP.
    """
    predicted = cilium_l2_node_lost(announced.lease)
    took = []

    def run() -> Measured:
        holder = announced.holder()
        other = announced.other(holder)

        def act() -> None:
            fault = lab.fault(AgentKilled(holder))
            assert announced.answering() == {holder}, "the responder ended with the agent"
            taken = lab.timeline.wait(event.LEASE, within=60, after_ns=fault.at_ns, holder=other)
            took.append((taken.at_ns - fault.at_ns) / 1e9)
            announced.wait_at_router(other)
            announced.wait_answering({other}, within=_ALIVE_EVERY + _MARGIN)
            assert announced.programmed() == ANNOUNCERS, "nobody took the old holder's entry out of its map"
            fault.undo()
            until("the old holder to be cleaned up", announced.programmed, lambda seen: seen == {other}, within=10)

        return announced.measure(act)

    runs = expect.runs(run)
    for seconds in took:
        assert predicted.low - 0.5 <= seconds <= predicted.high + _MARGIN, f"taken after {seconds:.1f} s, {predicted}"
    for one in runs:
        assert one.analysis.moves, "no flow moved: the control is blind"
    expect.no_outage(runs, window=announced.lease.duration, precondition="the lease was lost", held=bool(took))


def test_agent_restarted_within_the_lease(lab: Lab, expect: Expect, announced: Announced) -> None:
    """An agent that is back in time takes its own lease up again: the identity is the node's name. Nothing moves."""
    held = []

    def run() -> Measured:
        holder = announced.holder()

        def act() -> None:
            lab.fault(AgentKilled(holder, restart_after=1))
            # it clears the map when it starts, and writes it again as soon as it has the lease
            lab.timeline.wait(event.STARTED, within=10, subject=lab.node(holder).agent.name)
            announced.wait_answering({holder}, within=announced.lease.duration)
            let_pass(announced.lease.duration + 1)
            held.append(announced.service.lease_holder() == holder)

        return announced.measure(act)

    runs = expect.runs(run)
    assert all(held), "another node took the lease"
    for one in runs:
        assert one.analysis.moves == [], "flows moved although the holder is the same"
    expect.no_outage(runs, window=announced.lease.duration, precondition="the agent was away for 1 s", held=all(held))


@pytest.mark.scorecard("announcer stalls", cluster="cilium-l2")
def test_agent_stalled(lab: Lab, expect: Expect, announced: Announced) -> None:
    """A stalled agent (SIGSTOP) loses the lease like a killed one, and gives up what it held when it runs again."""
    predicted = cilium_l2_node_lost(announced.lease)
    took = []

    def run() -> Measured:
        holder = announced.holder()
        other = announced.other(holder)

        def act() -> None:
            with lab.fault(AgentStalled(holder)) as fault:
                taken = lab.timeline.wait(event.LEASE, within=60, after_ns=fault.at_ns, holder=other)
                took.append((taken.at_ns - fault.at_ns) / 1e9)
                announced.wait_at_router(other)
            # it runs again: its sign of life is fresh at once, and only then it finds that the lease is taken
            within = announced.lease.renew_deadline + 5
            until("it to give up", announced.programmed, lambda seen: seen == {other}, within=within)
            steady("the answer", announced.answering, lambda seen: seen == {other}, window=2)
            assert announced.at_router() == other

        return announced.measure(act)

    runs = expect.runs(run)
    for seconds in took:
        assert predicted.low - 0.5 <= seconds <= predicted.high + _MARGIN, f"taken after {seconds:.1f} s, {predicted}"
    expect.no_outage(runs, window=announced.lease.duration, precondition="the lease was lost", held=bool(took))


@pytest.mark.scorecard("node drained", cluster="cilium-l2")
def test_planned_move_by_label(lab: Lab, expect: Expect, announced: Announced) -> None:
    """A node that the policy selects no more releases the lease and forwards what still reaches it: nothing is lost."""
    predicted = cilium_l2_released(announced.lease)
    took = []

    def run() -> Measured:
        holder = announced.holder()
        other = announced.other(holder)

        def act() -> None:
            before = lab.timeline.events()[-1].at_ns
            lab.node(holder).remove_label(LABEL)
            taken = lab.timeline.wait(event.LEASE, within=30, after_ns=before, holder=other)
            relabelled = lab.timeline.wait(event.NODE, within=5, after_ns=before, subject=holder)
            took.append((taken.at_ns - relabelled.at_ns) / 1e9)
            announced.wait_at_router(other)
            # a label is taken off in order: the old holder cleans up, and only one answers at any time
            announced.wait_answering({other}, within=2)
            lab.node(holder).add_label(LABEL, VALUE)
            steady("the lease", announced.service.lease_holder, lambda seen: seen == other, window=2)

        return announced.measure(act)

    runs = expect.runs(run)
    assert all(seconds <= predicted.high + _MARGIN for seconds in took), f"taken after {took} s, {predicted}"
    for one in runs:
        assert one.analysis.moves, "no flow moved: the control is blind"
    expect.no_outage(runs, window=2, precondition="the lease moved", held=bool(took))


def test_local_policy(lab: Lab, announced: Announced) -> None:
    """Policy Local: from 1.20 on only a node with a backend announces; before, any node does.

    Before 1.20 (pkg/l2announcer had no hasLocalBackends) the lease may be with a node that has nowhere to send what it
    gets: clients lose everything while all control planes say that all is well. MetalLB has always looked at endpoints.
    """
    lab.apply([deployment("game", node="worker1"), service("game", policy="Local")])
    game = Announced(lab, "game")
    lab.cluster.wait_ready(within=30)
    # the other node may not announce: the one with the backend has to
    lab.node("worker2").remove_label(LABEL)
    game.service.wait_lease_holder("worker1", within=30)
    game.wait_answering({"worker1"}, within=5)
    until("an answer", lambda: lab.client().http(game.service.url()).node, lambda node: node == "worker1", within=5)
    # and now the other way round
    lab.node("worker2").add_label(LABEL, VALUE)
    lab.node("worker1").remove_label(LABEL)
    if minor(lab) >= LOCAL_SINCE:
        game.wait_answering(set(), within=10)
        steady("nobody", game.service.lease_holder, lambda seen: seen is None, window=announced.lease.duration)
    else:
        game.service.wait_lease_holder("worker2", within=30)
        game.wait_answering({"worker2"}, within=5)
    lab.router().forget_neighbour(game.address)
    # kube-proxy drops what no backend of the node is there for; Cilium's own datapath refuses it
    with pytest.raises(OSError, match=r"timed out|No route to host|Connection refused"):
        lab.client().http(game.service.url())
