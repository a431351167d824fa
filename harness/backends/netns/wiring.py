"""From a topology to its wiring: which interface has which address and MAC, which routes there are. Pure.

The same for both backends: what differs is whose network namespaces they are.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

from harness.backends.netns.spec import Interface, Route
from harness.topology import HOST_DEVICE, Link, Topology

#: The host of etcd, the API server, the controllers and Cilium's operator.
CONTROL_PLANE = "control-plane"
#: Where the API server listens there.
API_PORT = 6443

#: Sysctls of a host that forwards, as nodes do.
ROUTED = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    # replies may leave by another port than requests came in by
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
}
#: A router hashes addresses and ports over equal next hops, as FreeBSD's ROUTE_MPATH does with a flow's hash.
ROUTER = {**ROUTED, "net.ipv4.fib_multipath_hash_policy": "1", "net.ipv6.fib_multipath_hash_policy": "1"}


def sysctls(topology: Topology) -> dict[str, dict[str, str]]:
    """The sysctls of every host, by its name."""
    return {
        **dict.fromkeys(topology.routers, ROUTER),
        CONTROL_PLANE: ROUTED,
        **dict.fromkeys(topology.nodes, ROUTED),
        **dict.fromkeys(topology.clients, ROUTED),
    }


def host_names(topology: Topology) -> tuple[str, ...]:
    """Every host of a lab, the control plane last."""
    return (*topology.routers, *topology.nodes, *topology.clients, CONTROL_PLANE)


def mac_of(topology: Topology, host: str, device: str) -> str:
    """The MAC of a host's interface: locally administered, and the same at every start, so that captures compare."""
    digest = hashlib.sha256(f"{topology.name}/{host}/{device}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def hosts_by_mac(topology: Topology) -> dict[str, str]:
    """Routers, nodes and clients by the MACs of their interfaces."""
    hosts = (*topology.routers, *topology.nodes, *topology.clients)
    return {mac_of(topology, host, link.device): host for host in hosts for link in topology.links(host)}


def interfaces(topology: Topology) -> Iterator[Interface]:
    """Every interface of every host."""
    numbers = itertools.count()

    def port(namespace: str, link: Link) -> Interface:
        mac = mac_of(topology, namespace, link.device)
        addresses = tuple(map(str, link.addresses))
        return Interface(namespace, link.device, link.network, addresses, mac, f"{namespace[:10]}.{next(numbers)}")

    for name in (*topology.routers, *topology.nodes, *topology.clients):
        for link in topology.links(name):
            yield port(name, link)
    own = topology.control_plane
    yield port(
        CONTROL_PLANE,
        Link(own.network, HOST_DEVICE, tuple(topology.with_prefix(own.network, one) for one in own.address)),
    )


def default_routes(topology: Topology) -> Iterator[Route]:
    """The default routes of nodes and clients."""
    for name in (*topology.nodes, *topology.clients):
        for gateway in topology.gateway_of(name):
            yield Route(name, "::/0" if gateway.version == 6 else "0.0.0.0/0", str(gateway))


def pod_routes(topology: Topology) -> Iterator[Route]:
    """Routes by which pods reach one another over the nodes' own network, as with Cilium's autoDirectNodeRoutes."""
    for name in (CONTROL_PLANE, *topology.nodes):
        for other, node in topology.nodes.items():
            for cidr in topology.pod_cidrs(other):
                for address in node.address:
                    if other != name and cidr.version == address.version:
                        yield Route(name, str(cidr), str(address))
