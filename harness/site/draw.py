"""A lab out of a site: a topology and manifests that run through the mechanisms.

The site's own objects are kept as they are written. What a lab has to be different in is said: names of the nodes'
interfaces, the servers behind the services, and how many nodes there are when nothing tells.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness import manifests
from harness.errors import UserError
from harness.manifests import Manifest
from harness.routing.opnsense import OsFrr
from harness.site.model import By, Site

#: Twenty minutes of FreeBSD's ARP in 24 seconds.
TIME_SCALE = 0.02
#: Nodes when no BGP neighbor tells of any, and how many there are at least: one to announce, one to take over, and one
#: for the servers, which announces nothing in the lab's own scenarios.
_NODES = 3
#: Objects of a site that a lab is given, by group and kind.
_KEPT = (
    ("metallb.io", "IPAddressPool"), ("metallb.io", "L2Advertisement"), ("metallb.io", "BGPAdvertisement"),
    ("metallb.io", "BGPPeer"), ("metallb.io", "BFDProfile"), ("metallb.io", "Community"),
    ("cilium.io", "CiliumLoadBalancerIPPool"), ("cilium.io", "CiliumL2AnnouncementPolicy"),
    ("cilium.io", "CiliumBGPPeeringPolicy"), ("cilium.io", "CiliumBGPClusterConfig"),
    ("cilium.io", "CiliumBGPPeerConfig"), ("cilium.io", "CiliumBGPAdvertisement"), ("", "Service"),
)  # fmt: skip
_NODE_NETWORK, _CLIENT_NETWORK, _ROUTER, _CLIENT = "nodes", "clients", "opnsense", "client"
#: A machine beside the nodes, which is none of them.
ROGUE = "rogue"
#: A network of the router's own for players when its configuration has no other one (RFC 5737 is not routed anywhere).
_ELSEWHERE = IPv4Interface("198.51.100.1/24")
#: A port that probes use where a site has no UDP service.
_PROBED: Mapping[str, Any] = {"name": "lblab-probe", "port": 7777, "protocol": "UDP"}


@dataclass
class Drawn:
    """A site as a lab.

    Attributes:
        topology: Of the lab, as the file has it.
        objects: Manifests.
        changes: What is not as it is on the site, one sentence each.
    """

    topology: dict[str, Any]
    objects: list[dict[str, Any]]
    changes: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> Path:
        """Write it into a folder; gives the topology's file."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "topology.yaml"
        file.write_text(_yaml([self.topology]))
        (folder / "manifests.yaml").write_text(_yaml(self.objects))
        return file


def draw(site: Site, found: Iterable[Manifest]) -> Drawn:
    """Make a lab of a site.

    Args:
        site: What was read of it.
        found: Its manifests.

    Raises:
        UserError: when the router's configuration tells of no network that nodes could be in.
    """
    key, servers = _node_network(site)
    drawn = Drawn({}, [])
    nodes = _nodes(site, servers, drawn)
    clients_key, clients = _client_network(site, key)
    assert site.router is not None
    interfaces = site.router.interfaces
    labels = {name: value for each in site.announcements for name, value in each.nodes.items()}
    router: dict[str, Any] = {
        "interfaces": {
            _NODE_NETWORK: {"address": str(servers.ip), "device": interfaces[key].device},
            _CLIENT_NETWORK: {
                "address": str(clients.ip),
                "device": interfaces[clients_key].device if clients_key else "lblab0",
            },
        },
        "arp": "freebsd",
    }
    if site.router.os_frr.bgp.enabled:
        router["osFrr"] = _os_frr(site.router.os_frr, {interfaces[key].device}, drawn)
    free = _free(site, servers, {servers.ip, *nodes.values()})
    drawn.topology = {
        "name": "site",
        "description": "Made of a site's own manifests and its router's configuration by lblab lag.",
        "networks": {
            _NODE_NETWORK: {"subnet": str(servers.network)},
            _CLIENT_NETWORK: {"subnet": str(clients.network)},
        },
        "routers": {_ROUTER: router},
        "controlPlane": {"network": _NODE_NETWORK, "address": str(next(free))},
        "nodes": {
            name: {"network": _NODE_NETWORK, "address": str(address), **({"labels": dict(labels)} if labels else {})}
            for name, address in nodes.items()
        },
        "clients": {
            _CLIENT: {"network": _CLIENT_NETWORK, "address": str(next(_free(site, clients, {clients.ip})))},
            ROGUE: {"network": _NODE_NETWORK, "address": str(next(free))},
        },
        "cluster": {"nodeLeaseSeconds": 8, "nodeMonitorGraceSeconds": 10},
        "timeScale": TIME_SCALE,
        "manifests": ["manifests.yaml"],
    }
    if site.by(By.METALLB_L2, By.METALLB_BGP):
        drawn.topology["metallb"] = {}
    drawn.objects = list(_objects(list(found), list(nodes)[-1], drawn))
    return drawn


# -- networks and nodes ---------------------------------------------------------------------------------------------


def _node_network(site: Site) -> tuple[str, IPv4Interface]:
    """The network that the nodes are in: that of the BGP neighbors, or of a pool."""
    networks = list(site.networks())
    neighbors = site.router.os_frr.bgp.neighbors if site.router else ()
    for neighbor in neighbors:
        for key, interface in networks:
            if neighbor.enabled and ":" not in neighbor.address and IPv4Address(neighbor.address) in interface.network:
                return key, interface
    for pool in site.pools:
        key_of_pool = site.on_link(pool)
        if key_of_pool is not None:
            return key_of_pool, dict(networks)[key_of_pool]
    raise UserError(
        "no interface of the router is in a network of BGP neighbors or of a pool, so there is none for nodes",
        file=site.router_file or None,
        hint="lblab lag --manifests DIR --opnsense config.xml of the router that the nodes have as their gateway",
    )


def _client_network(site: Site, nodes: str) -> tuple[str | None, IPv4Interface]:
    """A network for players: the router's LAN, or any other one."""
    others = {key: interface for key, interface in site.networks() if key != nodes and interface.network.prefixlen < 30}
    if not others:
        return None, _ELSEWHERE
    key = "lan" if "lan" in others else next(iter(others))
    return key, others[key]


def _nodes(site: Site, servers: IPv4Interface, drawn: Drawn) -> dict[str, IPv4Address]:
    """The router's BGP neighbors in that network, and as many more as a lab needs."""
    neighbors = site.router.os_frr.bgp.neighbors if site.router else ()
    found = {
        f"node{number}": IPv4Address(each.address)
        for number, each in enumerate((n for n in neighbors if n.enabled and ":" not in n.address), 1)
        if IPv4Address(each.address) in servers.network
    }
    free = _free(site, servers, {servers.ip, *found.values()})
    more = _NODES - len(found)
    for number in range(len(found) + 1, _NODES + 1):
        found[f"node{number}"] = next(free)
    if more > 0:
        drawn.changes.append(
            f"{more} of the {_NODES} nodes are made up: the router's BGP neighbors do not tell of them"
        )
    return found


def _free(site: Site, interface: IPv4Interface, taken: set[IPv4Address]) -> Iterator[IPv4Address]:
    """Addresses of a network that are in no pool, the highest first."""
    for number in range(int(interface.network[-1]) - 1, int(interface.network[0]), -1):
        address = IPv4Address(number)
        if address not in taken and not any(pool.meets(address, address) for pool in site.pools):
            yield address


def _os_frr(os_frr: OsFrr, devices: set[str], drawn: Drawn) -> dict[str, Any]:
    """The settings without what is not of the nodes' network."""
    written = os_frr.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    kept = []
    for neighbor in written.get("bgp", {}).get("neighbors", []):
        elsewhere = [
            field for field in ("updatesource", "linklocalinterface") if neighbor.get(field, "") not in ("", *devices)
        ]
        if elsewhere or ":" in neighbor["address"]:
            drawn.changes.append(f"BGP neighbor {neighbor['address']} is left out: it is not in the nodes' network")
        else:
            kept.append(neighbor)
    written.setdefault("bgp", {})["neighbors"] = kept
    return written


# -- objects --------------------------------------------------------------------------------------------------------


def _objects(found: Sequence[Manifest], backend: str, drawn: Drawn) -> Iterator[dict[str, Any]]:
    """The site's own objects, namespaces for them, and a server behind each service."""
    kept = [each for each in found if (each.group, each.kind) in _KEPT]
    kept = [each for each in kept if each.kind != "Service" or _is_balanced(each)]
    namespaces = {_namespace(each) for each in kept if each.kind == "Service"} - {"default"}
    for name in sorted(namespaces):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    probed = next((each for each in kept if each.kind == "Service" and "UDP" in _protocols(each)), None)
    without = next((each for each in kept if each.kind == "Service"), None) if probed is None else None
    for each in kept:
        changed = copy.deepcopy(each.object)
        if each is without:
            changed["spec"].setdefault("ports", []).append(dict(_PROBED))
            drawn.changes.append(f"{each}: has port {_PROBED['port']}/UDP besides, no service has one for probes")
        spec = changed.get("spec")
        if each.kind in ("L2Advertisement", "CiliumL2AnnouncementPolicy") and spec and spec.pop("interfaces", None):
            drawn.changes.append(f"{each}: interfaces are left out, a node of the lab has one, eth0")
        yield changed
    for each in kept:
        if each.kind == "Service":
            yield from _server(each, [dict(_PROBED)] if each is without else [], backend, drawn)


def _is_balanced(each: Manifest) -> bool:
    return (each.object.get("spec") or {}).get("type") == "LoadBalancer"


def _namespace(each: Manifest) -> str:
    return str((each.object.get("metadata") or {}).get("namespace") or "default")


def _protocols(each: Manifest) -> set[str]:
    return {str(port.get("protocol") or "TCP") for port in (each.object.get("spec") or {}).get("ports") or []}


def _server(each: Manifest, more: list[dict[str, Any]], node: str, drawn: Drawn) -> Iterator[dict[str, Any]]:
    """A server of lblab's own in place of what the service has behind it."""
    spec: Mapping[str, Any] = each.object.get("spec") or {}
    labels = dict(spec.get("selector") or {})
    if not labels:
        drawn.changes.append(f"{each}: without a selector there is no server behind it")
        return
    ports = []
    for port in [*(spec.get("ports") or []), *more]:
        target = port.get("targetPort", port.get("port"))
        number = target if isinstance(target, int) else port.get("port")
        named = {"name": target} if isinstance(target, str) else {}
        ports.append({"containerPort": number, "protocol": port.get("protocol") or "TCP", **named})
    drawn.changes.append(f"{each}: lblab's own server answers at its ports")
    name = f"lblab-{each.name}"[:63]
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": _namespace(each)},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": node},
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{"name": "server", "image": "lblab", "ports": ports}],
                },
            },
        },
    }


def load(folders: Sequence[Path]) -> list[Manifest]:
    """Read the manifests again; files that are no manifests are left out, as `read.read` has said."""
    from harness.site.read import files

    found: list[Manifest] = []
    for file in files(folders):
        try:
            found += manifests.load(file)
        except UserError:
            continue
    return found


def _yaml(documents: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.dump_all(list(documents), text)
    return text.getvalue()
