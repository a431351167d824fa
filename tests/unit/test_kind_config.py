"""kind's configuration for a topology: the nodes' names and addresses, and no address that somebody has."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

from harness.backends.kind import config, management, names
from harness.backends.kind.cluster import environment
from harness.topology import Topology, load

TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@pytest.fixture(scope="module")
def small() -> Topology:
    return load(TOPOLOGIES / "small.yaml")


def rendered(topology: Topology, **more: Any) -> dict[str, Any]:
    return config.render(topology, config.Settings("lab", "kindest/node:v1.34.4", more.pop("minor", 34), **more))


def patches(node: dict[str, Any], version: str = "v1beta3") -> list[dict[str, Any]]:
    found = [json.loads(one) for one in node["kubeadmConfigPatches"]]
    return [one for one in found if one.get("apiVersion", f"kubeadm.k8s.io/{version}").endswith(version)]


def test_nodes_have_the_topologys_names_and_addresses(small: Topology) -> None:
    control, *workers = rendered(small)["nodes"]
    assert [node["role"] for node in (control, *workers)] == ["control-plane", "worker", "worker"]
    (first,) = patches(workers[0])
    assert first["kind"] == "JoinConfiguration"
    assert first["nodeRegistration"]["name"] == "worker1"
    assert first["nodeRegistration"]["kubeletExtraArgs"]["node-ip"] == "192.168.130.151"
    advertised = [one["localAPIEndpoint"] for one in patches(control) if "localAPIEndpoint" in one]
    assert advertised == [{"advertiseAddress": "192.168.130.150", "bindPort": 6443}]


def test_newer_kubeadm_gets_its_options_as_a_list(small: Topology) -> None:
    (patch,) = [one for one in patches(rendered(small)["nodes"][2], "v1beta4") if "nodeRegistration" in one]
    options = {one["name"]: one["value"] for one in patch["nodeRegistration"]["kubeletExtraArgs"]}
    # the list takes the place of kind's, so kind's own option is in it
    assert options == {"node-ip": "192.168.130.152", "provider-id": "kind://docker/lblab-lab/lblab-lab-worker2"}


def test_the_cluster_talks_to_itself_over_the_topologys_network(small: Topology) -> None:
    found = [json.loads(one) for one in rendered(small)["kubeadmConfigPatches"]]
    endpoints = [one["controlPlaneEndpoint"] for one in found if "controlPlaneEndpoint" in one]
    assert set(endpoints) == {"192.168.130.150:6443"}
    (join,) = [one for one in found if "discovery" in one]
    assert join["discovery"]["bootstrapToken"]["apiServerEndpoint"] == "192.168.130.150:6443"


def test_a_silent_node_is_noticed_as_the_topology_says(small: Topology) -> None:
    found = [json.loads(one) for one in rendered(small)["kubeadmConfigPatches"]]
    (kubelet,) = [one for one in found if one["kind"] == "KubeletConfiguration"]
    assert kubelet["nodeLeaseDurationSeconds"] == small.cluster.node_lease_seconds
    (manager,) = [one["controllerManager"] for one in found if "controllerManager" in one][:1]
    assert manager["extraArgs"]["node-monitor-grace-period"] == "10s"
    assert manager["extraArgs"]["allocate-node-cidrs"] == "false"


@pytest.mark.parametrize(("minor", "told"), [(31, False), (32, True), (34, True)])
def test_only_a_kubelet_that_knows_it_is_told_to_restart_soon(small: Topology, minor: int, told: bool) -> None:
    found = [json.loads(one) for one in rendered(small, minor=minor)["kubeadmConfigPatches"]]
    (kubelet,) = [one for one in found if one["kind"] == "KubeletConfiguration"]
    assert ("crashLoopBackOff" in kubelet) is told


def test_networking_is_the_topologys_and_ciliums(small: Topology) -> None:
    networking = rendered(small, kube_proxy="none")["networking"]
    assert networking["kubeProxyMode"] == "none"
    assert networking["disableDefaultCNI"] is True
    assert (networking["podSubnet"], networking["ipFamily"]) == ("10.244.0.0/16", "ipv4")
    assert rendered(load(TOPOLOGIES / "dual-stack.yaml"))["networking"]["ipFamily"] == "dual"


def test_every_node_has_a_share_of_the_pods_addresses(small: Topology) -> None:
    assert config.pod_cidrs(small) == {
        "worker1": ["10.244.0.0/24"],
        "worker2": ["10.244.1.0/24"],
        "control-plane": ["10.244.2.0/24"],
    }


def test_containers_are_called_as_kind_calls_them(small: Topology) -> None:
    assert names.containers("lab", small.nodes) == {
        "control-plane": "lblab-lab-control-plane",
        "worker1": "lblab-lab-worker",
        "worker2": "lblab-lab-worker2",
    }


def test_labels_of_another_folder_of_labs_are_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = names.labels("lab")
    assert names.is_ours({**mine, "more": "x"}, "lab")
    assert not names.is_ours(mine, "lab2")
    assert not names.is_ours(None, "lab")
    monkeypatch.setenv("LBLAB_RUN", f"/tmp/lblab-test-{tmp_path.name[-8:]}")
    assert not names.is_ours(mine, "lab")
    Path(f"/tmp/lblab-test-{tmp_path.name[-8:]}").rmdir()


def test_the_management_network_keeps_clear_of_what_is_taken() -> None:
    within = ipaddress.ip_network("198.18.0.0/15")
    taken = [ipaddress.ip_network(text) for text in ("198.18.0.0/24", "198.18.1.128/25", "192.168.0.0/16", "fd00::/8")]
    assert str(next(management.free(within, 24, taken))) == "198.18.2.0/24"
    assert list(management.free(within, 24, [within])) == []


def test_a_proxys_exceptions_have_the_topologys_networks(small: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert environment("lblab-lab", small) == {"KIND_EXPERIMENTAL_DOCKER_NETWORK": "lblab-lab"}
    monkeypatch.setenv("https_proxy", "http://proxy")
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert environment("lblab-lab", small)["NO_PROXY"] == "localhost,192.168.130.0/24,192.168.129.0/24"
