"""Whether a topology can become a lab: what no single field tells, as overlapping subnets and links to nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import combinations
from typing import TYPE_CHECKING

from pydantic import BaseModel

from harness.addresses import NODE_PREFIX_LENGTH, IPAddress, overlap, shares
from harness.wording import suggest
from harness.yamlfile import Step

if TYPE_CHECKING:
    from harness.topology import Host, Router, Topology

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123, as Kubernetes wants names


@dataclass(frozen=True)
class Problem:
    """Something that cannot be.

    Attributes:
        path: Where in the file.
        message: One sentence.
        hint: What to do about it.
    """

    path: tuple[Step, ...]
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class _Placed:
    """An address that something claims in a network."""

    path: tuple[Step, ...]
    owner: str
    network: str
    address: IPAddress


def first_problem(topology: Topology) -> Problem | None:
    """What keeps a topology from becoming a lab, or None; each check relies on the ones before it finding nothing."""
    for check in (_names, _overlaps, _links, _addresses, _gateways, _cluster, _routers, _files):
        for problem in check(topology):
            return problem
    return None


def _names(topology: Topology) -> Iterator[Problem]:
    named: list[tuple[tuple[Step, ...], str]] = [(("name",), topology.name)]
    for room in ("networks", "routers", "nodes", "clients"):
        named += [((room, name), name) for name in getattr(topology, room)]
    for path, name in named:
        if not _DNS_LABEL.fullmatch(name):
            rule = "lower-case letters, digits and '-', at most 63 characters, a letter or digit first and last"
            yield Problem(path, f'"{name}" is not a DNS label', rule)
    rooms: dict[str, str] = {}
    for room in ("routers", "nodes", "clients"):
        for name in getattr(topology, room):
            if name in rooms:
                yield Problem((room, name), f'the name "{name}" is in use twice: in {rooms[name]} and in {room}')
            rooms[name] = room


def _overlaps(topology: Topology) -> Iterator[Problem]:
    subnets = [(name, subnet) for name, network in topology.networks.items() for subnet in network.subnet]
    for (one, first), (other, second) in combinations(subnets, 2):
        if overlap(first, second):
            yield Problem(("networks", other, "subnet"), f"network {other} ({second}) overlaps network {one} ({first})")


def _links(topology: Topology) -> Iterator[Problem]:
    used: list[tuple[tuple[Step, ...], str, str]] = []
    for name, router in topology.routers.items():
        used += [(("routers", name, "interfaces", net), f"router {name}", net) for net in router.interfaces]
    used.append((("controlPlane", "network"), "the control plane", topology.control_plane.network))
    used += [((room, name, "network"), f"{room[:-1]} {name}", host.network) for room, name, host in _hosts(topology)]
    for path, owner, network in used:
        if network not in topology.networks:
            message = f'{owner} is linked to "{network}", which is no network'
            yield Problem(path, message, suggest(network, topology.networks, "networks here"))
    for name, router in topology.routers.items():
        yield from _devices(name, router)


def _hosts(topology: Topology) -> Iterator[tuple[str, str, Host]]:
    for name, node in topology.nodes.items():
        yield "nodes", name, node
    for name, client in topology.clients.items():
        yield "clients", name, client


def _devices(name: str, router: Router) -> Iterator[Problem]:
    owners = {"lo": "the loopback interface"}
    for network, interface in router.interfaces.items():
        if interface.device in owners:
            message = f'router {name}: device "{interface.device}" is already {owners[interface.device]}'
            yield Problem(("routers", name, "interfaces", network, "device"), message)
        owners[interface.device] = f"its interface in {network}"


def _placed(topology: Topology) -> Iterator[_Placed]:
    for name, router in topology.routers.items():
        for network, interface in router.interfaces.items():
            for place, address in enumerate(interface.address):
                path = ("routers", name, "interfaces", network, "address", place)
                yield _Placed(path, f"router {name}", network, address)
    control_plane = topology.control_plane
    for place, address in enumerate(control_plane.address):
        yield _Placed(("controlPlane", "address", place), "the control plane", control_plane.network, address)
    for room, name, host in _hosts(topology):
        for place, address in enumerate(host.address):
            yield _Placed((room, name, "address", place), f"{room[:-1]} {name}", host.network, address)


def _addresses(topology: Topology) -> Iterator[Problem]:
    owners: dict[IPAddress, str] = {}
    for placed in _placed(topology):
        what = f"{placed.address} of {placed.owner}"
        subnets = topology.networks[placed.network].subnet
        inside = [subnet for subnet in subnets if placed.address in subnet]
        if not inside:
            yield Problem(placed.path, f"{what} is not in {placed.network} ({' and '.join(map(str, subnets))})")
        for subnet in inside:
            reserved = {
                subnet.network_address: "network"
            }  # in IPv6: the subnet-router anycast address (RFC 4291, 2.6.1)
            if subnet.version == 4:
                reserved[subnet.broadcast_address] = "broadcast"
            if subnet.prefixlen < subnet.max_prefixlen - 1 and placed.address in reserved:  # RFC 3021, RFC 6164
                yield Problem(placed.path, f"{what} is the {reserved[placed.address]} address of {subnet}")
        if placed.address in owners:
            yield Problem(placed.path, f"{what} is used twice: {owners[placed.address]} has it too")
        owners[placed.address] = placed.owner


def _gateways(topology: Topology) -> Iterator[Problem]:
    for room, name, host in _hosts(topology):
        there = [
            address
            for router in topology.routers_of(host.network)
            for address in topology.routers[router].interfaces[host.network].address
        ]
        for place, address in enumerate(host.gateway or ()):
            if address not in there:
                message = f"gateway {address} of {room[:-1]} {name} is no router's address in {host.network}"
                hint = "routers there: " + (", ".join(map(str, there)) or "none")
                yield Problem((room, name, "gateway", place), message, hint)


def _cluster(topology: Topology) -> Iterator[Problem]:
    ranges = {"podCIDRs": topology.cluster.pod_cidrs, "serviceCIDRs": topology.cluster.service_cidrs}
    taken = [(f"network {name}", subnet) for name, network in topology.networks.items() for subnet in network.subnet]
    for field, cidrs in ranges.items():
        versions: set[int] = set()
        for place, cidr in enumerate(cidrs):
            path = ("cluster", field, place)
            if cidr.version in versions:
                yield Problem(path, f"cluster.{field} has two IPv{cidr.version} ranges", "Kubernetes takes one of each")
            versions.add(cidr.version)
            for owner, other in taken:
                if overlap(cidr, other):
                    yield Problem(path, f"cluster.{field}: {cidr} overlaps {owner} ({other})")
        taken += [(f"cluster.{field}", cidr) for cidr in cidrs]
    for place, cidr in enumerate(topology.cluster.pod_cidrs):
        if shares(cidr) < len(topology.nodes):
            need = f"{len(topology.nodes)} nodes need one each"
            message = f"cluster.podCIDRs: {cidr} holds {shares(cidr)} /{NODE_PREFIX_LENGTH[cidr.version]}, {need}"
            yield Problem(("cluster", "podCIDRs", place), message)


def _routers(topology: Topology) -> Iterator[Problem]:
    for name, router in topology.routers.items():
        if router.os_frr is not None and router.frr_config is not None:
            message = f"router {name} has both osFrr and frrConfig"
            yield Problem(("routers", name, "frrConfig"), message, "keep one of them")
        if router.arp == "freebsd" and not _has_arp(topology, name):
            message = f"router {name} has FreeBSD's ARP, but no IPv4 address in a network with nodes"
            yield Problem(("routers", name, "arp"), message, "leave arp out")
        if router.os_frr is not None:
            yield from _neighbors(topology, name)
            yield from _form_interfaces(name, router)


def _has_arp(topology: Topology, name: str) -> bool:
    networks = [topology.routers[name].interfaces[network] for network in topology.arp_networks(name)]
    return any(address.version == 4 for interface in networks for address in interface.address)


def _neighbors(topology: Topology, name: str) -> Iterator[Problem]:
    """A neighbor that is nowhere would be tried for ever, and is mostly a typing error."""
    os_frr = topology.routers[name].os_frr
    assert os_frr is not None
    owners = {str(placed.address): placed.owner for placed in _placed(topology)}
    hint = "nodes: " + ", ".join(str(address) for node in topology.nodes.values() for address in node.address)
    rows = [("bgp", place, row.address) for place, row in enumerate(os_frr.bgp.neighbors)]
    rows += [("bfd", place, row.address) for place, row in enumerate(os_frr.bfd.neighbors)]
    for form, place, address in rows:
        owner = owners.get(str(ip_address(address)))
        if owner is None or owner == f"router {name}":
            whose = "no address in this topology" if owner is None else "its own address"
            path = ("routers", name, "osFrr", form, "neighbors", place, "address")
            yield Problem(path, f"router {name}: {form} neighbor {address} is {whose}", hint)


def _form_interfaces(name: str, router: Router) -> Iterator[Problem]:
    """The interfaces that a form speaks of, by network or by device, have to be the router's."""
    assert router.os_frr is not None
    known = {*router.interfaces, *(interface.device for interface in router.interfaces.values())}
    rows: list[tuple[tuple[Step, ...], BaseModel]] = []
    rows += [(("bgp", "neighbors", place), row) for place, row in enumerate(router.os_frr.bgp.neighbors)]
    rows += [(("bgp", "peergroups", place), row) for place, row in enumerate(router.os_frr.bgp.peergroups)]
    rows += [(("bfd", "neighbors", place), row) for place, row in enumerate(router.os_frr.bfd.neighbors)]
    rows += [(("static", "routes", place), row) for place, row in enumerate(router.os_frr.static.routes)]
    for path, row in rows:
        for field in ("updatesource", "linklocalinterface", "interfacename"):
            value = getattr(row, field, "")
            if value and value not in known:
                message = f'router {name}: {field} "{value}" is none of its interfaces'
                yield Problem(
                    ("routers", name, "osFrr", *path, field), message, suggest(value, sorted(known), "it has")
                )


def _files(topology: Topology) -> Iterator[Problem]:
    for name, router in topology.routers.items():
        if router.frr_config is not None and not router.frr_config.is_file():
            message = f"router {name}: there is no FRR configuration {router.frr_config}"
            yield Problem(("routers", name, "frrConfig"), message)
    for place, choice in enumerate(topology.manifests):
        for number, file in enumerate(choice.first_served):
            if not file.exists():
                yield Problem(("manifests", place, "firstServed", number), f"there is no manifest {file}")
