"""The configuration that `kind create cluster` gets for a topology. Pure: a topology in, plain data out.

kind writes kubeadm's configuration and lets it be patched (kind, pkg/cluster/internal/kubeadm/config.go). Patches make
the cluster the topology's: nodes have its names and addresses, and everything that Kubernetes says to itself goes over
its networks. Docker's own network, which kind cannot do without, carries nothing but lblab's requests.

kubeadm's options are a map in v1beta3 and a list of names and values in v1beta4; which one kind writes depends on kind
and on Kubernetes, so each patch is there for both, and kind applies the one that fits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.addresses import share
from harness.backends.kind import names
from harness.topology import Topology

#: Kubernetes' minor from which a kubelet may be told how soon a container that ends again and again is started again
#: (KEP-4603, alpha and off since 1.32).
_RESTART_PERIOD_SINCE = 32
_API_PORT = 6443
#: kubeadm waits so long for each part of the control plane and for kubelets; its four minutes were nearly used up when
#: builds kept both cores of a machine busy (load average 45).
_PATIENCE = "8m0s"

Json = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What a cluster is made of beside its topology.

    Attributes:
        lab: The lab's name.
        image: The nodes' image.
        minor: The minor of its Kubernetes, 34 of 1.34.
        kube_proxy: kube-proxy's mode, "none" where Cilium takes its place.
        mounts: Folders of this machine that each node has at the same place.
    """

    lab: str
    image: str
    minor: int
    kube_proxy: str = "iptables"
    mounts: tuple[Path, ...] = ()


def render(topology: Topology, settings: Settings) -> Json:
    """Write kind's configuration (kind.x-k8s.io/v1alpha4)."""
    mounts = [{"hostPath": str(path), "containerPath": str(path)} for path in settings.mounts]
    common: Json = {"image": settings.image, "extraMounts": mounts}
    containers = names.containers(settings.lab, topology.nodes)

    def node(role: str, kind: str, name: str, addresses: Iterable[object], *more: str) -> Json:
        patches = [*_node(kind, settings, name, containers[name], addresses), *more]
        return {**common, "role": role, "kubeadmConfigPatches": patches}

    first = (names.CONTROL_PLANE, topology.control_plane.address, _advertised(topology))
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {
            "ipFamily": family(topology),
            "apiServerAddress": "127.0.0.1",  # kind finds a port of its own for each cluster
            "disableDefaultCNI": True,
            "kubeProxyMode": settings.kube_proxy,
            "podSubnet": ",".join(map(str, topology.cluster.pod_cidrs)),
            "serviceSubnet": ",".join(map(str, topology.cluster.service_cidrs)),
        },
        "kubeadmConfigPatches": [*_cluster(topology), _kubelet(topology, settings.minor), _discovery(topology)],
        "nodes": [
            node("control-plane", "InitConfiguration", *first),
            *(node("worker", "JoinConfiguration", name, one.address) for name, one in topology.nodes.items()),
        ],
    }


def endpoint(topology: Topology) -> str:
    """Where nodes reach the API server: its address in the topology."""
    address = topology.control_plane.address[0]
    return f"[{address}]:{_API_PORT}" if address.version == 6 else f"{address}:{_API_PORT}"


def family(topology: Topology) -> str:
    """The IP versions of the cluster, as kind says it: ipv4, ipv6 or dual."""
    versions = {cidr.version for cidr in topology.cluster.pod_cidrs}
    return "dual" if len(versions) > 1 else "ipv6" if versions == {6} else "ipv4"


def pod_cidrs(topology: Topology) -> dict[str, list[str]]:
    """Each node's addresses for pods, by the nodes' Kubernetes names; the control plane's come last."""
    found = {name: [str(one) for one in topology.pod_cidrs(name)] for name in topology.nodes}
    last = len(topology.nodes)
    found[names.CONTROL_PLANE] = [str(share(cidr, last)) for cidr in topology.cluster.pod_cidrs]
    return found


def _cluster(topology: Topology) -> list[str]:
    manager = {
        "enable-hostpath-provisioner": "true",  # kind's own
        # lblab gives each node its own share: embedded labs have them in the topology's order, and so has this one
        "allocate-node-cidrs": "false",
        "node-monitor-grace-period": f"{topology.cluster.node_monitor_grace_seconds}s",
        "node-monitor-period": "1s",
    }
    patch: Json = {"kind": "ClusterConfiguration", "controlPlaneEndpoint": endpoint(topology)}
    old = {"kind": "ClusterConfiguration", "apiVersion": "kubeadm.k8s.io/v1beta3"}
    return [
        *_versions(patch, ("controllerManager", "extraArgs"), manager),
        json.dumps({**old, "apiServer": {"timeoutForControlPlane": _PATIENCE}}),
        *(json.dumps({**new, "apiVersion": "kubeadm.k8s.io/v1beta4"}) for new in _timeouts()),
    ]


def _timeouts() -> list[Json]:
    kubelet = {"kubeletHealthCheck": _PATIENCE}
    return [
        {"kind": "InitConfiguration", "timeouts": {**kubelet, "controlPlaneComponentHealthCheck": _PATIENCE}},
        {"kind": "JoinConfiguration", "timeouts": {**kubelet, "tlsBootstrap": _PATIENCE}},
    ]


def _kubelet(topology: Topology, minor: int) -> str:
    settings: Json = {
        "kind": "KubeletConfiguration",
        "nodeLeaseDurationSeconds": topology.cluster.node_lease_seconds,
    }
    if minor >= _RESTART_PERIOD_SINCE:
        # agents are killed often; the usual delay doubles with each time, up to five minutes
        settings["featureGates"] = {"KubeletCrashLoopBackOffMax": True}
        settings["crashLoopBackOff"] = {"maxContainerRestartPeriod": "1s"}
    return json.dumps(settings)


def _discovery(topology: Topology) -> str:
    token = {"apiServerEndpoint": endpoint(topology)}
    return json.dumps({"kind": "JoinConfiguration", "discovery": {"bootstrapToken": token}})


def _advertised(topology: Topology) -> str:
    where = {"advertiseAddress": str(topology.control_plane.address[0]), "bindPort": _API_PORT}
    return json.dumps({"kind": "InitConfiguration", "localAPIEndpoint": where})


def _node(kind: str, settings: Settings, name: str, container: str, addresses: Iterable[object]) -> list[str]:
    cluster = names.cluster(settings.lab)
    options = {
        "node-ip": ",".join(map(str, addresses)),
        "provider-id": f"kind://docker/{cluster}/{container}",  # kind's own
    }
    patch = {"kind": kind, "nodeRegistration": {"name": name}}
    return _versions(patch, ("nodeRegistration", "kubeletExtraArgs"), options)


def _versions(patch: Json, path: tuple[str, ...], options: Mapping[str, str]) -> list[str]:
    """One patch as kubeadm's v1beta3 and v1beta4 have it.

    Args:
        patch: What is the same in both.
        path: Where in it the options belong.
        options: Added to a map of options; in place of a list of options, so those of kind's that are to stay are here.
    """
    listed = [{"name": name, "value": value} for name, value in options.items()]
    found = []
    for version, value in (("v1beta3", dict(options)), ("v1beta4", listed)):
        made = json.loads(json.dumps(patch)) | {"apiVersion": f"kubeadm.k8s.io/{version}"}
        inner = made
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = value
        found.append(json.dumps(made))
    return found
