"""Kubernetes objects that scenarios need again and again, with only what a scenario decides as parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Obj = dict[str, Any]


def deployment(name: str, *, replicas: int = 1, node: str | None = None, udp: int | None = None) -> Obj:
    """A Deployment of web servers on port 80, each labelled `app: <name>`.

    Args:
        name: Its name.
        replicas: How many pods.
        node: The only node on which they may run.
        udp: A UDP port on which they answer, too.
    """
    ports: list[Obj] = [{"containerPort": 80}]
    if udp is not None:
        ports.append({"containerPort": udp, "protocol": "UDP"})
    spec: Obj = {"terminationGracePeriodSeconds": 1, "containers": [{"name": "web", "image": "nginx", "ports": ports}]}
    if node is not None:
        spec["nodeSelector"] = {"kubernetes.io/hostname": node}
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service(
    name: str,
    *,
    app: str | None = None,
    policy: str = "Cluster",
    ports: Sequence[int] = (80,),
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> Obj:
    """A Service of type LoadBalancer in front of the pods labelled `app: <app>`.

    Args:
        name: Its name.
        app: The pods' label; by default the Service's name.
        policy: externalTrafficPolicy.
        ports: TCP ports; all lead to the pods' port 80.
        labels: The Service's labels.
        annotations: The Service's annotations.
        spec: Further fields of its spec.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": dict(labels or {}), "annotations": dict(annotations or {})},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": policy,
            "selector": {"app": app or name},
            "ports": [{"name": f"tcp-{port}", "port": port, "targetPort": 80} for port in ports],
            **spec,
        },
    }


def pool(name: str, *cidrs: str, version: str, selector: Mapping[str, Any] | None = None) -> Obj:
    """A CiliumLoadBalancerIPPool in the form that a Cilium version serves (facts/cilium.md 1.1)."""
    from harness.cilium import semver

    minor = semver.parse(version).line
    spec: Obj = {"blocks" if minor >= (1, 15) else "cidrs": [{"cidr": cidr} for cidr in cidrs]}
    if selector is not None:
        spec["serviceSelector"] = dict(selector)
    api_version = "cilium.io/v2" if minor >= (1, 18) else "cilium.io/v2alpha1"
    return {
        "apiVersion": api_version,
        "kind": "CiliumLoadBalancerIPPool",
        "metadata": {"name": name},
        "spec": spec,
    }
