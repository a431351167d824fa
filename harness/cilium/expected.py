"""What Cilium should announce, read off the API objects: the oracle that the routers' tables are held against.

Semantics: shared/facts/cilium.md, sections 1.2, 1.3 and 2.2. Pure: objects in, sessions and next hops out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.cilium.selectors import matches

Obj = Mapping[str, Any]

#: loadBalancerClass values that the BGP control plane announces.
_CLASSES = (None, "io.cilium/bgp-control-plane")


@dataclass(frozen=True)
class Session:
    """A BGP session that a node should have."""

    node: str
    #: The peer's address.
    peer: str


@dataclass
class Objects:
    """The objects that decide, as the API server holds them."""

    #: Name and labels of each node.
    nodes: Mapping[str, Mapping[str, str]]
    services: Sequence[Obj] = ()
    #: Nodes with a ready backend, by "namespace/name" of the service.
    backends: Mapping[str, set[str]] = field(default_factory=dict)
    policies: Sequence[Obj] = ()
    cluster_configs: Sequence[Obj] = ()
    peer_configs: Sequence[Obj] = ()
    advertisements: Sequence[Obj] = ()


@dataclass(frozen=True)
class Expected:
    """What should be so once everything has converged."""

    sessions: frozenset[Session]
    #: Nodes that announce a prefix to a peer, by (peer address, prefix); only prefixes that somebody announces.
    announcers: Mapping[tuple[str, str], frozenset[str]]

    def __or__(self, other: Expected) -> Expected:
        """What two announcers in the same nodes should make of it together."""
        both = {
            key: self.announcers.get(key, frozenset()) | other.announcers.get(key, frozenset())
            for key in {*self.announcers, *other.announcers}
        }
        return Expected(self.sessions | other.sessions, both)


def expected(objects: Objects) -> Expected:
    """Work out every session and every announced prefix."""
    sessions: set[Session] = set()
    announcers: dict[tuple[str, str], set[str]] = {}
    # 1.18 prefers a policy over the newer API for a node that both select (1.18:pkg/bgpv1/agent/controller.go)
    found = list(_by_policy(objects))
    governed = {session.node for session, _ in found}
    found += [(session, prefixes) for session, prefixes in _by_cluster_config(objects) if session.node not in governed]
    for session, prefixes in found:
        sessions.add(session)
        for prefix in prefixes:
            announcers.setdefault((session.peer, prefix), set()).add(session.node)
    return Expected(frozenset(sessions), {key: frozenset(nodes) for key, nodes in announcers.items()})


def _by_policy(objects: Objects) -> Iterator[tuple[Session, set[str]]]:
    for node, labels in objects.nodes.items():
        mine = [p for p in objects.policies if matches(p["spec"].get("nodeSelector"), labels, absent=True)]
        if len(mine) != 1:  # two policies on one node: Cilium takes neither (ErrMultiplePolicies)
            continue
        for virtual_router in mine[0]["spec"]["virtualRouters"]:
            kinds = virtual_router.get("serviceAdvertisements") or ["LoadBalancerIP"]
            prefixes = {
                prefix
                for service in objects.services
                if "LoadBalancerIP" in kinds and matches(virtual_router.get("serviceSelector"), _labels(service))
                for prefix in _prefixes(service, node, objects)
            }
            for neighbor in virtual_router["neighbors"]:
                families = {f["afi"] for f in neighbor.get("families") or ()} or {"ipv4", "ipv6"}
                peer = str(ipaddress.ip_interface(neighbor["peerAddress"]).ip)
                yield Session(node, peer), {p for p in prefixes if _family(p) in families}


def _by_cluster_config(objects: Objects) -> Iterator[tuple[Session, set[str]]]:
    peer_configs = {p["metadata"]["name"]: p for p in objects.peer_configs}
    for node, labels in objects.nodes.items():
        for config in objects.cluster_configs:
            if not matches(config["spec"].get("nodeSelector"), labels, absent=True):
                continue
            for instance in config["spec"]["bgpInstances"]:
                for peer in instance.get("peers") or ():
                    reference = (peer.get("peerConfigRef") or {}).get("name")
                    if not peer.get("peerAddress") or (reference and reference not in peer_configs):
                        continue  # discovered, or skipped by Cilium until the reference exists (neighbor.go)
                    peer_config = peer_configs.get(reference or "", {"spec": {}})
                    yield Session(node, peer["peerAddress"]), set(_advertised(peer_config, node, objects))


def _advertised(peer_config: Obj, node: str, objects: Objects) -> Iterator[str]:
    for family in peer_config["spec"].get("families") or ():
        for advertisement in objects.advertisements:
            if not matches(family.get("advertisements"), advertisement["metadata"].get("labels") or {}):
                continue
            for one in advertisement["spec"]["advertisements"]:
                if one["advertisementType"] != "Service":
                    continue
                if "LoadBalancerIP" not in (one.get("service") or {}).get("addresses", ()):
                    continue
                for service in objects.services:
                    if matches(one.get("selector"), _labels(service)):
                        prefixes = _prefixes(service, node, objects, one["service"])
                        yield from (prefix for prefix in prefixes if _family(prefix) == family["afi"])


def _labels(service: Obj) -> dict[str, str]:
    metadata = service["metadata"]
    return {
        **(metadata.get("labels") or {}),
        "io.kubernetes.service.name": metadata["name"],
        "io.kubernetes.service.namespace": metadata["namespace"],
    }


def _prefixes(service: Obj, node: str, objects: Objects, advert: Obj | None = None) -> Iterator[str]:
    spec, metadata = service["spec"], service["metadata"]
    if spec.get("type") != "LoadBalancer" or spec.get("loadBalancerClass") not in _CLASSES:
        return
    local = spec.get("externalTrafficPolicy") == "Local"
    if local and node not in objects.backends.get(f"{metadata['namespace']}/{metadata['name']}", ()):
        return
    for ingress in service.get("status", {}).get("loadBalancer", {}).get("ingress") or ():
        if not ingress.get("ip"):
            continue
        address = ipaddress.ip_address(ingress["ip"])
        length = address.max_prefixlen
        if advert and not local:  # aggregation applies to policy Cluster only (facts/cilium.md 2.3)
            length = advert.get(f"aggregationLengthIPv{address.version}") or length
        yield str(ipaddress.ip_network(f"{address}/{length}", strict=False))


def _family(prefix: str) -> str:
    return "ipv6" if ":" in prefix else "ipv4"
