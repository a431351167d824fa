"""What a kind lab makes of manifests' pods, and which processes of its nodes it takes for parts of the lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.backends.kind import components, cpu, fingerprint, podlogs
from harness.backends.kind.pods import SERVER_LABEL, adapt
from harness.backends.kind.proc import Seen
from harness.objects import deployment, service
from harness.topology import load

HERE: dict[str, Any] = {"image": "pause:3", "lablet": Path("/cache/lablet"), "folder": Path("/run/lab/pods")}


def container(obj: dict[str, Any]) -> dict[str, Any]:
    (only,) = obj["spec"]["template"]["spec"]["containers"]
    return dict(only)


def test_a_deployments_pods_are_lblabs_servers() -> None:
    written = deployment("web", replicas=2, udp=7777)
    sent = adapt(written, **HERE)
    one = container(sent)
    assert one["image"] == "pause:3"
    assert one["imagePullPolicy"] == "IfNotPresent"
    assert "--listen=tcp/80" in one["args"]
    assert "--listen=udp/7777" in one["args"]
    assert "--control=/run/lab/pods/$(LBLAB_UID).sock" in one["args"]
    assert one["ports"] == written["spec"]["template"]["spec"]["containers"][0]["ports"]
    template = sent["spec"]["template"]
    assert template["metadata"]["labels"] == {"app": "web", SERVER_LABEL: "true"}
    assert sent["spec"]["selector"] == written["spec"]["selector"]
    assert [volume["hostPath"]["path"] for volume in template["spec"]["volumes"]] == ["/cache/lablet", "/run/lab/pods"]
    assert "command" not in written["spec"]["template"]["spec"]["containers"][0], "the author's object is left alone"


def test_all_ports_of_a_pod_are_its_one_servers() -> None:
    written = deployment("web")
    containers = written["spec"]["template"]["spec"]["containers"]
    containers.append({"name": "second", "image": "x", "ports": [{"containerPort": 81}, {"containerPort": 80}]})
    one = container(adapt(written, **HERE))
    assert [arg for arg in one["args"] if arg.startswith("--listen")] == ["--listen=tcp/80", "--listen=tcp/81"]
    del containers[0]["ports"], containers[1]["ports"]
    one = container(adapt(written, **HERE))
    assert [arg for arg in one["args"] if arg.startswith("--listen")] == ["--listen=tcp/80"]


def test_a_pod_without_a_probe_follows_its_servers_word() -> None:
    written = deployment("web")
    probe = container(adapt(written, **HERE))["readinessProbe"]
    assert probe == {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1, "failureThreshold": 1}
    first = written["spec"]["template"]["spec"]["containers"][0]
    first["readinessProbe"] = {"httpGet": {"path": "/ready", "port": 80}, "periodSeconds": 10}
    assert container(adapt(written, **HERE))["readinessProbe"] == first["readinessProbe"]
    del first["readinessProbe"]
    first["ports"] = [{"containerPort": 7777, "protocol": "UDP"}]
    assert "readinessProbe" not in container(adapt(written, **HERE)), "nothing to ask over UDP"


@pytest.mark.parametrize("obj", [service("web"), {"kind": "Deployment", "spec": {}}, {"kind": "Deployment"}])
def test_what_has_no_pods_is_sent_as_it_is(obj: dict[str, Any]) -> None:
    assert adapt(obj, **HERE) == obj


def seen(program: str, pid: int = 7) -> Seen:
    return Seen(pid, 1, program, (program,))


def test_components_have_the_embedded_labs_names() -> None:
    shim = seen("containerd-shim-runc-v2", 2)
    assert components.name_of("worker1", seen("cilium-agent"), shim) == "worker1/cilium-agent"
    assert components.name_of("worker1", seen("cilium-operator-generic"), shim) == "control-plane/cilium-operator"
    assert components.name_of("worker1", seen("speaker"), shim) == "worker1/metallb-speaker"
    assert components.name_of("worker1", seen("kubelet"), None) == "worker1/kubelet"


def test_a_program_of_a_components_name_elsewhere_is_none() -> None:
    assert components.name_of("worker1", seen("kubelet"), seen("containerd-shim-runc-v2")) is None
    assert components.name_of("worker1", seen("cilium-agent"), seen("bash")) is None
    assert components.name_of("worker1", seen("runc"), seen("containerd-shim-runc-v2")) is None


def test_logs_are_copied_without_the_runtimes_stamps(tmp_path: Path) -> None:
    folder, copy = tmp_path / "cilium-agent", tmp_path / "worker1-cilium-agent.log"
    folder.mkdir()
    stamp = "2026-11-23T08:40:01.123456789Z stdout"
    log = folder / "0.log"
    log.write_text(f"{stamp} F time=1 msg=one\n{stamp} P long \n{stamp} F line\n{stamp} F half")
    followed = podlogs._Container(folder, copy)
    followed.copy()
    assert copy.read_text() == "time=1 msg=one\nlong line\n"
    with log.open("a") as file:
        file.write(" a line\n")
    (folder / "1.log").write_text(f"{stamp} F started again\n")
    followed.copy()
    assert copy.read_text().splitlines()[2:] == ["half a line", "started again"]


ID = "b2aa234d6e7b19bd23513bffeedc3e69ec5fd1495ab88a1dfa091a7baf01aae8"


@pytest.mark.parametrize(
    ("groups", "file", "content"),
    [
        (
            f"9:name=systemd:/docker/{ID}/init.scope\n4:cpu,cpuacct:/docker/{ID}\n",
            "cpu,cpuacct/docker/{}/cpuacct.usage",
            "2500000000\n",
        ),
        (f"4:cpuacct:/docker/{ID}/kubelet/pod1\n", "cpuacct/docker/{}/cpuacct.usage", "2500000000\n"),
        (f"0::/docker/{ID}/init.scope\n", "docker/{}/cpu.stat", "usage_usec 2500000\nuser_usec 1\n"),
        (f"0::/system.slice/docker-{ID}.scope\n", "system.slice/docker-{}.scope/cpu.stat", "usage_usec 2500000\n"),
    ],
    ids=["v1", "v1, alone", "v2", "v2, systemd"],
)
def test_a_containers_cpu_time_is_its_own_groups(tmp_path: Path, groups: str, file: str, content: str) -> None:
    path = tmp_path / file.format(ID)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert cpu.usage(groups, tmp_path) == 2.5
    assert cpu.usage("5:pids:/docker/x\n", tmp_path) is None


def test_topologies_of_the_same_nodes_can_have_one_cluster_after_another() -> None:
    folder = Path(__file__).parents[2] / "topologies"
    of = {path.stem: fingerprint.group(load(path)) for path in folder.glob("*.yaml")}
    same = {name for name, group in of.items() if group == of["small"]}
    assert same >= {"small", "restart", "two-routers", "multihop", "router-arp"}
    assert not same & {"dual-stack", "failover", "metallb-l2", "blog"}
