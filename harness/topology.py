"""A topology: the networks, routers, nodes and clients of a lab as a file in `topologies/` describes them.

`load` reads and checks such a file; everything else asks the `Topology` it returns. Keys in the file are camelCase as
in Kubernetes, attributes here are snake_case; the JSON Schema for editors is made of these classes (`harness.schema`).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError

from harness import topology_check, topology_errors, yamlfile
from harness.addresses import IPAddress, IPInterface, IPNetwork, share
from harness.errors import UserError
from harness.routing.opnsense import OsFrr

#: The name of a node's or a client's only interface.
HOST_DEVICE = "eth0"


def _one_or_many(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _address(value: object) -> object:
    if isinstance(value, IPAddress):
        return value
    try:
        return ipaddress.ip_address(str(value))
    except ValueError as error:
        raise PydanticCustomError("lblab", '"{value}" is not an IP address', {"value": str(value)}) from error


def _subnet(value: object) -> object:
    if isinstance(value, IPNetwork):
        return value
    text = str(value)
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        context: dict[str, Any] = {"value": text, "hint": "as in 192.168.130.0/24"}
        with contextlib.suppress(ValueError):  # an address with a length: its network was meant
            context["hint"] = f"did you mean {ipaddress.ip_network(text, strict=False)}?"
        raise PydanticCustomError("lblab", '"{value}" is not a subnet', context) from error


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    """Paths in a topology are relative to its file."""
    folder: Path = (info.context or {}).get("folder", Path())
    return folder / path


def _string_or_list(example: str, described: str) -> WithJsonSchema:
    text = {"type": "string", "examples": [example]}
    return WithJsonSchema({"anyOf": [text, {"type": "array", "items": text, "minItems": 1}], "description": described})


_Address = Annotated[IPAddress, BeforeValidator(_address)]
_Subnet = Annotated[IPNetwork, BeforeValidator(_subnet)]
Addresses = Annotated[
    tuple[_Address, ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
    _string_or_list(
        "192.168.130.151", "An address, or a list of them (dual stack); the subnet gives the prefix length."
    ),
]
Subnets = Annotated[
    tuple[_Subnet, ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
    _string_or_list("192.168.130.0/24", "A subnet, or a list of them (dual stack)."),
]
LocalPath = Annotated[Path, AfterValidator(_beside_the_file)]


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def _seconds(value: object) -> object:
    """Read a duration as Helm's values have it (Go's time.ParseDuration), or a number of seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)", value) if isinstance(value, str) else None
    if found is None:
        return value
    return float(found[1]) * _UNITS[found[2]]


Seconds = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m)$", "examples": ["15s"]}, {"type": "number"}],
            "description": "A duration such as 15s or 500ms; a plain number is seconds.",
        }
    ),
]


class Model(BaseModel):
    """What all parts of a topology share: immutable, camelCase in the file, no unknown field."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, use_attribute_docstrings=True)


class Network(Model):
    """One Ethernet segment, in the lab a bridge of its own."""

    subnet: Subnets
    """The segment's subnet, or one for each IP version."""


class Interface(Model):
    """A router's interface in one network."""

    address: Addresses
    """The router's address there; the prefix length is the network's."""
    device: Annotated[str, Field(pattern=r"^[^\s/:]{1,15}$")]
    """The interface's name on the router, as `vlan0130` or `igb1`; at most 15 characters (Linux's IFNAMSIZ)."""


class Router(Model):
    """A router: FRR with the settings of OPNsense's os-frr forms, or with a raw configuration."""

    interfaces: Annotated[dict[str, Interface], Field(min_length=1)]
    """Its interfaces, by the network they are in."""
    os_frr: OsFrr | None = None
    """os-frr's forms (general, bgp, bfd, static), with the field names that config.xml has."""
    frr_config: LocalPath | None = None
    """An FRR configuration that is used unchanged, as UniFi gateways take it; relative to this file."""
    arp: Literal["linux", "freebsd"] = "linux"
    """Whose ARP it has. freebsd: in its networks with nodes, lblab's ARP daemon keeps the entries of all addresses that
    no host of this file has (those of LoadBalancer services) as OPNsense's kernel would; the rest is Linux's."""


class ControlPlane(Model):
    """Where the Kubernetes API server listens."""

    network: str
    """The network it is in."""
    address: Addresses
    """Its address there."""


class Host(Model):
    """A machine with one interface."""

    network: str
    """The network it is in."""
    address: Addresses
    """Its address there."""
    gateway: Addresses | None = None
    """The router's address for its default route; without it the first router of the network."""


class Node(Host):
    """A Kubernetes node."""

    labels: dict[str, str] = {}
    """Labels of its Node object, as the `nodeSelector` of a peering wants them."""


class Client(Host):
    """A machine outside the cluster that uses its services."""


class Cluster(Model):
    """Kubernetes' own settings: address ranges, and how soon a silent node is noticed."""

    pod_cidrs: Annotated[Subnets, Field(alias="podCIDRs")] = (ipaddress.IPv4Network("10.244.0.0/16"),)
    """Pods; each node gets a /24 (IPv6: a /64) of it, in this file's order of nodes."""
    service_cidrs: Annotated[Subnets, Field(alias="serviceCIDRs")] = (ipaddress.IPv4Network("10.96.0.0/16"),)
    """ClusterIPs of services."""
    node_lease_seconds: Annotated[int, Field(ge=4, le=40)] = 40
    """How long a node's Lease is good for; it is renewed four times as often (kubelet: nodeLeaseDurationSeconds)."""
    node_monitor_grace_seconds: Annotated[int, Field(ge=5, le=300)] = 50
    """After how long without a renewed Lease a node is not ready (kube-controller-manager's default is 50 s)."""


class Metallb(Model):
    """MetalLB: where its speakers run, and which Services are its own."""

    speaker_node_selector: dict[str, str] = {}
    """Labels of the nodes that run a speaker (Helm: speaker.nodeSelector); without it every node does."""
    load_balancer_class: str | None = None
    """Handle only Services of this loadBalancerClass (Helm: loadBalancerClass); without it those that have none."""


class L2Announcements(Model):
    """Cilium's L2 announcements: Helm's values `l2announcements.*`."""

    enabled: bool | None = None
    """Whether the agents announce by ARP; left out, they do when the manifests hold a CiliumL2AnnouncementPolicy."""
    lease_duration: Seconds = 15.0
    """After how long without a renewal another node may take a service's lease."""
    lease_renew_deadline: Seconds = 5.0
    """For how long the holder tries to renew before it gives the lease up."""
    lease_retry_period: Seconds = 2.0
    """How long it waits between two attempts."""

    @model_validator(mode="after")
    def _as_the_elector_wants_them(self) -> L2Announcements:
        # client-go, tools/leaderelection: NewLeaderElector; Cilium would change them silently (pkg/l2announcer)
        if not self.lease_duration > self.lease_renew_deadline > 1.2 * self.lease_retry_period:
            context = {"hint": "Cilium's defaults are 15s, 5s and 2s"}
            message = "leaseDuration is more than leaseRenewDeadline, and that more than 1.2 times leaseRetryPeriod"
            raise PydanticCustomError("lblab", message, context)
        return self


class ClientRateLimit(Model):
    """How fast an agent may ask the API server: Helm's values `k8sClientRateLimit.*`."""

    qps: Annotated[float, Field(gt=0)]
    """Requests a second; each L2-announced service takes one for each renewal of its lease."""
    burst: Annotated[int, Field(gt=0)]
    """Requests at once."""


class Cilium(Model):
    """Settings of Cilium that are no manifests: Helm's values of the same names."""

    l2announcements: Annotated[L2Announcements, Field(alias="l2announcements")] = L2Announcements()
    """Announcements by ARP."""
    k8s_client_rate_limit: Annotated[ClientRateLimit | None, Field(alias="k8sClientRateLimit")] = None
    """The agents' own limit; left out, that of the Cilium version."""


class ManifestChoice(Model):
    """Kubernetes manifests to apply: one path, or the first of several that the Cilium version serves."""

    first_served: Annotated[tuple[LocalPath, ...], Field(min_length=1)]
    """Files or folders; the first one whose kinds and fields the Cilium version serves is applied."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """In the file a plain path stands for a choice of one."""
        path = {"type": "string", "description": "A file or a folder, relative to this file."}
        return {"anyOf": [path, handler.resolve_ref_schema(handler(core))]}


def _choice(value: object) -> object:
    return {"firstServed": [value]} if isinstance(value, str) else value


@dataclass(frozen=True)
class Link:
    """One interface of a host.

    Attributes:
        network: The network it is in.
        device: The interface's name on the host.
        addresses: Its addresses with the network's prefix lengths.
    """

    network: str
    device: str
    addresses: tuple[IPInterface, ...]


class Topology(Model):
    """The networks, routers, nodes and clients of a lab, and the manifests applied when it comes up."""

    name: str
    """The lab's name, a DNS label."""
    description: str = ""
    """What the topology is for."""
    networks: Annotated[dict[str, Network], Field(min_length=1)]
    """Ethernet segments, by name."""
    routers: dict[str, Router] = {}
    """Routers, by name."""
    control_plane: ControlPlane
    """Where the API server listens."""
    nodes: dict[str, Node] = {}
    """Kubernetes nodes, by name."""
    clients: dict[str, Client] = {}
    """Machines outside the cluster, by name."""
    cluster: Cluster = Cluster()
    """The cluster's own address ranges."""
    metallb: Metallb | None = None
    """MetalLB's settings; where they are given it runs, whatever the manifests are."""
    cilium: Cilium = Cilium()
    """Cilium's own settings."""
    manifests: tuple[Annotated[ManifestChoice, BeforeValidator(_choice)], ...] = ()
    """Kubernetes manifests, applied in this order."""
    time_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the timers of FreeBSD's ARP and of lblab's own announcer, and on nothing else: with 0.02 an ARP entry
    lives 24 s instead of 1200."""

    def with_prefix(self, network: str, address: IPAddress) -> IPInterface:
        """An address with the prefix length of its network.

        Raises:
            KeyError: the network does not hold the address (a checked topology has no such address).
        """
        for subnet in self.networks[network].subnet:
            if address in subnet:
                return ipaddress.ip_interface(f"{address}/{subnet.prefixlen}")
        raise KeyError(f"{address} is not in network {network}")

    def host(self, name: str) -> Node | Client:
        """The node or client of that name.

        Raises:
            KeyError: there is none.
        """
        return self.nodes[name] if name in self.nodes else self.clients[name]

    def links(self, host: str) -> tuple[Link, ...]:
        """The interfaces of a router, a node or a client, in the file's order."""
        if host in self.routers:
            interfaces = self.routers[host].interfaces.items()
            return tuple(self._link(network, one.device, one.address) for network, one in interfaces)
        single = self.host(host)
        return (self._link(single.network, HOST_DEVICE, single.address),)

    def _link(self, network: str, device: str, addresses: Iterable[IPAddress]) -> Link:
        return Link(network, device, tuple(self.with_prefix(network, address) for address in addresses))

    def arp_networks(self, router: str) -> tuple[str, ...]:
        """The networks in which a router's ARP entries of LoadBalancer addresses matter: those with nodes."""
        with_nodes = {node.network for node in self.nodes.values()}
        return tuple(network for network in self.routers[router].interfaces if network in with_nodes)

    def addresses_in(self, network: str) -> tuple[IPAddress, ...]:
        """Every address that a host of this file has in a network."""
        found = [address for router in self.routers.values() for address in _in(router, network)]
        if self.control_plane.network == network:
            found += self.control_plane.address
        for host in (*self.nodes.values(), *self.clients.values()):
            found += host.address if host.network == network else ()
        return tuple(found)

    def network_of(self, host: str) -> str:
        """The network that a node or a client is in."""
        return self.host(host).network

    def routers_of(self, network: str) -> tuple[str, ...]:
        """The routers with an interface in a network, in the file's order."""
        return tuple(name for name, router in self.routers.items() if network in router.interfaces)

    def gateway_of(self, host: str) -> tuple[IPAddress, ...]:
        """The next hops of a node's or a client's default routes: at most one for each IP version.

        Without a `gateway` of its own it is the first router of the network that has an address of that IP version.
        """
        single = self.host(host)
        if single.gateway is not None:
            return single.gateway
        found: dict[int, IPAddress] = {}
        for router in self.routers_of(single.network):
            for address in self.routers[router].interfaces[single.network].address:
                found.setdefault(address.version, address)
        return tuple(found.values())

    def router_addresses(self) -> dict[IPAddress, str]:
        """Every address of a router, with the router's name."""
        return {
            address: name
            for name, router in self.routers.items()
            for interface in router.interfaces.values()
            for address in interface.address
        }

    def speakers(self) -> tuple[str, ...]:
        """The nodes that run MetalLB's speaker, where MetalLB runs."""
        wanted = (self.metallb or Metallb()).speaker_node_selector.items()
        return tuple(name for name, node in self.nodes.items() if wanted <= node.labels.items())

    def pod_cidrs(self, node: str) -> tuple[IPNetwork, ...]:
        """A node's share of each pod CIDR: a /24 of an IPv4 one, a /64 of an IPv6 one, in the file's order of nodes."""
        place = list(self.nodes).index(node)
        return tuple(share(cidr, place) for cidr in self.cluster.pod_cidrs)


def _in(router: Router, network: str) -> tuple[IPAddress, ...]:
    return router.interfaces[network].address if network in router.interfaces else ()


def load(path: Path | str) -> Topology:
    """Read a topology file and check that it can become a lab.

    Args:
        path: The file. Paths in it (`frrConfig`, `manifests`) are relative to its folder and come back joined to it.

    Raises:
        UserError: the file cannot be read, is not YAML, has an unknown or a wrong field, or describes what cannot be
            (see `harness.topology_check`); with file and line.
    """
    documents = yamlfile.load_file(path)
    if len(documents) != 1:
        raise UserError(f"a topology is one YAML document, this file has {len(documents)}", file=path)
    root = documents[0]
    try:
        topology = Topology.model_validate(root.value, context={"folder": Path(path).parent})
    except ValidationError as error:
        raise topology_errors.explain(error, root, path, Topology) from error
    if problem := topology_check.first_problem(topology):
        raise UserError(problem.message, file=path, line=root.line_of(*problem.path), hint=problem.hint)
    return topology
