"""What MetalLB should announce, read off the API objects: the oracle that routers are held against.

Pure. Semantics: facts/l2_and_lag.md sections 1.3 and 1.6; MetalLB, internal/config/config.go, speaker/*_controller.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.cilium.expected import Expected, Session
from harness.cilium.selectors import matches
from harness.metallb import election
from harness.owner import Owner

Obj = Mapping[str, Any]

#: With this label a node is no candidate, by L2 or by BGP, unless the speaker is told to ignore it.
EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


@dataclass
class Objects:
    """The objects that decide, as the API server holds them."""

    #: Node objects by name.
    nodes: Mapping[str, Obj]
    #: Nodes whose speaker is a member of the memberlist; in a lab without a fault, those where it runs.
    speakers: frozenset[str]
    services: Sequence[Obj] = ()
    #: Nodes with a ready backend, by "namespace/name" of the service.
    backends: Mapping[str, set[str]] = field(default_factory=dict)
    pools: Sequence[Obj] = ()
    l2_advertisements: Sequence[Obj] = ()
    bgp_advertisements: Sequence[Obj] = ()
    bgp_peers: Sequence[Obj] = ()
    #: The loadBalancerClass that this MetalLB handles; None: Services that have none.
    load_balancer_class: str | None = None


def is_ours(service: Obj, load_balancer_class: str | None) -> bool:
    """Whether MetalLB handles a Service (MetalLB, internal/k8s/controllers/service_controller.go)."""
    spec = service["spec"]
    return bool(spec.get("type") == "LoadBalancer" and spec.get("loadBalancerClass") == load_balancer_class)


def owners(objects: Objects) -> dict[str, Owner]:
    """The node that should answer ARP or NDP for each address that is announced by L2."""
    found: dict[str, Owner] = {}
    for service, addresses, pool in _announced(objects):
        nodes = _nodes_of(_selected(objects.l2_advertisements, pool, service), objects)
        if nodes is None:
            continue
        candidates = _with_backends(service, nodes, objects)
        ranked = election.ranking(addresses[0], candidates)
        why = f"first of {len(ranked)} by sha256(node#address)" if ranked else "no node is eligible"
        for address in addresses:
            found[address] = Owner(address, "MetalLB", ranked[0] if ranked else None, ranked[1:], why)
    return found


def by_bgp(objects: Objects) -> Expected:
    """Every BGP session of the speakers, and every prefix that they announce."""
    peers = {peer["metadata"]["name"]: peer for peer in objects.bgp_peers if peer["spec"].get("peerAddress")}
    nodes_of = {
        name: {
            node
            for node in _usable(objects)
            if _matches_any(peer["spec"].get("nodeSelectors"), _labels(objects.nodes[node]))
        }
        for name, peer in peers.items()
    }
    sessions = frozenset(
        Session(node, peers[name]["spec"]["peerAddress"]) for name, nodes in nodes_of.items() for node in nodes
    )
    announcers: dict[tuple[str, str], frozenset[str]] = {}
    for service, addresses, pool in _announced(objects):
        for advertisement in _selected(objects.bgp_advertisements, pool, service):
            eligible = _with_backends(service, _nodes_of([advertisement], objects) or set(), objects)
            for name in advertisement["spec"].get("peers") or peers:
                for address in addresses:
                    if name in peers and (nodes := eligible & nodes_of[name]):
                        key = peers[name]["spec"]["peerAddress"], _prefix(address, advertisement)
                        announcers[key] = announcers.get(key, frozenset()) | nodes
    return Expected(sessions, announcers)


def _announced(objects: Objects) -> Iterator[tuple[Obj, list[str], Obj]]:
    """(service, its addresses, the pool that holds them) for every Service that is MetalLB's."""
    for service in objects.services:
        ingress = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or ()
        addresses = [entry["ip"] for entry in ingress if entry.get("ip")]
        if not addresses or not is_ours(service, objects.load_balancer_class):
            continue
        pool = next((p for p in objects.pools if all(_holds(p, address) for address in addresses)), None)
        if pool is not None:
            yield service, addresses, pool


def _holds(pool: Obj, address: str) -> bool:
    wanted = ipaddress.ip_address(address)
    for text in pool["spec"].get("addresses") or ():
        first, dash, last = (part.strip() for part in text.partition("-"))
        if dash:
            low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
            if low.version == wanted.version and int(low) <= int(wanted) <= int(high):
                return True
        elif wanted in ipaddress.ip_network(first, strict=False):
            return True
    return False


def _selected(advertisements: Sequence[Obj], pool: Obj, service: Obj) -> list[Obj]:
    """The advertisements for a pool; those of 0.16 may also select Services."""
    found: list[Obj] = []
    for advertisement in advertisements:
        spec = advertisement.get("spec") or {}
        names, selectors = spec.get("ipAddressPools") or (), spec.get("ipAddressPoolSelectors") or ()
        named = pool["metadata"]["name"] in names or any(matches(one, _labels(pool)) for one in selectors)
        if (named or not (names or selectors)) and _matches_any(spec.get("serviceSelectors"), _labels(service)):
            found.append({**advertisement, "spec": spec})
    return found


def _nodes_of(advertisements: Sequence[Obj], objects: Objects) -> set[str] | None:
    """The usable nodes that any of these advertisements selects; None when there is no advertisement."""
    if not advertisements:
        return None
    return {
        node
        for node in _usable(objects)
        if any(_matches_any(a["spec"].get("nodeSelectors"), _labels(objects.nodes[node])) for a in advertisements)
    }


def _usable(objects: Objects) -> set[str]:
    return {node for node in objects.speakers if node in objects.nodes and _available(objects.nodes[node])}


def _available(node: Obj) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    cut_off = any(c["type"] == "NetworkUnavailable" and c["status"] == "True" for c in conditions)
    return not cut_off and EXCLUDED not in _labels(node)


def _with_backends(service: Obj, nodes: set[str], objects: Objects) -> set[str]:
    """Without a ready backend nobody announces; with policy Local only the nodes that have one."""
    metadata = service["metadata"]
    having = objects.backends.get(f"{metadata['namespace']}/{metadata['name']}", set())
    if service["spec"].get("externalTrafficPolicy") == "Local":
        return nodes & having
    return nodes if having else set()


def _prefix(address: str, advertisement: Obj) -> str:
    six = ":" in address
    length = advertisement["spec"].get("aggregationLengthV6" if six else "aggregationLength", 128 if six else 32)
    return str(ipaddress.ip_network(f"{address}/{length}", strict=False))


def _labels(obj: Obj) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _matches_any(selectors: Sequence[Obj] | None, labels: Mapping[str, str]) -> bool:
    """MetalLB's lists of selectors: one has to match, none of them is a match."""
    return not selectors or any(matches(one, labels) for one in selectors)
