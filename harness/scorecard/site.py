"""The site of a scorecard: a user's nodes, announced to by every announcer at once, each with addresses of its own.

Out of any topology with two nodes behind a router: a router with graceful restart and one without, one that MetalLB
peers with, a client behind each, and one service for each announcer. The first node is the one that things happen to;
the backends are on the last one, so that what is measured is the announcement and nothing else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness.cilium import api
from harness.cilium.peering import Instance, Peer, Peering, render
from harness.cilium.semver import Version
from harness.cilium.timers import QUICK
from harness.errors import UserError
from harness.metallb.election import leader
from harness.scorecard.model import CILIUM_BGP, CILIUM_BGP_GR, CILIUM_L2, METALLB_BGP, METALLB_L2, Column
from harness.topology import Topology

Obj = dict[str, Any]

#: The guide's timers (facts/seed.md); `--timers quick` cuts them down.
_HOLD, _KEEPALIVE, _CONNECT_RETRY, _RESTART = 90, 30, 120, 120
_ROUTER_ASN = 64512
#: Of the nodes: at the router with graceful restart, at the one without, and of MetalLB's speakers.
_GR_ASN, _PLAIN_ASN, _METALLB_ASN = 64513, 64514, 64515
GRACEFUL, PLAIN, METALLB = "graceful", "plain", "metallb"
#: Addresses that are announced by BGP; any that the topology does not use itself.
_OFF_LINK = ("192.168.142.0/24", "192.168.143.0/24", "198.18.142.0/24", "198.18.143.0/24")
_LABEL, _APP = "lblab-scorecard", "scorecard"
UDP_PORT = 7777
#: How many backends there are.
BACKENDS = 2
_METALLB_NAMESPACE = "metallb-system"
_METALLB_CLASS = "metallb.io/metallb"


@dataclass(frozen=True)
class Site:
    """What was made of a topology.

    Attributes:
        topology: The topology file; its manifests lie beside it.
        victim: The node that things happen to.
        backends: The node that has the backends.
        services: The name of each column's service.
        clients: The client that measures a column.
    """

    topology: Path
    victim: str
    backends: str
    services: dict[Column, str]
    clients: dict[Column, str]


def write(
    base: Topology, version: Version, folder: Path, columns: Sequence[Column], *, router_arp: str, quick: bool
) -> Site:
    """Write the site down.

    Args:
        base: The user's topology.
        version: The Cilium version that will read the manifests.
        folder: Where to; it exists.
        columns: What is to be announced.
        router_arp: How routers keep ARP entries: "linux" or "freebsd".
        quick: Whether timers are to be short; those of Cilium are cut down when the lab is opened.

    Raises:
        UserError: when the topology has no two nodes on one IPv4 network, or no client behind a router.
    """
    site = _Builder(base, version, columns, router_arp, quick)
    _dump(folder / "topology.yaml", site.topology())
    _dump(folder / "manifests.yaml", *site.manifests())
    names = list(base.nodes)
    return Site(
        topology=folder / "topology.yaml",
        victim=names[0],
        backends=names[-1],
        services={column: column.key for column in columns},
        clients={column: f"client-{site.router_of(column)}" for column in columns},
    )


class _Builder:
    def __init__(
        self, base: Topology, version: Version, columns: Sequence[Column], router_arp: str, quick: bool
    ) -> None:
        self._base, self._version, self._columns, self._arp = base, version, columns, router_arp
        self._quick = quick
        networks = {node.network for node in base.nodes.values()}
        if len(base.nodes) < 2 or len(networks) != 1:
            raise UserError(f"a scorecard needs two or more nodes on one network; {base.name} has {len(base.nodes)}")
        (self._servers,) = networks
        behind = [client.network for client in base.clients.values() if client.network != self._servers]
        if not behind:
            raise UserError(f"a scorecard needs a client behind a router; {base.name} has none")
        self._lan = behind[0]
        self._free = {name: self._unused(name) for name in (self._servers, self._lan)}
        wanted = [GRACEFUL, PLAIN] + ([METALLB] if METALLB_BGP in columns else [])
        self._routers = {name: (next(self._free[self._servers]), next(self._free[self._lan])) for name in wanted}
        self._clients = {name: next(self._free[self._lan]) for name in wanted}
        used = [subnet for network in base.networks.values() for subnet in network.subnet]
        off = [ipaddress.ip_network(text) for text in _OFF_LINK]
        self._bgp_pool, self._metallb_pool = [net for net in off if not any(net.overlaps(one) for one in used)][:2]
        # the upper end of the servers' network, away from the hosts
        free = list(self._free[self._servers])
        self._l2 = {METALLB_L2: free[-16:], CILIUM_L2: free[-32:-16]}

    def _subnet(self, network: str) -> ipaddress.IPv4Network:
        for subnet in self._base.networks[network].subnet:
            if isinstance(subnet, ipaddress.IPv4Network):
                return subnet
        raise UserError(f"a scorecard is made with IPv4; the network {network} of {self._base.name} has none")

    def _unused(self, network: str) -> Iterator[ipaddress.IPv4Address]:
        names = (*self._base.nodes, *self._base.clients)
        taken = {own.ip for name in names for link in self._base.links(name) for own in link.addresses}
        taken |= set(self._base.control_plane.address)
        return (address for address in self._subnet(network).hosts() if address not in taken)

    def router_of(self, column: Column) -> str:
        """The router behind which a column is measured."""
        return {CILIUM_BGP: PLAIN, METALLB_BGP: METALLB}.get(column, GRACEFUL)

    # -- topology -----------------------------------------------------------------------------------------------------

    def topology(self) -> Obj:
        base = self._base
        devices = {self._servers: "vlan0130", self._lan: "igb1"}
        asns = {GRACEFUL: _GR_ASN, PLAIN: _PLAIN_ASN, METALLB: _METALLB_ASN}
        routers: Obj = {}
        for name, addresses in self._routers.items():
            neighbors = [
                {
                    "address": str(node.address[0]),
                    "remoteas": asns[name],
                    "updatesource": self._servers,
                    "nexthopself": True,
                }
                for node in base.nodes.values()
            ]
            bgp = {
                "enabled": True,
                "asnumber": _ROUTER_ASN,
                "redistributions": [{"redistribute": "connected"}],
                "neighbors": neighbors,
            }
            routers[name] = {
                "interfaces": {
                    network: {"address": str(address), "device": devices[network]}
                    for network, address in zip((self._servers, self._lan), addresses, strict=True)
                },
                "osFrr": {"bgp": bgp},
                **({"arp": self._arp} if self._arp != "linux" else {}),
            }
        gateway = str(self._routers[GRACEFUL][0])
        wanted: Obj = {
            "name": "scorecard",
            "description": f"made by `lblab scorecard` of the topology {base.name}",
            "networks": {name: {"subnet": str(self._subnet(name))} for name in (self._servers, self._lan)},
            "routers": routers,
            "controlPlane": {"network": self._servers, "address": str(base.control_plane.address[0])},
            "nodes": {
                name: {
                    "network": self._servers,
                    "address": str(node.address[0]),
                    "gateway": gateway,
                    "labels": {**node.labels, _LABEL: "announces"},
                }
                for name, node in base.nodes.items()
            },
            "clients": {
                f"client-{name}": {
                    "network": self._lan,
                    "address": str(address),
                    "gateway": str(self._routers[name][1]),
                }
                for name, address in self._clients.items()
            },
            "cluster": {"nodeLeaseSeconds": 8, "nodeMonitorGraceSeconds": 10},
            "manifests": ["manifests.yaml"],
        }
        if {METALLB_L2, METALLB_BGP} & {*self._columns}:
            # without one MetalLB and LB-IPAM take each other's addresses away, ten times a second
            wanted["metallb"] = {"loadBalancerClass": _METALLB_CLASS}
        return wanted

    # -- manifests ----------------------------------------------------------------------------------------------------

    def manifests(self) -> Iterator[Obj]:
        if {CILIUM_BGP, CILIUM_BGP_GR} & {*self._columns}:
            yield self._cilium_pool("bgp", [str(self._bgp_pool)])
            yield from self._peering()
        if CILIUM_L2 in self._columns:
            yield self._cilium_pool("l2", [f"{address}/32" for address in self._l2[CILIUM_L2][:2]])
            yield l2_policy()
        if METALLB_L2 in self._columns:
            yield from self._metallb_l2()
        if METALLB_BGP in self._columns:
            yield from self._metallb_bgp()
        yield self._deployment()
        for column in self._columns:
            yield self._service(column)

    def _cilium_pool(self, name: str, cidrs: list[str]) -> Obj:
        kind = "CiliumLoadBalancerIPPool"
        table = api.table()
        group = next(
            version
            for version in ("cilium.io/v2", "cilium.io/v2alpha1")
            if (version, kind) in table and self._version in table[version, kind].span
        )
        blocks = table[group, kind].fields.get("spec.blocks")
        field = "blocks" if blocks is None or self._version in blocks else "cidrs"
        return _obj(
            group,
            kind,
            name,
            {field: [{"cidr": cidr} for cidr in cidrs], "serviceSelector": {"matchLabels": {"cilium": name}}},
        )

    def _peering(self) -> list[Obj]:
        announced = {"matchLabels": {"cilium": "bgp"}}
        graceful, plain = (str(self._routers[name][0]) for name in (GRACEFUL, PLAIN))

        def instance(name: str, asn: int, address: str, restart: int | None) -> Instance:
            peer = Peer(
                name=name,
                address=address,
                asn=_ROUTER_ASN,
                connect_retry_time=_CONNECT_RETRY,
                hold_time=_HOLD,
                keepalive_time=_KEEPALIVE,
                restart_time=restart,
            )
            return Instance(name=name, local_asn=asn, peers=(peer,), services=announced)

        instances = (instance(GRACEFUL, _GR_ASN, graceful, _RESTART), instance(PLAIN, _PLAIN_ASN, plain, None))
        nodes = {"matchLabels": {_LABEL: "announces"}}
        return render(Peering(name="scorecard", instances=instances, nodes=nodes), self._version)

    def _metallb_l2(self) -> Iterator[Obj]:
        addresses = self._l2[METALLB_L2]
        yield _metallb("IPAddressPool", "l2", {"addresses": [f"{addresses[0]}-{addresses[-1]}"], "autoAssign": False})
        yield _metallb("L2Advertisement", "l2", {"ipAddressPools": ["l2"]})

    def _metallb_bgp(self) -> Iterator[Obj]:
        peer = {
            "myASN": _METALLB_ASN,
            "peerASN": _ROUTER_ASN,
            "peerAddress": str(self._routers[METALLB][0]),
            # MetalLB's own BGP sends keepalives at a third of it, and takes no other time
            "holdTime": f"{QUICK.hold if self._quick else _HOLD}s",
        }
        yield _metallb("IPAddressPool", "bgp", {"addresses": [str(self._metallb_pool)], "autoAssign": False})
        yield _metallb("BGPPeer", METALLB, peer, version="metallb.io/v1beta2")
        yield _metallb("BGPAdvertisement", "bgp", {"ipAddressPools": ["bgp"]})

    def _deployment(self) -> Obj:
        ports = [{"containerPort": 80}, {"containerPort": UDP_PORT, "protocol": "UDP"}]
        there = {"key": "kubernetes.io/hostname", "operator": "In", "values": [[*self._base.nodes][-1]]}
        preferred = [{"weight": 100, "preference": {"matchExpressions": [there]}}]
        pod = {
            # preferred, not required: an event moves them away
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}},
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "web", "image": "nginx", "ports": ports}],
        }
        selected = {"app": _APP}
        template = {"metadata": {"labels": selected}, "spec": pod}
        spec = {"replicas": BACKENDS, "selector": {"matchLabels": selected}, "template": template}
        return _obj("apps/v1", "Deployment", _APP, spec)

    def _service(self, column: Column) -> Obj:
        labels: Obj = {}
        notes: Obj = {}
        spec: Obj = {
            "type": "LoadBalancer",
            "selector": {"app": _APP},
            "ports": [
                {"name": "http", "port": 80, "protocol": "TCP"},
                {"name": "echo", "port": UDP_PORT, "protocol": "UDP"},
            ],
        }
        if column in (CILIUM_BGP, CILIUM_BGP_GR):
            labels, spec["loadBalancerClass"] = {"cilium": "bgp"}, "io.cilium/bgp-control-plane"
        elif column is CILIUM_L2:
            labels, spec["loadBalancerClass"] = {"cilium": "l2"}, "io.cilium/l2-announcer"
        elif column is METALLB_L2:
            spec["loadBalancerClass"] = _METALLB_CLASS
            notes = {"metallb.io/loadBalancerIPs": str(self._led_by_victim())}
        else:
            spec["loadBalancerClass"] = _METALLB_CLASS
            notes = {"metallb.io/address-pool": "bgp"}
        made = _obj("v1", "Service", column.key, spec)
        made["metadata"] |= {"labels": labels, "annotations": notes}
        return made

    def _led_by_victim(self) -> ipaddress.IPv4Address:
        """An address whose election the first node wins (facts/l2_and_lag.md 1.3): one of 16 always does, nearly."""
        nodes = [*self._base.nodes]
        for address in self._l2[METALLB_L2]:
            if leader(str(address), nodes) == nodes[0]:
                return address
        raise UserError(f"none of MetalLB's addresses would be {nodes[0]}'s", hint="give the topology another order")


def l2_policy(*nodes: str) -> Obj:
    """Cilium's policy for the L2 column; with nodes, only these may announce."""
    chosen: Obj = {"matchLabels": {_LABEL: "announces"}}
    if nodes:
        chosen = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}]}
    spec = {
        "serviceSelector": {"matchLabels": {"cilium": "l2"}},
        "nodeSelector": chosen,
        "loadBalancerIPs": True,
    }
    return _obj("cilium.io/v2alpha1", "CiliumL2AnnouncementPolicy", "scorecard", spec)


def _obj(version: str, kind: str, name: str, spec: Obj) -> Obj:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _metallb(kind: str, name: str, spec: Obj, version: str = "metallb.io/v1beta1") -> Obj:
    made = _obj(version, kind, name, spec)
    made["metadata"]["namespace"] = _METALLB_NAMESPACE
    return made


def _dump(path: Path, *documents: Obj) -> None:
    yaml = YAML()
    yaml.default_flow_style = False
    with path.open("w") as file:
        yaml.dump_all(documents, file)
