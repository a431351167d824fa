"""The chain from a node's agent to a client's packet, link by link, so that a failure names the link that is broken.

    node - backend - address - session - adj-RIB-in - kernel FIB - neighbour - datapath

A later link can only hold when the earlier ones do, so the first broken one is the one to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.bgp import ESTABLISHED
from harness.cilium.expected import Expected, expected
from harness.errors import LabError
from harness.metallb import expected as metallb
from harness.observe import Obj, Snapshot, conditions, snapshot
from harness.owner import Owner
from harness.service import addresses_of

if TYPE_CHECKING:
    from harness.client import Client
    from harness.lab import Lab

#: Connections for each next hop, and at the most: with 6 for each of 2, one in 2000 looks misses a next hop.
_TRIES, _MOST = 6, 24


@dataclass(frozen=True)
class Link:
    """One link of the chain and whether it holds."""

    #: "session", "adj-RIB-in", ...
    layer: str
    #: What it is about: a node, a session, a prefix.
    subject: str
    ok: bool
    #: What was seen, and what was expected where that differs.
    detail: str

    def __str__(self) -> str:
        return f"{self.layer} of {self.subject}: {self.detail}"


@dataclass(frozen=True)
class Chain:
    """Every link that was looked at, in order; links behind a broken one may be missing."""

    links: tuple[Link, ...]

    @property
    def broken(self) -> Link | None:
        """The first link that does not hold."""
        return next((link for link in self.links if not link.ok), None)

    def __str__(self) -> str:
        return f"broken link: {self.broken}" if self.broken else f"all {len(self.links)} links hold"


def trace(lab: Lab) -> Chain:
    """Look at every link now; stops after the first layer in which something is broken."""
    found: list[Link] = []
    seen = snapshot(lab)
    wanted = expected(seen.objects)
    if seen.metallb is not None:
        wanted = wanted | metallb.by_bgp(seen.metallb)
    owners = lab.l2.expected(seen)
    for layer in (
        _nodes(lab, seen),
        _backends(seen),
        _addresses(lab, seen),
        _sessions(lab, wanted),
        _adj_rib_in(lab, wanted),
        _kernel(lab, wanted),
        _members(lab, seen),
        _leaders(owners),
        _neighbours(lab, wanted),
        _owned(lab, owners),
        _datapath(lab, seen, wanted, owners),
    ):
        found += layer
        if any(not link.ok for link in found):
            break
    return Chain(tuple(found))


def _nodes(lab: Lab, seen: Snapshot) -> Iterator[Link]:
    for name in lab.nodes:
        if name not in seen.nodes:
            yield Link("node", name, False, "has not registered")
            continue
        ready = conditions(seen.nodes[name]).get("Ready", {})
        yield Link("node", name, ready.get("status") == "True", f"Ready is {ready.get('status', 'not reported')}")


def _backends(seen: Snapshot) -> Iterator[Link]:
    for deployment in seen.deployments:
        name = f"Deployment {deployment['metadata']['namespace']}/{deployment['metadata']['name']}"
        status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
        current = status.get("observedGeneration") == deployment["metadata"]["generation"]
        ready, total = status.get("readyReplicas", 0), status.get("replicas", 0)
        ok = current and ready == total == wanted == status.get("updatedReplicas", 0)
        yield Link("backend", name, ok, f"{ready} of {wanted} pods ready, {total} there")
    for service in seen.services:
        name = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
        behind = [deployment for deployment in seen.deployments if _selects(service, deployment)]
        ready = sum((one.get("status") or {}).get("readyReplicas", 0) for one in behind)
        known = len({pod for pod, _, _ in seen.backends.get(name, ())})
        # a pod that is ready is not yet one of whom kube-proxy or Cilium have heard
        if known < ready:
            yield Link("backend", f"Service {name}", False, f"{known} of {ready} ready pods in its EndpointSlices")


def _selects(service: Obj, deployment: Obj) -> bool:
    wanted = service["spec"].get("selector") or {}
    labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
    same_namespace = service["metadata"]["namespace"] == deployment["metadata"]["namespace"]
    return bool(wanted) and same_namespace and wanted.items() <= labels.items()


def _addresses(lab: Lab, seen: Snapshot) -> Iterator[Link]:
    ours = seen.metallb.load_balancer_class if seen.metallb is not None else None
    for service in seen.services:
        name = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
        given = addresses_of(service)
        verdict = conditions(service).get("cilium.io/IPAMRequestSatisfied", {})
        # a request that was refused is settled: the scenario or its manifests mean it so
        settled = (
            bool(given)
            or verdict.get("status") == "False"
            or service["spec"].get("loadBalancerClass") not in (None, ours)
            or (seen.metallb is not None and _refused(lab, service))
        )
        yield Link("address", name, settled, ", ".join(given) or f"none yet {verdict.get('message', '')}".strip())


def _refused(lab: Lab, service: Mapping[str, Any]) -> bool:
    """Whether MetalLB's controller has said that it has no address for a Service."""
    metadata = service["metadata"]
    told = lab.cluster.events("Service", metadata["name"], namespace=metadata["namespace"])
    return any(event.get("reason") == "AllocationFailed" for event in told)


def _sessions(lab: Lab, wanted: Expected) -> Iterator[Link]:
    routers = lab.topology.router_addresses()
    tables = {name: router.bgp.peers() for name, router in lab.routers.items()}
    for session in sorted(wanted.sessions, key=lambda s: (s.peer, s.node)):
        router = next((name for address, name in routers.items() if str(address) == session.peer), None)
        subject = f"{session.node} with {router or session.peer}"
        if router is None:
            yield Link("session", subject, False, f"{session.peer} is no router of the lab")
            continue
        six = ":" in session.peer
        addresses = [a for a in lab.node(session.node).addresses if (":" in a) == six]
        peers = [tables[router][address] for address in addresses if address in tables[router]]
        if not peers:
            yield Link("session", subject, False, f"{router} has no neighbor {' or '.join(addresses)}")
            continue
        ok = any(peer.state == ESTABLISHED for peer in peers)
        yield Link("session", subject, ok, ", ".join(peer.state for peer in peers))


def _announced(lab: Lab, wanted: Expected) -> Iterator[tuple[str, str, set[str], str]]:
    """(router, prefix, addresses of the nodes that should be its next hops, peer address)."""
    routers = {str(address): name for address, name in lab.topology.router_addresses().items()}
    for (peer, prefix), nodes in sorted(wanted.announcers.items()):
        if peer in routers and (":" in peer) == (":" in prefix):
            six = ":" in prefix
            hops = {a for node in nodes for a in lab.node(node).addresses if (":" in a) == six}
            yield routers[peer], prefix, hops, peer


def _adj_rib_in(lab: Lab, wanted: Expected) -> Iterator[Link]:
    for router, prefix, hops, _ in _announced(lab, wanted):
        seen = lab.routers[router].bgp.next_hops(prefix)
        yield Link("adj-RIB-in", f"{router} for {prefix}", seen == hops, _difference(lab, seen, hops))
    announced = {(router, prefix) for router, prefix, _, _ in _announced(lab, wanted)}
    nodes = {address for node in lab.nodes.values() for address in node.addresses}
    for name, at in lab.routers.items():
        for family in ("ipv4", "ipv6"):
            for prefix, route in at.bgp.routes(family).items():
                from_nodes = {path.peer for path in route.paths if path.peer} & nodes
                if from_nodes and (name, prefix) not in announced:
                    text = f"{_names(lab, from_nodes)} announce it, and nobody should"
                    yield Link("adj-RIB-in", f"{name} for {prefix}", False, text)


def _kernel(lab: Lab, wanted: Expected) -> Iterator[Link]:
    for router, prefix, hops, _ in _announced(lab, wanted):
        seen = lab.routers[router].forwarded_next_hops(prefix)
        yield Link("kernel FIB", f"{router} for {prefix}", seen == hops, _difference(lab, seen, hops))


def _neighbours(lab: Lab, wanted: Expected) -> Iterator[Link]:
    tables: dict[tuple[str, bool], Any] = {}
    for router, prefix, _, _ in _announced(lab, wanted):
        key = router, ":" in prefix
        if key not in tables:
            tables[key] = lab.routers[router].neighbours(six=key[1])
        for hop in sorted(lab.routers[router].kernel_next_hops(prefix)):
            entry = tables[key].get(hop)
            state = entry.state if entry else "none yet"
            yield Link("neighbour", f"{router} for {hop}", state != "FAILED", state)


def _members(lab: Lab, seen: Snapshot) -> Iterator[Link]:
    """Whether MetalLB's speakers all know one another: what each works out depends on it."""
    running = seen.metallb.speakers if seen.metallb is not None else frozenset()
    for node in sorted(running):
        known = lab.l2.members(node)
        text = f"{len(known)} members"
        text += "".join(f", without {name}" for name in sorted(running - known))
        text += "".join(f", still {name}" for name in sorted(known - running))
        yield Link("memberlist", node, known == running, text)


def _leaders(owners: Mapping[str, Owner]) -> Iterator[Link]:
    """Who should answer for each address that is announced by ARP or NDP: not a fault of anybody if nobody may."""
    for address, owner in sorted(owners.items()):
        settled = owner.node is not None or not owner.candidates
        yield Link("leader", address, settled, f"{owner.node or 'nobody'}: {owner.announcer}, {owner.why}")


def _owned(lab: Lab, owners: Mapping[str, Owner]) -> Iterator[Link]:
    for address, owner in sorted(owners.items()):
        for router in lab.l2.routers(address):
            found = lab.l2.ask(address, router) if owner.node else lab.l2.owner(address, router)
            # nobody answers any more for an address that nobody should answer for; what a router has may be older
            ok = owner.node is None or found in owner.nodes
            text = f"at {found or 'no node'}"
            wanted = " or ".join(sorted(owner.nodes))
            yield Link("neighbour", f"{router} for {address}", ok, text if ok else f"{text}, expected {wanted}")


def _datapath(lab: Lab, seen: Snapshot, wanted: Expected, owners: Mapping[str, Owner]) -> Iterator[Link]:
    if not lab.clients:
        return
    announced = {prefix.partition("/")[0] for _, prefix in wanted.announcers}
    announced |= {address for address, owner in owners.items() if owner.node}
    for service in seen.services:
        name = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
        port = next((p["port"] for p in service["spec"]["ports"] if p.get("protocol", "TCP") == "TCP"), None)
        addresses = [address for address in addresses_of(service) if address in announced]
        if port is None or not addresses or not seen.backends.get(name):
            continue
        for address in addresses:
            client = _client_of(lab, wanted, address)
            host = f"[{address}]" if ":" in address else address
            # enough connections that every next hop is tried: one that has no rules yet would send them back
            hops = max(
                (len(nodes) for (_, p), nodes in wanted.announcers.items() if p.startswith(f"{address}/")), default=1
            )
            try:
                answers = [client.http(f"http://{host}:{port}/", within=0.5) for _ in range(min(_TRIES * hops, _MOST))]
            except (OSError, LabError) as error:
                yield Link("datapath", f"{client.name} to {name}", False, f"{address}:{port} {error}")
            else:
                slowest = max(answer.seconds for answer in answers) * 1e3
                by = ", ".join(sorted({answer.node or "?" for answer in answers}))
                yield Link("datapath", f"{client.name} to {name}", True, f"{by} in at most {slowest:.1f} ms")


def _client_of(lab: Lab, wanted: Expected, address: str) -> Client:
    """A client whose own router hears of an address; the first one where that is any of them."""
    routers = {str(own): name for own, name in lab.topology.router_addresses().items()}
    hearing = {routers.get(peer) for peer, prefix in wanted.announcers if prefix.startswith(f"{address}/")}
    for name, client in lab.clients.items():
        if hearing & {routers.get(str(gateway)) for gateway in lab.topology.gateway_of(name)}:
            return client
    return lab.client()


def _difference(lab: Lab, seen: set[str], hops: set[str]) -> str:
    parts = [f"next hops {_names(lab, seen) or 'none'}"]
    if hops - seen:
        parts.append(f"missing {_names(lab, hops - seen)}")
    if seen - hops:
        parts.append(f"not expected {_names(lab, seen - hops)}")
    return ", ".join(parts)


def _names(lab: Lab, addresses: set[str]) -> str:
    return ", ".join(sorted(lab.node_of(address) or address for address in addresses))
