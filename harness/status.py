"""What a lab looks like at one moment: the facts behind `lblab status`, as typed data."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class NodeStatus(_Model):
    """One Kubernetes node."""

    name: str
    addresses: list[str]
    #: The Ready condition of its Node object; None when it has none.
    ready: bool | None
    #: Whether Cilium's BGP control plane runs on it.
    agent_running: bool
    #: Whether MetalLB's speaker runs on it; None when it is not meant to.
    speaker_running: bool | None = None
    labels: dict[str, str]


class SessionStatus(_Model):
    """One BGP session as a router sees it."""

    router: str
    peer: str
    node: str | None
    remote_as: int
    #: RFC 4271 8.2.2: Idle, Connect, Active, OpenSent, OpenConfirm, Established.
    state: str
    hold_seconds: float | None
    keepalive_seconds: float | None
    #: RFC 4724: Disable, Helper or Restart, as the router uses it and as the peer said.
    graceful_restart_local: str | None
    graceful_restart_remote: str | None
    prefixes_received: int


class PathStatus(_Model):
    """One path of a route in a router's BGP table."""

    next_hop: str
    node: str | None
    valid: bool
    best: bool
    multipath: bool
    #: RFC 4724 4.2: retained while its peer restarts.
    stale: bool


class RouteStatus(_Model):
    """One prefix that a router learned by BGP, down to its kernel."""

    router: str
    prefix: str
    paths: list[PathStatus]
    #: Next hops in the router's kernel.
    kernel_next_hops: list[str]


class OwnerStatus(_Model):
    """One address that a node answers ARP or NDP for."""

    address: str
    #: "MetalLB".
    announcer: str
    #: The node that should answer by the announcer's rules; None: nobody.
    expected: str | None
    why: str
    #: By router: the node that its neighbour entry leads to, a hardware address that is no node's, or None.
    routers: dict[str, str | None]


class BackendStatus(_Model):
    """A ready backend of a service."""

    pod: str | None
    node: str | None
    ip: str


class ServiceStatus(_Model):
    """One Service of type LoadBalancer."""

    name: str
    addresses: list[str]
    ports: list[str]
    external_traffic_policy: str | None
    ready_backends: list[BackendStatus]


class Status(_Model):
    """A lab at one moment."""

    name: str
    backend: str
    topology: str
    cilium_version: str
    #: None when MetalLB does not run.
    metallb_version: str | None = None
    kubernetes_version: str | None
    kubeconfig: str
    nodes: list[NodeStatus]
    sessions: list[SessionStatus]
    routes: list[RouteStatus]
    #: Addresses announced by ARP or NDP.
    owners: list[OwnerStatus] = []
    services: list[ServiceStatus]
    #: What in this lab is not the real thing.
    stand_ins: list[str]
    #: Seconds from the start until each stage was done.
    stages: dict[str, float]
