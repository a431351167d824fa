"""A site as far as lag is concerned: pools, who announces what, services, and the router. Pure data."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from harness.routing.config_xml import ConfigXml


@dataclass(frozen=True)
class Place:
    """Where something is written."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Pool:
    """Addresses for services.

    Attributes:
        name: Its name.
        giver: "MetalLB" or "Cilium", which gives addresses out of it.
        ranges: First and last addresses.
        place: Where it is written.
    """

    name: str
    giver: str
    ranges: tuple[tuple[IPv4Address, IPv4Address], ...]
    place: Place

    def overlaps(self, network: IPv4Network) -> bool:
        """Whether some of its addresses are in a network."""
        return any(first <= network[-1] and last >= network[0] for first, last in self.ranges)

    def meets(self, first: IPv4Address, last: IPv4Address) -> bool:
        """Whether some of its addresses are in a range."""
        return any(low <= last and high >= first for low, high in self.ranges)


class By(enum.Enum):
    """How addresses are announced."""

    METALLB_L2 = "MetalLB L2"
    METALLB_BGP = "MetalLB BGP"
    CILIUM_L2 = "Cilium L2"
    CILIUM_BGP = "Cilium BGP"

    @property
    def arp(self) -> bool:
        """Whether that is by ARP."""
        return self in (By.METALLB_L2, By.CILIUM_L2)


@dataclass(frozen=True)
class Announcement:
    """One object that lets addresses be announced.

    Attributes:
        by: How.
        name: The object.
        selector: Which services it chooses by their labels; None: all of them.
        pools: Of which pools; empty: all.
        nodes: Labels that its nodes must have.
        place: Where it is written.
    """

    by: By
    name: str
    selector: Mapping[str, object] | None
    pools: tuple[str, ...]
    nodes: Mapping[str, str]
    place: Place


@dataclass(frozen=True)
class Service:
    """A Service of type LoadBalancer.

    Attributes:
        name: namespace/name.
        policy: externalTrafficPolicy.
        load_balancer_class: Its loadBalancerClass.
        addresses: Those that it asks for.
        labels: Its labels.
        ports: (protocol, port).
        place: Where it is written.
    """

    name: str
    policy: str
    load_balancer_class: str | None
    addresses: tuple[IPv4Address, ...]
    labels: Mapping[str, str]
    ports: tuple[tuple[str, int], ...]
    place: Place


@dataclass(frozen=True)
class DhcpRange:
    """Addresses that the router gives to whoever asks."""

    interface: str
    first: IPv4Address
    last: IPv4Address
    place: Place


@dataclass
class Site:
    """All of it.

    Attributes:
        pools: Of addresses.
        announcements: Who announces.
        services: What is announced.
        router: The router's configuration; None without one.
        router_file: Its file.
        dhcp: Its DHCP ranges.
        bfd: Whether a BGP neighbor is watched by BFD.
        restart_seconds: The longest restart time of graceful restart that the cluster asks for; None without.
        hold_seconds: The longest hold time that the cluster asks for.
        unknown: What was not understood, one sentence each, with file and line.
    """

    pools: list[Pool] = field(default_factory=list)
    announcements: list[Announcement] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    router: ConfigXml | None = None
    router_file: str = ""
    dhcp: list[DhcpRange] = field(default_factory=list)
    bfd: bool = False
    restart_seconds: int | None = None
    hold_seconds: int = 90
    unknown: list[str] = field(default_factory=list)

    def by(self, *how: By) -> list[Announcement]:
        """The announcements of some kinds."""
        return [each for each in self.announcements if each.by in how]

    def networks(self) -> Iterator[tuple[str, IPv4Interface]]:
        """The router's own networks: (logical key, its address)."""
        for key, interface in (self.router.interfaces if self.router else {}).items():
            if interface.address is not None and "." in interface.address:
                yield key, IPv4Interface(interface.address)

    def on_link(self, pool: Pool) -> str | None:
        """The router's network that a pool is a part of: then the router asks for its addresses by ARP."""
        for key, address in self.networks():
            if pool.overlaps(address.network):
                return key
        return None
