"""`lblab status`: gather the facts of a running lab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import LblabError
from harness.observe import Snapshot, conditions, snapshot
from harness.service import addresses_of
from harness.status import (
    BackendStatus,
    NodeStatus,
    OwnerStatus,
    PathStatus,
    RouteStatus,
    ServiceStatus,
    SessionStatus,
    Status,
)

if TYPE_CHECKING:
    from harness.lab import Lab


def look(lab: Lab) -> Status:
    """Read everything once; a part that does not answer is left out, so that a broken lab can still be looked at."""
    kubernetes: str | None = None
    nodes: list[NodeStatus] = []
    services: list[ServiceStatus] = []
    owners: list[OwnerStatus] = []
    try:
        kubernetes = lab.cluster.version()
        seen = snapshot(lab)
    except LblabError:
        pass  # no API server: the routers still tell what clients see
    else:
        nodes, services, owners = _nodes(lab, seen), _services(seen), _owners(lab, seen)
    return Status(
        name=lab.name,
        backend=lab.backend.kind,
        topology=lab.topology.name,
        cilium_version=lab.cilium_version,
        metallb_version=lab.metallb_version,
        kubernetes_version=kubernetes,
        kubeconfig=str(lab.kubeconfig),
        nodes=nodes,
        sessions=_sessions(lab),
        routes=_routes(lab),
        owners=owners,
        services=services,
        stand_ins=list(lab.backend.stand_ins),
        stages=dict(lab.backend.stages),
    )


def _nodes(lab: Lab, seen: Snapshot) -> list[NodeStatus]:
    running = {name for name, state in lab.backend.processes().items() if state.pid}
    speakers = lab.topology.speakers() if lab.metallb_version else ()
    found = []
    for name, node in lab.nodes.items():
        obj = seen.nodes.get(name)
        ready = conditions(obj).get("Ready", {}).get("status") if obj else None
        found.append(
            NodeStatus(
                name=name,
                addresses=list(node.addresses),
                ready=None if ready is None else ready == "True",
                agent_running=node.agent.name in running,
                speaker_running=node.speaker.name in running if name in speakers else None,
                labels=(obj["metadata"].get("labels") or {}) if obj else {},
            )
        )
    return found


def _sessions(lab: Lab) -> list[SessionStatus]:
    return [
        SessionStatus(
            router=name,
            peer=peer.address,
            node=lab.node_of(peer.address),
            remote_as=peer.remote_as,
            state=peer.state,
            hold_seconds=peer.hold,
            keepalive_seconds=peer.keepalive,
            graceful_restart_local=peer.graceful_restart.local_mode,
            graceful_restart_remote=peer.graceful_restart.remote_mode,
            prefixes_received=sum(peer.prefixes_received.values()),
        )
        for name, router in lab.routers.items()
        for peer in router.bgp.peers().values()
    ]


def _routes(lab: Lab) -> list[RouteStatus]:
    found = []
    for name, router in lab.routers.items():
        for family in ("ipv4", "ipv6"):
            for prefix, route in router.bgp.routes(family).items():
                learned = [path for path in route.paths if path.peer]
                if learned:
                    found.append(
                        RouteStatus(
                            router=name,
                            prefix=prefix,
                            paths=[
                                PathStatus(
                                    next_hop=path.next_hop,
                                    node=lab.node_of(path.next_hop),
                                    valid=path.valid,
                                    best=path.best,
                                    multipath=path.multipath,
                                    stale=path.stale,
                                )
                                for path in learned
                            ],
                            kernel_next_hops=sorted(router.kernel_next_hops(prefix)),
                        )
                    )
    return found


def _owners(lab: Lab, seen: Snapshot) -> list[OwnerStatus]:
    return [
        OwnerStatus(
            address=address,
            announcer=owner.announcer,
            expected=owner.node,
            why=owner.why,
            routers={router: lab.l2.owner(address, router) for router in lab.l2.routers(address)},
        )
        for address, owner in sorted(lab.l2.expected(seen).items())
    ]


def _services(seen: Snapshot) -> list[ServiceStatus]:
    return [
        ServiceStatus(
            name=(name := f"{service['metadata']['namespace']}/{service['metadata']['name']}"),
            addresses=addresses_of(service),
            ports=[f"{port.get('protocol', 'TCP')}/{port['port']}" for port in service["spec"]["ports"]],
            external_traffic_policy=service["spec"].get("externalTrafficPolicy"),
            ready_backends=[BackendStatus(pod=pod, node=node, ip=ip) for pod, node, ip in seen.backends.get(name, [])],
        )
        for service in seen.services
    ]
