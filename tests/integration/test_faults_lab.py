"""Faults in a whole lab, each seen by something else than what caused it; the lab is as before afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backends.base import Where
from harness.bringup import open_lab
from harness.errors import LabError, LblabError, MissingCapability, UserError
from harness.faults import (
    AgentKilled,
    AgentStalled,
    AgentStopped,
    ApiServerGone,
    BackendKilled,
    BackendMoved,
    BackendUnready,
    BgpdRestarted,
    BgpFiltered,
    ControllerManagerGone,
    Fault,
    KubeletGone,
    LinkDown,
    NodeCrashed,
    NodeShutDown,
    NodeSilent,
    OperatorGone,
    PacketDelay,
    PacketLoss,
    RouterDaemonsRestarted,
    RouterRebooted,
)
from harness.lab import Lab
from harness.timeline import journal
from harness.wait import until

ROOT = Path(__file__).parents[2]
#: A closed port: who can be reached refuses the connection at once.
CLOSED = 1
BGP = 179
LABEL = "io.cilium/bgp"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    try:
        made = open_lab(ROOT / "topologies" / "small.yaml", name=f"faults-{os.getpid()}", build=False)
    except (MissingCapability, UserError) as error:  # not built, or not on this machine
        pytest.skip(str(error))
    with made:
        made.mark_clean()
        yield made


@pytest.fixture(autouse=True)
def _as_before(lab: Lab) -> Iterator[None]:
    yield
    left = [phrase for phrase in lab.reset() if not phrase.startswith("replaced pod")]
    assert left == [], "a fault that was undone left something behind"


def reachable(lab: Lab, origin: str, target: str, port: int = CLOSED) -> bool:
    """Whether a host answers a SYN, be it that it refuses; a SYN that is lost is not waited for again (1 s)."""
    with lab.backend.socket(origin, socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(0.5)
        try:
            sock.connect((target, port))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return True


def pid(lab: Lab, process: str) -> int | None:
    return lab.backend.processes()[process].pid


# -- processes -------------------------------------------------------------------------------------------------------


def test_an_agent_that_is_killed_is_back_after_its_time(lab: Lab) -> None:
    agent = lab.node("worker1").agent
    before, asked = agent.state.pid, time.monotonic_ns()
    with lab.fault(AgentKilled("worker1", restart_after=0.5)) as fault:
        assert agent.state.pid is None
        assert agent.state.exit_code == -9
        assert agent.state.ended_ns is not None
        assert asked <= fault.at_ns <= agent.state.ended_ns
        fault.wait_undone(10)
        assert agent.state.pid not in (None, before)
        assert fault.undone_at_ns is not None
        assert fault.undone_at_ns == agent.state.started_ns
        assert 0.5e9 <= fault.undone_at_ns - fault.at_ns < 1.5e9
    events = [event for event in journal.load(lab.backend.folder / journal.FILE) if event.source == "fault"]
    assert [(event.at_ns, event.subject, event.text) for event in events[-2:]] == [
        (fault.at_ns, "worker1/cilium-agent", "killed (SIGKILL)"),
        (fault.undone_at_ns, "worker1/cilium-agent", "started"),
    ]


def test_an_agent_that_is_stopped_ends_by_itself(lab: Lab) -> None:
    with lab.fault(AgentStopped("worker1")):
        state = lab.node("worker1").agent.state
        assert (state.pid, state.exit_code) == (None, 0)
    assert lab.node("worker1").agent.running


def test_an_agent_that_is_stalled_stays(lab: Lab) -> None:
    def state() -> str:
        number = str(lab.node("worker1").agent.state.pid)
        return lab.node("worker1").exec(["sed", "-n", "s/^State:[[:space:]]*//p", f"/proc/{number}/status"]).stdout

    with lab.fault(AgentStalled("worker1")):
        until("the agent to be stopped", state, lambda text: text.startswith("T"), within=2)
    until("the agent to run", state, lambda text: not text.startswith("T"), within=2)


def test_a_process_that_a_scenario_kills_is_a_fault_too(lab: Lab) -> None:
    agent = lab.node("worker2").agent
    agent.kill()
    started = agent.start()
    killed, back = journal.load(lab.backend.folder / journal.FILE)[-40:], None
    faults = [event for event in killed if event.source == "fault" and event.subject == agent.name]
    assert [event.text for event in faults[-2:]] == ["killed (SIGKILL)", "started"]
    back = faults[-1]
    assert back.at_ns == started


@pytest.mark.parametrize(
    ("fault", "process"),
    [
        (OperatorGone(), "control-plane/cilium-operator"),
        (ControllerManagerGone(), "control-plane/kube-controller-manager"),
        (ApiServerGone(), "control-plane/kube-apiserver"),
        (KubeletGone("worker2"), "worker2/node-agent"),
    ],
    ids=str,
)
def test_a_part_of_the_control_plane_goes_and_comes_back(lab: Lab, fault: Fault, process: str) -> None:
    with lab.fault(fault):
        assert pid(lab, process) is None
    assert pid(lab, process) is not None


# -- links and packets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["host", "switch", "path"])
def test_a_link_that_is_cut_passes_nothing(lab: Lab, where: Where) -> None:
    address = lab.node("worker1").address
    assert reachable(lab, "opnsense", address)
    with lab.fault(LinkDown("worker1", where=where)):
        assert not reachable(lab, "opnsense", address)
        assert reachable(lab, "opnsense", lab.node("worker2").address)
    until("the node to be reached", lambda: reachable(lab, "opnsense", address), within=5)


@pytest.mark.parametrize("arp", [True, False])
def test_a_silent_node_answers_arp_only_if_that_is_left_to_it(lab: Lab, arp: bool) -> None:
    address = lab.node("worker1").address
    with lab.fault(NodeSilent("worker1", arp=arp)):
        lab.router().exec(["ip", "neigh", "flush", "all"])
        assert not reachable(lab, "opnsense", address)
        known = lab.router().neighbours().get(address)
        assert (known is None or known.mac is None) is arp
    until("the node to be reached", lambda: reachable(lab, "opnsense", address), within=5)


@pytest.mark.parametrize("direction", ["from", "to", "both"])
def test_bgp_is_filtered_and_nothing_else(lab: Lab, direction: str) -> None:
    router = str(lab.topology.routers["opnsense"].interfaces["servers"].address[0])
    fault = BgpFiltered("worker1", direction=direction)  # type: ignore[arg-type]
    assert reachable(lab, "worker1", router, BGP)
    with lab.fault(fault):
        assert not reachable(lab, "worker1", router, BGP)
        assert reachable(lab, "worker1", router)
        assert reachable(lab, "worker2", router, BGP)
    assert reachable(lab, "worker1", router, BGP)


def test_a_link_that_loses_everything_passes_nothing(lab: Lab) -> None:
    with lab.fault(PacketLoss("client", 100.0)):
        assert not reachable(lab, "client", lab.node("worker1").address)
    until("the node to be reached", lambda: reachable(lab, "client", lab.node("worker1").address), within=5)


def test_a_delay_delays_or_says_what_is_missing(lab: Lab) -> None:
    try:
        fault = lab.fault(PacketDelay("client", 0.1))
    except MissingCapability as error:
        pytest.skip(str(error))
    with fault:
        before = time.monotonic()
        assert reachable(lab, "client", lab.node("worker1").address)
        assert time.monotonic() - before >= 0.2


# -- pods ------------------------------------------------------------------------------------------------------------


def test_backends_that_are_not_ready_fail_their_probe_and_go_on(lab: Lab) -> None:
    def serving() -> dict[str, bool]:
        return {
            name: all(pod["serving"] for pod in lab.backend.node_agent(name, {"op": "pods"})["pods"])
            for name in lab.nodes
        }

    with lab.fault(BackendUnready("web", "worker1")):
        assert serving() == {"worker1": False, "worker2": True}
        assert reachable(lab, "worker1", lab.backend.node_agent("worker1", {"op": "pods"})["pods"][0]["ip"], 80)
    assert serving() == {"worker1": True, "worker2": True}


def test_backends_that_are_killed_start_again(lab: Lab) -> None:
    def restarts() -> dict[str, int]:
        return {
            name: sum(pod["restarts"] for pod in lab.backend.node_agent(name, {"op": "pods"})["pods"])
            for name in lab.nodes
        }

    before = restarts()
    with lab.fault(BackendKilled("web", "worker1")) as fault:
        assert not fault.undoable
        until("a restart", restarts, lambda now: now["worker1"] == before["worker1"] + 1, within=10)
    assert restarts()["worker2"] == before["worker2"]
    until("both backends", lab.service("web").ready_backends, lambda found: len(found) == 2, within=15)


def test_backends_leave_the_node_that_they_move_from(lab: Lab) -> None:
    with lab.fault(BackendMoved("web", "worker1")):
        assert [backend.node for backend in lab.service("web").ready_backends()] == ["worker2"]
        assert lab.cluster.get("Node", "worker1")["spec"]["unschedulable"] is True
    until("both backends", lab.service("web").ready_backends, lambda found: len(found) == 2, within=15)


def test_a_service_without_backends_there_is_told(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"default/nothing has no ready backend on worker1"):
        lab.fault(BackendKilled("nothing", "worker1"))
    with pytest.raises(UserError, match="there is no node 'nowhere'"):
        lab.fault(BackendKilled("web", "nowhere"))


# -- nodes and routers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [True, False])
def test_a_node_that_crashes_takes_its_pods_with_it(lab: Lab, silent: bool) -> None:
    (pod,) = (pod["pid"] for pod in lab.backend.node_agent("worker1", {"op": "pods"})["pods"])
    alive = ["sh", "-c", f"kill -0 {pod}"]  # the shell's own: a minimal machine has no program of that name
    assert lab.node("worker2").exec(alive).returncode == 0
    with lab.fault(NodeCrashed("worker1", silent=silent)) as fault:
        texts = ["interface to servers down", "all processes killed"]
        assert [event.text for event in fault.events][:2] == (texts if silent else texts[::-1])
        assert lab.node("worker1").exec(["nft", "list", "ruleset"]).stdout == ""
        assert not [name for name, state in lab.backend.processes().items() if "worker1/" in name and state.pid]
        assert lab.node("worker2").exec(alive).returncode != 0
        assert not reachable(lab, "opnsense", lab.node("worker1").address)
    until("both backends", lab.service("web").ready_backends, lambda found: len(found) == 2, within=30)


def test_a_node_is_shut_down_in_order(lab: Lab) -> None:
    with lab.fault(NodeShutDown("worker1", label=LABEL)) as fault:
        texts = [(event.subject, event.text) for event in fault.events]
        assert texts[:2] == [("worker1", "drained"), ("worker1", f"label {LABEL} removed")]
        assert {text for _, text in texts[2:5]} == {"stopped (SIGTERM)"}
        assert texts[5] == ("worker1", "interface to servers down")
        assert texts[6:] == [("worker1", "packet filter, connections and learned routes forgotten")]
        assert [event.at_ns for event in fault.events] == sorted(event.at_ns for event in fault.events)
        assert LABEL not in lab.node("worker1").labels
        assert lab.node("worker1").pods() == []
    assert lab.node("worker1").labels[LABEL] == "worker"
    until("both backends", lab.service("web").ready_backends, lambda found: len(found) == 2, within=30)


@pytest.mark.parametrize("fault", [BgpdRestarted(), RouterDaemonsRestarted()], ids=str)
def test_routing_daemons_restart(lab: Lab, fault: Fault) -> None:
    before = {name: pid(lab, f"opnsense/{name}") for name in ("zebra", "bgpd")}
    with lab.fault(fault) as injected:
        injected.wait_undone(20)
    after = {name: pid(lab, f"opnsense/{name}") for name in ("zebra", "bgpd")}
    assert None not in after.values()
    assert after["bgpd"] != before["bgpd"]
    assert (after["zebra"] != before["zebra"]) is isinstance(fault, RouterDaemonsRestarted)


def test_a_router_that_reboots_forgets_its_routes(lab: Lab) -> None:
    prefix = lab.service("web").prefix
    assert len(lab.router().kernel_next_hops(prefix)) == 2
    with lab.fault(RouterRebooted(down_for=1.0)) as fault:
        assert pid(lab, "opnsense/zebra") is pid(lab, "opnsense/bgpd") is None
        assert lab.router().kernel_routes() == []
        fault.wait_undone(20)
    lab.wait_next_hops(prefix, ["worker1", "worker2"], within=30)


# -- what is left behind, and what a person gets wrong ---------------------------------------------------------------


def _lblab(lab: Lab, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", "fault", *argv, "--lab", lab.name]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


def test_what_another_process_left_is_taken_back(lab: Lab) -> None:
    done = _lblab(lab, "node-silent", "worker1", "--keep")
    assert done.returncode == 0, done.stderr
    assert not reachable(lab, "opnsense", lab.node("worker1").address)
    assert lab.undo_faults() == ["took back: worker1's link to servers down at the path"]
    until("the node to be reached", lambda: reachable(lab, "opnsense", lab.node("worker1").address), within=5)


def test_a_fault_that_still_lasts_is_undone_by_a_reset(lab: Lab) -> None:
    fault = lab.fault(LinkDown("worker2"))
    assert lab.reset()[0] == "undid link-down worker2"
    assert not fault.active


def test_the_command_line_holds_a_fault_and_undoes_it(lab: Lab) -> None:
    done = _lblab(lab, "node-silent", "worker1", "--for", "200ms", "--json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    known = [event.line().decode().strip() for event in journal.load(lab.backend.folder / journal.FILE)]
    assert known[-2:] == lines or set(lines) <= set(known)


@pytest.mark.parametrize(
    "argv",
    [("node-silent", "nowhere"), ("link-down", "worker1", "--network", "lan"), ("bgp-filter", "nobody"), ("no-such",)],
)
def test_a_mistake_on_the_command_line_is_exit_code_2(lab: Lab, argv: tuple[str, ...]) -> None:
    done = _lblab(lab, *argv)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_agent_that_does_not_run_cannot_be_killed(lab: Lab) -> None:
    with lab.fault(AgentKilled("worker1")), pytest.raises(LblabError, match="worker1/cilium-agent does not run"):
        lab.fault(AgentKilled("worker1"))
