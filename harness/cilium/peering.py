"""A BGP peering in words that last, rendered to the objects of whichever API generation a Cilium version serves.

Cilium has described the same thing in three ways: CiliumBGPPeeringPolicy (up to 1.18), and CiliumBGPClusterConfig with
CiliumBGPPeerConfig and CiliumBGPAdvertisement in cilium.io/v2alpha1 (from 1.16) and cilium.io/v2 (from 1.18). A
scenario that says what it wants as a `Peering` runs on all of them; what differs is in facts/cilium.md 1.2 to 1.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Literal

from harness import manifests
from harness.cilium import api
from harness.cilium.semver import Version
from harness.errors import MissingCapability, UserError

Family = Literal["ipv4", "ipv6"]
AddressType = Literal["LoadBalancerIP", "ClusterIP", "ExternalIP"]
LabelSelector = Mapping[str, Any]
Object = dict[str, Any]

BOTH_FAMILIES: tuple[Family, ...] = ("ipv4", "ipv6")

#: Selects every service: the guide's way, a label that no service has (facts/seed.md); `{}` would do as well.
EVERY_SERVICE: LabelSelector = {
    "matchExpressions": [{"key": "io.cilium/bgp-announce", "operator": "NotIn", "values": ["fakevalue"]}]
}

#: The key in the Secret that holds a peer's TCP MD5 password (facts/cilium.md 2.4).
PASSWORD_KEY = "password"


class Generation(StrEnum):
    """An API generation, by what its users call it."""

    POLICY = "CiliumBGPPeeringPolicy"
    V2ALPHA1 = "cilium.io/v2alpha1"
    V2 = "cilium.io/v2"


#: The kind and apiVersion whose range in the table is the generation's.
_LEADING_KIND = {
    Generation.V2: ("cilium.io/v2", "CiliumBGPClusterConfig"),
    Generation.V2ALPHA1: ("cilium.io/v2alpha1", "CiliumBGPClusterConfig"),
    Generation.POLICY: ("cilium.io/v2alpha1", "CiliumBGPPeeringPolicy"),
}


@dataclass(frozen=True, kw_only=True)
class Communities:
    """BGP communities that routes carry: `65000:100`, `no-export`, `65000:1:2`."""

    standard: tuple[str, ...] = ()
    well_known: tuple[str, ...] = ()
    large: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A router, as a node sees it. Times are in seconds; None leaves Cilium's default.

    Attributes:
        address: The router's address, without a prefix length.
        asn: The router's AS number.
        name: A DNS label, unique in its instance.
        port: The router's TCP port; default 179.
        connect_retry_time: Between two attempts to connect; default 120.
        hold_time: Without a message for so long the session is down; at least 3, default 90.
        keepalive_time: Between two KEEPALIVEs, at most the hold time; default 30.
        restart_time: How long the router keeps routes of a restarting node (RFC 4724); None: no graceful restart.
        multihop_ttl: The TTL of packets to an eBGP peer; default 1.
        auth_secret: The name of the Secret with the session's TCP MD5 password (`md5_secret`).
        families: The address families that are negotiated and announced.
        communities: What announced routes carry.
        local_preference: LOCAL_PREF of announced routes; heard by iBGP peers only.
    """

    address: str
    asn: int
    name: str = "router"
    port: int | None = None
    connect_retry_time: int | None = None
    hold_time: int | None = None
    keepalive_time: int | None = None
    restart_time: int | None = None
    multihop_ttl: int | None = None
    auth_secret: str | None = None
    families: tuple[Family, ...] = BOTH_FAMILIES
    communities: Communities | None = None
    local_preference: int | None = None

    def __post_init__(self) -> None:
        # the ranges of the CRDs' schemas (facts/cilium.md 1.2)
        _in_range("peer ASN", self.asn, 0, 4294967295)
        _in_range("peer port", self.port, 1, 65535)
        _in_range("connect-retry time", self.connect_retry_time, 1, 2147483647)
        _in_range("hold time", self.hold_time, 3, 65535)
        _in_range("keepalive time", self.keepalive_time, 1, 65535)
        _in_range("restart time", self.restart_time, 1, 4095)
        _in_range("multihop TTL", self.multihop_ttl, 1, 255)
        _in_range("local preference", self.local_preference, 0, 4294967295)
        hold, keepalive = self.hold_time or 90, self.keepalive_time or 30
        if keepalive > hold:
            raise UserError(f"peer {self.name}: keepalive time {keepalive} s is longer than hold time {hold} s")
        if not self.families:
            raise UserError(f"peer {self.name}: without an address family nothing is announced")
        try:
            ip_address(self.address)
        except ValueError as error:
            raise UserError(f'peer {self.name}: "{self.address}" is not an IP address') from error


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One BGP speaker in each selected node.

    Attributes:
        local_asn: The node's AS number.
        peers: The routers.
        name: A DNS label, unique in the peering.
        services: Which Services are announced; None: none (an empty selector means every Service).
        addresses: Which of their addresses.
        pod_cidr: Whether the node's pod CIDR is announced too.
        local_port: Where the node listens; None: it does not.
    """

    local_asn: int
    peers: tuple[Peer, ...]
    name: str = "main"
    services: LabelSelector | None = None
    addresses: tuple[AddressType, ...] = ("LoadBalancerIP",)
    pod_cidr: bool = False
    local_port: int | None = None

    def __post_init__(self) -> None:
        _in_range("local ASN", self.local_asn, 1, 4294967295)
        _in_range("local port", self.local_port, 1, 65535)
        names = [peer.name for peer in self.peers]
        if not names or len(set(names)) < len(names):
            raise UserError(f"instance {self.name} needs peers with different names, it has {names}")


@dataclass(frozen=True, kw_only=True)
class Peering:
    """What the nodes of a cluster announce, to whom.

    Attributes:
        instances: The BGP speakers of each node; mostly one.
        name: The name of the objects.
        nodes: Which nodes speak BGP; None: every node.
    """

    instances: tuple[Instance, ...]
    name: str = "lblab"
    nodes: LabelSelector | None = None

    def __post_init__(self) -> None:
        names = [instance.name for instance in self.instances]
        if not names or len(set(names)) < len(names):
            raise UserError(f"peering {self.name} needs instances with different names, it has {names}")


def generations(version: Version) -> tuple[Generation, ...]:
    """The API generations that a Cilium version serves, the newest first."""
    return tuple(one for one, key in _LEADING_KIND.items() if version in api.table()[key].span)


def render(
    peering: Peering, version: Version, generation: Generation | None = None, *, nodes: Sequence[str] = ()
) -> list[Object]:
    """The Kubernetes objects of a peering.

    Args:
        peering: What is wanted.
        version: The Cilium version that will read them.
        generation: The API generation; without it the newest that the version serves.
        nodes: The nodes' names; wanted only for a local port in Cilium 1.16 and 1.17, which is set per node there.

    Raises:
        MissingCapability: the version does not serve the generation, or cannot do something that is wanted.
        UserError: a local port without the nodes' names.
    """
    served = generations(version)
    if generation is None:
        if not served:
            raise MissingCapability(f"Cilium {version} has no BGP API that lblab knows")
        generation = served[0]
    if generation is Generation.POLICY:
        objects = _policy(peering, version)
    else:
        objects = _trio(peering, generation, version, nodes)
    try:
        api.check(manifests.load_objects(objects), version)
    except UserError as error:
        raise MissingCapability(error.message, hint=error.hint) from error
    return objects


def md5_secret(name: str, password: str, namespace: str = "kube-system") -> Object:
    """The Secret of `Peer.auth_secret`; Cilium looks for it in `bgpControlPlane.secretsNamespace` (kube-system)."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {PASSWORD_KEY: password},
    }


def _policy(peering: Peering, version: Version) -> list[Object]:
    """CiliumBGPPeeringPolicy: everything in one object."""
    routers = []
    for instance in peering.instances:
        if instance.local_port is not None:
            annotation = f"cilium.io/bgp-virtual-router.{instance.local_asn}: local-port={instance.local_port}"
            message = "a CiliumBGPPeeringPolicy has no local port"
            raise MissingCapability(message, hint=f"annotate the nodes with {annotation}")
        router: Object = {
            "localASN": instance.local_asn,
            "exportPodCIDR": instance.pod_cidr,
            "neighbors": [_neighbor(peer, version) for peer in instance.peers],
        }
        if instance.services is not None:
            router["serviceSelector"] = dict(instance.services)
        if instance.addresses != ("LoadBalancerIP",):
            router["serviceAdvertisements"] = list(instance.addresses)
        routers.append(router)
    return [
        _object(Generation.V2ALPHA1, "CiliumBGPPeeringPolicy", peering.name, _spec(peering, virtualRouters=routers))
    ]


def _neighbor(peer: Peer, version: Version) -> Object:
    neighbor: Object = {
        "peerAddress": f"{peer.address}/{ip_address(peer.address).max_prefixlen}",  # a CIDR, in this generation only
        "peerASN": peer.asn,
        **_given(
            peerPort=peer.port,
            eBGPMultihopTTL=peer.multihop_ttl,
            authSecretRef=peer.auth_secret,
            **_timers(peer),
        ),
    }
    if peer.restart_time is not None:
        neighbor["gracefulRestart"] = _graceful_restart(peer.restart_time)
    if peer.families != BOTH_FAMILIES:  # the default, and all there is before 1.15
        neighbor["families"] = [{"afi": family, "safi": "unicast"} for family in peer.families]
    attributes = _attributes(peer)
    if attributes:
        neighbor["advertisedPathAttributes"] = [{"selectorType": "CiliumLoadBalancerIPPool", **attributes}]
    return neighbor


def _trio(peering: Peering, generation: Generation, version: Version, nodes: Sequence[str]) -> list[Object]:
    """CiliumBGPClusterConfig, and for each peer a CiliumBGPPeerConfig and its CiliumBGPAdvertisement."""
    instances: list[Object] = []
    others: list[Object] = []
    ports: dict[str, int] = {}
    port_is_served = (
        version in api.table()[generation, "CiliumBGPClusterConfig"].fields["spec.bgpInstances[].localPort"]
    )
    for instance in peering.instances:
        entry: Object = {"name": instance.name, "localASN": instance.local_asn, "peers": []}
        if instance.local_port is not None:
            if port_is_served:
                entry["localPort"] = instance.local_port
            else:
                ports[instance.name] = instance.local_port
        for peer in instance.peers:
            name = f"{peering.name}-{instance.name}-{peer.name}"
            entry["peers"].append(
                {"name": peer.name, "peerAddress": peer.address, "peerASN": peer.asn, "peerConfigRef": {"name": name}}
            )
            labels = {"advertise": name}
            others.append(_object(generation, "CiliumBGPPeerConfig", name, _peer_config(peer, labels)))
            advertisements = _advertisements(instance, peer)
            if advertisements:
                spec = {"advertisements": advertisements}
                others.append(_object(generation, "CiliumBGPAdvertisement", name, spec, labels))
        instances.append(entry)
    if ports and not nodes:
        raise UserError(f"a local port in Cilium {version} needs the nodes' names", hint="give render(..., nodes=)")
    overrides = [{"name": name, "localPort": port} for name, port in ports.items()]
    for node in nodes if overrides else ():
        others.append(_object(generation, "CiliumBGPNodeConfigOverride", node, {"bgpInstances": overrides}))
    config = _object(generation, "CiliumBGPClusterConfig", peering.name, _spec(peering, bgpInstances=instances))
    return [*others, config]  # sessions come up with the config: what it refers to is there before it


def _peer_config(peer: Peer, labels: Mapping[str, str]) -> Object:
    spec = _given(ebgpMultihop=peer.multihop_ttl, authSecretRef=peer.auth_secret)
    if peer.port is not None:
        spec["transport"] = {"peerPort": peer.port}
    if timers := _timers(peer):
        spec["timers"] = timers
    if peer.restart_time is not None:
        spec["gracefulRestart"] = _graceful_restart(peer.restart_time)
    # a family without a selector of advertisements is negotiated and announces nothing
    selector = {"matchLabels": dict(labels)}
    spec["families"] = [{"afi": family, "safi": "unicast", "advertisements": selector} for family in peer.families]
    return spec


def _advertisements(instance: Instance, peer: Peer) -> list[Object]:
    attributes = _attributes(peer)
    common: Object = {"attributes": attributes} if attributes else {}
    advertisements: list[Object] = []
    if instance.services is not None:
        service = {"addresses": list(instance.addresses)}
        selector = dict(instance.services)
        advertisements.append({"advertisementType": "Service", "service": service, "selector": selector, **common})
    if instance.pod_cidr:
        advertisements.append({"advertisementType": "PodCIDR", **common})
    return advertisements


def _timers(peer: Peer) -> Object:
    return _given(
        connectRetryTimeSeconds=peer.connect_retry_time,
        holdTimeSeconds=peer.hold_time,
        keepAliveTimeSeconds=peer.keepalive_time,
    )


def _graceful_restart(restart_time: int) -> Object:
    return {"enabled": True, "restartTimeSeconds": restart_time}


def _attributes(peer: Peer) -> Object:
    attributes = _given(localPreference=peer.local_preference)
    if peer.communities is not None:
        given = peer.communities
        lists = {"standard": given.standard, "wellKnown": given.well_known, "large": given.large}
        attributes["communities"] = {name: list(values) for name, values in lists.items() if values}
    return attributes


def _spec(peering: Peering, **parts: Any) -> Object:
    return {**({} if peering.nodes is None else {"nodeSelector": dict(peering.nodes)}), **parts}


def _object(
    generation: Generation, kind: str, name: str, spec: Object, labels: Mapping[str, str] | None = None
) -> Object:
    metadata: Object = {"name": name}
    if labels:
        metadata["labels"] = dict(labels)
    return {"apiVersion": str(generation), "kind": kind, "metadata": metadata, "spec": spec}


def _given(**fields: Any) -> Object:
    return {name: value for name, value in fields.items() if value is not None}


def _in_range(what: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise UserError(f"{what} {value} is not between {low} and {high}")
