from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from harness.check import Check
from harness.report import doctor, graph, status
from harness.status import (
    BackendStatus,
    NodeStatus,
    PathStatus,
    RouteStatus,
    ServiceStatus,
    SessionStatus,
    Status,
)
from harness.topology import Topology, load

TOPOLOGIES = sorted((Path(__file__).parents[2] / "topologies").glob("*.yaml"))
TWO_ROUTERS = load(next(path for path in TOPOLOGIES if path.stem == "two-routers"))


def session(router: str, node: str, state: str = "Established") -> SessionStatus:
    return SessionStatus(
        router=router,
        peer=str(TWO_ROUTERS.nodes[node].address[0]),
        node=node,
        remote_as=64513,
        state=state,
        hold_seconds=90,
        keepalive_seconds=30,
        graceful_restart_local="Helper",
        graceful_restart_remote="Restart",
        prefixes_received=1,
    )


def path(next_hop: str, *, best: bool = False, stale: bool = False) -> PathStatus:
    return PathStatus(next_hop=next_hop, node="worker1", valid=True, best=best, multipath=True, stale=stale)


STATUS = Status(
    name="lab1",
    backend="netns",
    topology="two-routers",
    cilium_version="1.18.0",
    kubernetes_version="v1.34.4",
    kubeconfig="/somewhere/kubeconfig",
    nodes=[
        NodeStatus(
            name="worker1",
            addresses=["192.168.130.151"],
            ready=True,
            agent_running=True,
            labels={"io.cilium/bgp": "worker", "kubernetes.io/hostname": "worker1"},
        ),
        NodeStatus(name="worker2", addresses=["192.168.130.152"], ready=None, agent_running=False, labels={}),
    ],
    sessions=[session("opnsense1", "worker1"), session("opnsense2", "worker1", "Active")],
    routes=[
        RouteStatus(
            router="opnsense1",
            prefix="192.168.142.1/32",
            paths=[path("192.168.130.151", best=True), path("192.168.130.152", stale=True)],
            kernel_next_hops=["192.168.130.151", "192.168.130.9"],
        )
    ],
    services=[
        ServiceStatus(
            name="default/test-lb",
            addresses=["192.168.142.1"],
            ports=["80/TCP"],
            external_traffic_policy="Local",
            ready_backends=[BackendStatus(pod=pod, node="worker1", ip=f"10.0.0.{pod}") for pod in "12"],
        )
    ],
    stand_ins=["kube-proxy stands in for Cilium's eBPF datapath"],
    stages={"booted": 3.0},
)


def text(rendered: RenderableType) -> str:
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(rendered)
    return capture.get()


def rows(shown: str) -> list[list[str]]:
    return [re.split(r"\s{2,}", line.strip()) for line in shown.splitlines()]


def test_status_shows_nodes_sessions_routes_and_services() -> None:
    found = rows(text(status.render(STATUS)))
    assert ["worker1", "192.168.130.151", "Ready", "runs", "io.cilium/bgp=worker"] in found
    assert ["worker2", "192.168.130.152", "not registered", "does not run"] in found
    head = ["opnsense2", "192.168.130.151", "worker1", "64513", "Active"]
    assert [*head, "90 s/30 s", "Helper/Restart", "1"] in found
    assert ["default/test-lb", "192.168.142.1", "80/TCP", "Local", "worker1 2"] in found
    assert ["stand-in: kube-proxy stands in for Cilium's eBPF datapath"] in found


def test_status_compares_the_bgp_table_with_the_kernel() -> None:
    found = rows(text(status.render(STATUS)))
    best = ["opnsense1", "192.168.142.1/32", "192.168.130.151 (worker1)", "valid best multipath", "yes"]
    assert best in found
    assert ["192.168.130.152 (worker1)", "valid multipath stale", "no"] in found
    assert ["192.168.130.9", "-", "yes"] in found, "a next hop that only the kernel has"


def test_status_of_a_lab_without_anything_says_so() -> None:
    empty = STATUS.model_copy(
        update={"nodes": [], "sessions": [], "routes": [], "services": [], "kubernetes_version": None}
    )
    shown = text(status.render(empty))
    for words in ("the API server is away", "no nodes", "no BGP sessions", "no routes received", "no services"):
        assert words in shown


Box = tuple[float, float, float, float]


def boxes(root: ElementTree.Element) -> list[Box]:
    found = [e.attrib for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("class") == "box"]
    return [(float(a["x"]), float(a["y"]), float(a["width"]), float(a["height"])) for a in found]


@pytest.mark.parametrize("file", TOPOLOGIES, ids=lambda file: file.stem)
def test_every_topology_is_drawn_with_every_host_and_without_overlaps(file: Path) -> None:
    topology = load(file)
    root = ElementTree.fromstring(graph.svg(topology))
    words = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    hosts = {*topology.routers, *topology.nodes, *topology.clients}
    assert hosts <= words
    drawn = boxes(root)
    assert len(drawn) == len(hosts) + 1, "the API server too"
    for place, (x, y, width, height) in enumerate(drawn):
        for other_x, other_y, other_width, other_height in drawn[place + 1 :]:
            apart_x = x + width <= other_x or other_x + other_width <= x
            apart_y = y + height <= other_y or other_y + other_height <= y
            assert apart_x or apart_y
    _, _, right, bottom = map(float, root.attrib["viewBox"].split())
    assert all(x >= 0 and y >= 0 and x + w <= right and y + h <= bottom for x, y, w, h in drawn)


def test_a_running_lab_is_drawn_with_its_sessions_and_services() -> None:
    root = ElementTree.fromstring(graph.svg(TWO_ROUTERS, STATUS))
    curves = [e.get("class") for e in root.iter("{http://www.w3.org/2000/svg}path")]
    assert curves == ["up", "down"]
    words = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "BGP opnsense2 with worker1: Active" in words
    assert "Service default/test-lb: 192.168.142.1; ready backends: worker1 2" in words


def test_names_are_escaped() -> None:
    document = TWO_ROUTERS.model_copy(update={"description": 'a < b & "c"'})
    assert ElementTree.fromstring(graph.svg(document)) is not None


def mermaid_lines(topology: Topology, state: Status | None = None) -> list[str]:
    return [line.strip() for line in graph.mermaid(topology, state).splitlines()]


def test_mermaid_has_every_link_from_top_to_bottom() -> None:
    lines = mermaid_lines(TWO_ROUTERS, STATUS)
    assert lines[0] == "flowchart TB"
    assert 'net_lan ---|"192.168.129.1"| host_opnsense1' in lines
    assert 'host_opnsense1 ---|"192.168.130.1"| net_servers' in lines
    assert 'net_servers ---|"192.168.130.151"| host_worker1' in lines
    assert 'host_client1 ---|"192.168.129.50"| net_lan' in lines
    assert 'host_opnsense2 -.-|"BGP Active"| host_worker1' in lines


@pytest.mark.parametrize("file", TOPOLOGIES, ids=lambda file: file.stem)
def test_mermaid_links_only_what_it_declares(file: Path) -> None:
    lines = mermaid_lines(load(file))
    declared = {re.split(r"[\[({]", line)[0] for line in lines[1:] if "---" not in line}
    linked = {end for line in lines if "---" in line for end in re.split(r" ---\|[^|]*\| ", line)}
    assert linked == declared


def test_doctor_says_what_is_missing_and_what_to_do() -> None:
    checks = [
        Check("FRR", True, "8.4.4", "every lab"),
        Check("kernel: netem", False, "not there", "delay faults", "another kernel", "nft drop"),
        Check("Docker", False, "not installed", "the kind backend", "install Docker"),
    ]
    assert list(doctor.advice(checks)) == [
        "kernel: netem: needed for delay faults; without it: nft drop; to have it: another kernel",
        "Docker: needed for the kind backend; to have it: install Docker",
        "2 missing",
    ]
    found = rows(text(doctor.render(checks)))
    assert ["ok", "FRR", "8.4.4"] in found
    assert ["instead", "kernel: netem", "not there"] in found
    assert ["missing", "Docker", "not installed"] in found
    assert list(doctor.advice(checks[:1])) == ["nothing is missing"]
