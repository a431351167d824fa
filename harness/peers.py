"""The routers that manifests want to peer with, and whether the lab has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Any

from harness.addresses import IPAddress
from harness.manifests import Manifest
from harness.topology import Topology
from harness.yamlfile import Step


@dataclass(frozen=True)
class PeerReference:
    """A peer address in a manifest.

    Attributes:
        text: As it is written: an address, in a CiliumBGPPeeringPolicy a CIDR.
        manifest: The object.
        path: Where in the object.
    """

    text: str
    manifest: Manifest
    path: tuple[Step, ...]

    @property
    def address(self) -> IPAddress | None:
        """The address, or None when the text is none."""
        is_cidr = self.manifest.kind == "CiliumBGPPeeringPolicy"
        try:
            return ip_interface(self.text).ip if is_cidr else ip_address(self.text)
        except ValueError:
            return None


def peers_of(manifests: Iterable[Manifest]) -> list[PeerReference]:
    """Every peer address in CiliumBGPPeeringPolicy, CiliumBGPClusterConfig and MetalLB's BGPPeer.

    A peer without an address (Cilium's autoDiscovery, MetalLB's unnumbered peers) is not among them.
    """
    return [found for manifest in manifests for found in _peers_of(manifest)]


def check_peers(topology: Topology, manifests: Iterable[Manifest]) -> None:
    """Refuse a peer that the lab does not have: its session could never come up.

    Raises:
        UserError: a peer address is no router's address of the topology; with the manifest's file and line.
    """
    routers = topology.router_addresses()
    listed = ", ".join(f"{address} ({name})" for address, name in routers.items()) or "none"
    for peer in peers_of(manifests):
        if peer.address is None or peer.address not in routers:
            message = f"{peer.manifest}: peer address {peer.text} is no router's address in topology {topology.name}"
            raise peer.manifest.error(message, *peer.path, hint=f"router addresses: {listed}")


def _peers_of(manifest: Manifest) -> Iterator[PeerReference]:
    spec = manifest.object.get("spec")
    if manifest.group == "cilium.io" and manifest.kind == "CiliumBGPPeeringPolicy":
        paths = _below(spec, "virtualRouters", "neighbors")
    elif manifest.group == "cilium.io" and manifest.kind == "CiliumBGPClusterConfig":
        paths = _below(spec, "bgpInstances", "peers")
    elif manifest.group == "metallb.io" and manifest.kind == "BGPPeer":
        paths = iter([((), spec)])
    else:
        return
    for path, peer in paths:
        if isinstance(peer, dict) and isinstance(peer.get("peerAddress"), str):
            yield PeerReference(peer["peerAddress"], manifest, ("spec", *path, "peerAddress"))


def _below(value: Any, *lists: str) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """The items of a list inside each item of a list, with their paths; what is of another shape is left out."""
    if not lists:
        yield (), value
        return
    items = value.get(lists[0]) if isinstance(value, dict) else None
    for place, item in enumerate(items if isinstance(items, list) else ()):
        for path, inner in _below(item, *lists[1:]):
            yield (lists[0], place, *path), inner
