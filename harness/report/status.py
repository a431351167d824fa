"""`lblab status` as tables on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.bgp import ESTABLISHED
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


def render(status: Status) -> RenderableType:
    """Lay out a lab's state: what it is, then nodes, sessions, routes and services."""
    parts: list[RenderableType] = [_head(status), _nodes(status.nodes), _sessions(status.sessions)]
    parts.append(_routes(status.routes))
    if status.owners:
        parts.append(_owners(status.owners))
    parts.append(_services(status.services))
    parts += [Text(f"stand-in: {text}", style="dim") for text in status.stand_ins]
    return Group(*parts)


def _head(status: Status) -> Text:
    kubernetes = status.kubernetes_version or "the API server is away"
    head = f"{status.name}: topology {status.topology} on {status.backend}, Cilium {status.cilium_version}"
    if status.metallb_version:
        head += f", MetalLB {status.metallb_version}"
    return Text(f"{head}, Kubernetes {kubernetes}\nKUBECONFIG={status.kubeconfig}")


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[RenderableType]], empty: str) -> RenderableType:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    if table.row_count:
        return Group(Text(), table)
    return Text(f"\n{empty}")


def _nodes(nodes: Sequence[NodeStatus]) -> RenderableType:
    rows = (
        (
            node.name,
            ", ".join(node.addresses),
            _verdict(node.ready, "Ready", "NotReady" if node.ready is not None else "not registered"),
            _verdict(node.agent_running, "runs", "does not run"),
            ", ".join(f"{key}={value}" for key, value in sorted(node.labels.items()) if _telling(key)),
        )
        for node in nodes
    )
    return _table("Nodes", ("node", "address", "condition", "Cilium agent", "labels"), rows, "no nodes")


def _telling(label: str) -> bool:
    """Leave out the labels that every node has and that say nothing its name does not."""
    return not label.startswith(("kubernetes.io/", "beta.kubernetes.io/", "node.kubernetes.io/"))


def _sessions(sessions: Sequence[SessionStatus]) -> RenderableType:
    columns = ("router", "peer", "node", "AS", "state", "hold/keepalive", "GR own/peer", "prefixes")
    rows = (
        (
            session.router,
            session.peer,
            session.node or "-",
            str(session.remote_as),
            _verdict(session.state == ESTABLISHED, session.state, session.state),
            f"{_seconds(session.hold_seconds)}/{_seconds(session.keepalive_seconds)}",
            f"{session.graceful_restart_local or '-'}/{session.graceful_restart_remote or '-'}",
            str(session.prefixes_received),
        )
        for session in sessions
    )
    return _table("BGP sessions", columns, rows, "no BGP sessions")


def _routes(routes: Sequence[RouteStatus]) -> RenderableType:
    rows: list[Sequence[RenderableType]] = []
    for route in routes:
        kernel = set(route.kernel_next_hops)
        for place, path in enumerate(route.paths):
            first = place == 0
            rows.append(
                (
                    route.router if first else "",
                    route.prefix if first else "",
                    path.next_hop + (f" ({path.node})" if path.node else ""),
                    flags(path),
                    _verdict(path.next_hop in kernel, "yes", "no"),
                )
            )
        known = {path.next_hop for path in route.paths}
        for hop in sorted(kernel - known):  # in the kernel, and no longer in the BGP table
            rows.append(
                ("" if route.paths else route.router, "" if route.paths else route.prefix, hop, "-", Text("yes"))
            )
    return _table("Routes received", ("router", "prefix", "next hop", "flags", "in kernel"), rows, "no routes received")


def _owners(owners: Sequence[OwnerStatus]) -> RenderableType:
    rows = (
        (
            owner.address if place == 0 else "",
            f"{owner.expected or 'nobody'} ({owner.announcer}: {owner.why})" if place == 0 else "",
            router,
            _verdict(found == owner.expected, found or "not known", found or "not known"),
        )
        for owner in owners
        for place, (router, found) in enumerate(owner.routers.items())
    )
    columns = ("address", "who should answer", "router", "its neighbour entry")
    return _table("Addresses announced by ARP or NDP", columns, rows, "no addresses announced by ARP or NDP")


def flags(path: PathStatus) -> str:
    """Say a path's flags in words, as FRR's JSON names them."""
    words = {"valid": path.valid, "best": path.best, "multipath": path.multipath, "stale": path.stale}
    return " ".join(word for word, holds in words.items() if holds) or "not valid"


def _services(services: Sequence[ServiceStatus]) -> RenderableType:
    rows = (
        (
            service.name,
            ", ".join(service.addresses) or Text("none", style="red"),
            ", ".join(service.ports),
            service.external_traffic_policy or "-",
            backends(service.ready_backends) or Text("none", style="red"),
        )
        for service in services
    )
    columns = ("service", "address", "ports", "externalTrafficPolicy", "ready backends")
    return _table("Services of type LoadBalancer", columns, rows, "no services of type LoadBalancer")


def backends(ready: Sequence[BackendStatus]) -> str:
    """Say how many ready backends each node has: "worker1 2, worker2 1"."""
    counts: dict[str, int] = {}
    for backend in ready:
        counts[backend.node or "?"] = counts.get(backend.node or "?", 0) + 1
    return ", ".join(f"{node} {count}" for node, count in sorted(counts.items()))


def _verdict(good: bool | None, yes: str, no: str) -> Text:
    return Text(yes, style="green") if good else Text(no, style="red")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:g} s"
