"""A Kubernetes node of the lab in a scenario's hands."""

from __future__ import annotations

import functools
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

from harness.arp.announcer import Announcer
from harness.backends.base import Backend
from harness.cluster import Cluster
from harness.process import Process
from harness.routing import kernel


class Node:
    """One node: its processes, its labels, its pods."""

    def __init__(self, backend: Backend, cluster: Cluster, name: str) -> None:
        self._backend = backend
        self._cluster = cluster
        self.name = name
        self.addresses: tuple[str, ...] = tuple(map(str, backend.topology.nodes[name].address))

    @property
    def address(self) -> str:
        """Its first address: its InternalIP and its end of the BGP session."""
        return self.addresses[0]

    @functools.cached_property
    def macs(self) -> frozenset[str]:
        """The hardware addresses of its interfaces to the lab's networks."""
        devices = {link.device for link in self._backend.topology.links(self.name)}
        with self._backend.socket(self.name, socket.AF_NETLINK, socket.SOCK_RAW) as sock:
            return frozenset(mac for device, mac in kernel.hardware_addresses(sock).items() if device in devices)

    @property
    def agent(self) -> Process:
        """Cilium's agent: on the embedded lab its BGP control plane."""
        return Process(self._backend, f"{self.name}/cilium-agent")

    @property
    def speaker(self) -> Process:
        """MetalLB's speaker, where the lab runs MetalLB and this node one of its speakers."""
        return Process(self._backend, f"{self.name}/metallb-speaker")

    @property
    def kube_proxy(self) -> Process:
        """What makes service addresses answer on the node."""
        return Process(self._backend, f"{self.name}/kube-proxy")

    @property
    def kubelet(self) -> Process:
        """The kubelet; on the embedded lab lblab's node agent stands in for it."""
        return Process(self._backend, f"{self.name}/{self._backend.kubelet}")

    @property
    def announcer(self) -> Announcer:
        """The node's announcer, lblab's own, which runs while it is used as a context."""
        return Announcer(self._backend, self.name)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its Node object."""
        return dict(self._cluster.get("Node", self.name)["metadata"].get("labels", {}))

    def add_label(self, key: str, value: str) -> None:
        """Set a label of its Node object."""
        self._cluster.label("Node", self.name, {key: value})

    def remove_label(self, key: str) -> None:
        """Take a label off its Node object."""
        self._cluster.label("Node", self.name, {key: None})

    def cordon(self, on: bool = True) -> None:
        """Keep new pods off the node, as `kubectl cordon` does; False takes it back."""
        self._cluster.patch("Node", self.name, {"spec": {"unschedulable": True if on else None}})

    def drain(self) -> None:
        """Cordon it and evict its pods, as `kubectl drain --ignore-daemonsets` does; returns when that is accepted."""
        self.cordon()
        for pod in self.evictable():
            self._cluster.evict(pod["metadata"]["name"], namespace=pod["metadata"]["namespace"])

    def pods(self) -> list[dict[str, Any]]:
        """The pods bound to it."""
        return self._cluster.list("Pod", namespace="", fields={"spec.nodeName": self.name})

    def evictable(self) -> list[dict[str, Any]]:
        """The pods that a drain evicts: neither a DaemonSet's, which would come back, nor static ones."""
        return [pod for pod in self.pods() if not _stays(pod)]

    def set_ready(self, pod: str, ready: bool) -> None:
        """Make the server of one of its pods pass or fail its readiness; "namespace/name"."""
        self._backend.node_agent(self.name, {"op": "unready", "pod": pod, "on": not ready})

    def exec(self, argv: Sequence[str], *, within: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a command in the node's network."""
        return self._backend.exec(self.name, argv, within=within)

    def __repr__(self) -> str:
        return f"Node({self.name!r})"


def _stays(pod: dict[str, Any]) -> bool:
    """Whether a drain leaves a pod where it is; static pods are known by their mirror's annotation (kubelet, types)."""
    metadata = pod["metadata"]
    owned = any(owner.get("kind") == "DaemonSet" for owner in metadata.get("ownerReferences") or ())
    return owned or "kubernetes.io/config.mirror" in (metadata.get("annotations") or {})
