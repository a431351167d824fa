"""One look at everything that decides what clients of a lab see: API objects, routers, kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.cilium import expected_l2, lease, semver
from harness.cilium.expected import Objects
from harness.cluster import Cluster
from harness.errors import UserError
from harness.metallb import expected as metallb_expected

if TYPE_CHECKING:
    from harness.lab import Lab

Obj = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """The API objects of a lab at one moment."""

    nodes: dict[str, Obj]
    services: list[Obj]
    #: Ready backends by "namespace/name" of the service: (pod, node, ip).
    backends: dict[str, list[tuple[str | None, str | None, str]]]
    deployments: list[Obj]
    objects: Objects
    #: What decides MetalLB's announcements; None where it does not run.
    metallb: metallb_expected.Objects | None = None
    #: What decides Cilium's L2 announcements; None where no agent announces by L2.
    cilium_l2: expected_l2.Objects | None = None


def snapshot(lab: Lab) -> Snapshot:
    """Read every object that decides what is announced; a dozen requests, some 20 ms."""
    cluster = lab.cluster
    nodes = {node["metadata"]["name"]: node for node in cluster.list("Node")}
    services = [s for s in cluster.list("Service", namespace="") if s["spec"].get("type") == "LoadBalancer"]
    backends = _backends(cluster)
    objects = Objects(
        nodes={name: nodes[name]["metadata"].get("labels") or {} for name in lab.nodes if name in nodes},
        services=services,
        backends={service: {node for _, node, _ in found if node} for service, found in backends.items()},
        policies=listed(cluster, "ciliumbgppeeringpolicies.cilium.io"),
        cluster_configs=listed(cluster, "ciliumbgpclusterconfigs.cilium.io"),
        peer_configs=listed(cluster, "ciliumbgppeerconfigs.cilium.io"),
        advertisements=listed(cluster, "ciliumbgpadvertisements.cilium.io"),
    )
    metallb = _metallb(lab, nodes, objects) if lab.metallb_version else None
    cilium_l2 = _cilium_l2(lab, objects) if lab.announces_by_l2 else None
    return Snapshot(nodes, services, backends, cluster.list("Deployment", namespace=""), objects, metallb, cilium_l2)


def _metallb(lab: Lab, nodes: dict[str, Obj], objects: Objects) -> metallb_expected.Objects:
    running = {name for name, state in lab.backend.processes().items() if state.pid is not None}
    settings = lab.topology.metallb
    return metallb_expected.Objects(
        nodes=nodes,
        speakers=frozenset(name for name in lab.topology.speakers() if lab.node(name).speaker.name in running),
        services=objects.services,
        backends=objects.backends,
        pools=listed(lab.cluster, "ipaddresspools.metallb.io"),
        l2_advertisements=listed(lab.cluster, "l2advertisements.metallb.io"),
        bgp_advertisements=listed(lab.cluster, "bgpadvertisements.metallb.io"),
        bgp_peers=listed(lab.cluster, "bgppeers.metallb.io"),
        load_balancer_class=settings.load_balancer_class if settings else None,
    )


def _cilium_l2(lab: Lab, objects: Objects) -> expected_l2.Objects:
    running = {name for name, state in lab.backend.processes().items() if state.pid is not None}
    leases = lab.cluster.list("leases.coordination.k8s.io", namespace=lease.NAMESPACE)
    return expected_l2.Objects(
        nodes={name: labels for name, labels in objects.nodes.items() if lab.node(name).agent.name in running},
        services=objects.services,
        backends=objects.backends,
        policies=listed(lab.cluster, "ciliuml2announcementpolicies.cilium.io"),
        holders={one["metadata"]["name"]: one["spec"].get("holderIdentity") or None for one in leases},
        line=semver.parse(lab.cilium_version).line,
    )


def listed(cluster: Cluster, kind: str) -> list[Obj]:
    """The objects of a kind that this Cilium version may not serve: then there are none."""
    try:
        return cluster.list(kind, namespace="")
    except UserError:
        return []


def _backends(cluster: Cluster) -> dict[str, list[tuple[str | None, str | None, str]]]:
    found: dict[str, list[tuple[str | None, str | None, str]]] = {}
    for piece in cluster.list("endpointslices.discovery.k8s.io", namespace=""):
        metadata = piece["metadata"]
        service = f"{metadata['namespace']}/{(metadata.get('labels') or {}).get('kubernetes.io/service-name')}"
        for endpoint in piece.get("endpoints") or ():
            # "nil should be interpreted as true" (discovery.k8s.io/v1, EndpointConditions.ready)
            if (endpoint.get("conditions") or {}).get("ready", True):
                pod = (endpoint.get("targetRef") or {}).get("name")
                for address in endpoint["addresses"]:
                    found.setdefault(service, []).append((pod, endpoint.get("nodeName"), address))
    return found


def conditions(obj: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """An object's conditions by their type."""
    return {c["type"]: c for c in (obj.get("status") or {}).get("conditions") or ()}
