"""Reads a site out of manifests and an OPNsense config.xml, and names what it does not understand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from pathlib import Path
from typing import Any

from harness import manifests
from harness.errors import UserError
from harness.manifests import Manifest
from harness.routing import config_xml
from harness.site.model import Announcement, By, DhcpRange, Place, Pool, Service, Site

Range = tuple[IPv4Address, IPv4Address]

#: Kinds that say nothing of addresses, and need not be named.
_PLAIN_GROUPS = frozenset({"apps", "batch", "autoscaling", "policy", "rbac.authorization.k8s.io", "networking.k8s.io"})
#: Of the core group: all but Service.
_ASKED_FOR = (
    "metallb.io/loadBalancerIPs",
    "metallb.universe.tf/loadBalancerIPs",
    "lbipam.cilium.io/ips",
    "io.cilium/lb-ipam-ips",
)
#: Cilium's defaults where a peering does not say them (facts/cilium.md, section 1).
_HOLD = 90
#: A duration as Kubernetes' metav1.Duration has it: 1m30s.
_DURATION, _UNITS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)"), {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def read(folders: Sequence[Path], opnsense: Path | None) -> Site:
    """Read a site.

    Args:
        folders: Files and folders of manifests; folders with the folders in them.
        opnsense: The router's config.xml.

    Raises:
        UserError: when a file cannot be read at all, or a value in it cannot be; with file and line.
    """
    site = Site()
    for manifest in _all(folders, site):
        reader = _READERS.get((manifest.group, manifest.kind))
        if reader is not None:
            try:
                reader(site, manifest)
            except (AttributeError, TypeError, KeyError, ValueError):
                site.unknown.append(f"{_place(manifest)}: {manifest} is not as its kind has it, and is left out")
        elif manifest.group not in _PLAIN_GROUPS and manifest.group != "":
            what = f"{manifest} ({manifest.group}) is not understood: what it says of addresses is not known"
            site.unknown.append(f"{_place(manifest)}: {what}")
    if opnsense is not None:
        _router(site, opnsense)
    return site


def files(folders: Sequence[Path]) -> list[Path]:
    """The manifests' files, those of folders within folders, too.

    Raises:
        UserError: when there are none.
    """
    found: list[Path] = []
    for path in folders:
        if not path.exists():
            raise UserError("there is no such file or folder", file=path)
        found += (
            sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml", ".json")) if path.is_dir() else [path]
        )
    if not found:
        raise UserError("has no manifest in it", file=folders[0], hint="a manifest ends in .yaml, .yml or .json")
    return found


def _all(folders: Sequence[Path], site: Site) -> Iterator[Manifest]:
    for file in files(folders):
        try:
            yield from manifests.load(file)
        except UserError as error:
            if not error.message.startswith("not a Kubernetes object"):
                raise
            site.unknown.append(str(error))  # Helm's values, most likely


def _place(manifest: Manifest, *path: str | int) -> Place:
    return Place(manifest.file or "", manifest.line_of(*path) if path else manifest.line)


def _spec(manifest: Manifest) -> dict[str, Any]:
    spec = manifest.object.get("spec")
    return spec if isinstance(spec, dict) else {}


# -- MetalLB -------------------------------------------------------------------------------------------------------


def _metallb_pool(site: Site, manifest: Manifest) -> None:
    ranges = []
    for number, text in enumerate(_spec(manifest).get("addresses") or []):
        found = _range(manifest, str(text), "spec", "addresses", number)
        ranges += [found] if found else []
    site.pools.append(Pool(manifest.name, "MetalLB", tuple(ranges), _place(manifest)))


def _metallb_advertisement(by: By) -> Callable[[Site, Manifest], None]:
    def reader(site: Site, manifest: Manifest) -> None:
        spec = _spec(manifest)
        selectors = spec.get("serviceSelectors") or [None]
        for selector in selectors:
            chosen: list[dict[str, Any]] = spec.get("nodeSelectors") or [{}]
            nodes = chosen[0].get("matchLabels") or {}
            pools = tuple(map(str, spec.get("ipAddressPools") or ()))
            site.announcements.append(Announcement(by, str(manifest), selector, pools, nodes, _place(manifest)))

    return reader


def _metallb_peer(site: Site, manifest: Manifest) -> None:
    spec = _spec(manifest)
    if spec.get("enableGracefulRestart"):
        site.restart_seconds = max(site.restart_seconds or 0, 120)  # FRR's default
    hold = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(str(spec.get("holdTime") or "")))
    site.hold_seconds = max(site.hold_seconds, round(hold))


# -- Cilium --------------------------------------------------------------------------------------------------------


def _cilium_pool(site: Site, manifest: Manifest) -> None:
    ranges = []
    spec = _spec(manifest)
    for field in ("blocks", "cidrs"):  # cidrs: up to Cilium 1.15
        for number, block in enumerate(spec.get(field) or []):
            text = str(block.get("cidr") or f"{block.get('start')}-{block.get('stop') or block.get('start')}")
            found = _range(manifest, text, "spec", field, number)
            ranges += [found] if found else []
    site.pools.append(Pool(manifest.name, "Cilium", tuple(ranges), _place(manifest)))


def _cilium_l2(site: Site, manifest: Manifest) -> None:
    spec = _spec(manifest)
    if not spec.get("loadBalancerIPs"):
        return  # it announces external IPs only, or nothing
    nodes = (spec.get("nodeSelector") or {}).get("matchLabels") or {}
    site.announcements.append(
        Announcement(By.CILIUM_L2, str(manifest), spec.get("serviceSelector"), (), nodes, _place(manifest))
    )


def _cilium_policy(site: Site, manifest: Manifest) -> None:
    spec = _spec(manifest)
    nodes = (spec.get("nodeSelector") or {}).get("matchLabels") or {}
    for number, router in enumerate(spec.get("virtualRouters") or []):
        place = _place(manifest, "spec", "virtualRouters", number)
        if router.get("serviceSelector") is not None:  # without one nothing is announced
            site.announcements.append(
                Announcement(By.CILIUM_BGP, str(manifest), router["serviceSelector"], (), nodes, place)
            )
        for neighbor in router.get("neighbors") or []:
            _timers(site, neighbor, neighbor.get("gracefulRestart") or {})


def _cilium_advertisement(site: Site, manifest: Manifest) -> None:
    for number, one in enumerate(_spec(manifest).get("advertisements") or []):
        if one.get("advertisementType") == "Service" and one.get("selector") is not None:
            place = _place(manifest, "spec", "advertisements", number)
            site.announcements.append(Announcement(By.CILIUM_BGP, str(manifest), one["selector"], (), {}, place))


def _cilium_peer(site: Site, manifest: Manifest) -> None:
    spec = _spec(manifest)
    _timers(site, spec.get("timers") or {}, spec.get("gracefulRestart") or {})


def _timers(site: Site, timers: Mapping[str, Any], restart: Mapping[str, Any]) -> None:
    site.hold_seconds = max(site.hold_seconds, int(timers.get("holdTimeSeconds") or _HOLD))
    if restart.get("enabled"):
        site.restart_seconds = max(site.restart_seconds or 0, int(restart.get("restartTimeSeconds") or 120))


# -- services ------------------------------------------------------------------------------------------------------


def _service(site: Site, manifest: Manifest) -> None:
    spec, metadata = _spec(manifest), manifest.object.get("metadata") or {}
    if spec.get("type") != "LoadBalancer":
        return
    annotations = metadata.get("annotations") or {}
    asked = [str(annotations[key]) for key in _ASKED_FOR if annotations.get(key)]
    asked += [str(spec["loadBalancerIP"])] if spec.get("loadBalancerIP") else []
    addresses = []
    for text in ",".join(asked).split(","):
        found = _range(manifest, text.strip(), "metadata") if text.strip() else None
        addresses += [found[0]] if found else []
    site.services.append(
        Service(
            f"{metadata.get('namespace') or 'default'}/{manifest.name}",
            str(spec.get("externalTrafficPolicy") or "Cluster"),
            spec.get("loadBalancerClass"),
            tuple(addresses),
            metadata.get("labels") or {},
            tuple((str(port.get("protocol") or "TCP"), int(port.get("port") or 0)) for port in spec.get("ports") or []),
            _place(manifest),
        )
    )


def _range(manifest: Manifest, text: str, *path: str | int) -> Range | None:
    """An address, a network, or a range from one to another; None for IPv6, which has no ARP.

    Raises:
        UserError: when it is none of these.
    """
    if ":" in text:
        return None
    try:
        if "/" in text:
            network = IPv4Network(text, strict=False)
            return network[0], network[-1]
        first, _, last = text.partition("-")
        return IPv4Address(first.strip()), IPv4Address((last or first).strip())
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise manifest.error(f"'{text}' is no address, network or range", *path) from error


_READERS: Mapping[tuple[str, str], Callable[[Site, Manifest], None]] = {
    ("metallb.io", "IPAddressPool"): _metallb_pool,
    ("metallb.io", "L2Advertisement"): _metallb_advertisement(By.METALLB_L2),
    ("metallb.io", "BGPAdvertisement"): _metallb_advertisement(By.METALLB_BGP),
    ("metallb.io", "BGPPeer"): _metallb_peer,
    ("cilium.io", "CiliumLoadBalancerIPPool"): _cilium_pool,
    ("cilium.io", "CiliumL2AnnouncementPolicy"): _cilium_l2,
    ("cilium.io", "CiliumBGPPeeringPolicy"): _cilium_policy,
    ("cilium.io", "CiliumBGPAdvertisement"): _cilium_advertisement,
    ("cilium.io", "CiliumBGPPeerConfig"): _cilium_peer,
    ("cilium.io", "CiliumBGPClusterConfig"): lambda site, manifest: None,
    ("", "Service"): _service,
}


# -- the router ----------------------------------------------------------------------------------------------------


def _router(site: Site, path: Path) -> None:
    site.router = config_xml.load(path, without_os_frr=True)
    site.router_file = str(path)
    site.unknown += site.router.warnings
    os_frr = site.router.os_frr
    watched = {each.address for each in os_frr.bfd.neighbors if each.enabled} if os_frr.bfd.enabled else set()
    site.bfd = any(each.bfd or each.address in watched for each in os_frr.bgp.neighbors if each.enabled)
    for key, interface in site.router.interfaces.items():
        line = site.router.lines.get(key, 0)
        if interface.address is None:
            site.unknown.append(f"{path}:{line}: {key} has no fixed IPv4 address; what is behind it is not known")
    for dhcp in site.router.dhcp:
        try:
            first, last = IPv4Address(dhcp.first), IPv4Address(dhcp.last)
        except AddressValueError:
            site.unknown.append(f"{path}:{dhcp.line}: a DHCP range from '{dhcp.first}' to '{dhcp.last}'")
            continue
        site.dhcp.append(DhcpRange(dhcp.interface, first, last, Place(str(path), dhcp.line)))
