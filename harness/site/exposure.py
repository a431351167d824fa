"""Which mechanisms a site is open to, and why; one small function for each mechanism. Pure.

"Open" means that nothing in the site's own configuration stands in the way of it, not that it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.cilium import selectors
from harness.lag.mechanisms import Mechanism
from harness.site.model import Announcement, By, Pool, Service, Site
from harness.verdict.arp import Freebsd
from harness.verdict.predict import BgpTimers, silent_node

#: The loadBalancerClass with which Cilium takes a service for its L2 announcements only (facts/cilium.md, section 7).
_CILIUM_L2_CLASS = "io.cilium/l2-announcer"
_REFRESH = Freebsd().asks[0]


@dataclass(frozen=True)
class Exposure:
    """Whether a site is open to a mechanism.

    Attributes:
        mechanism: Which.
        open: Whether it is.
        why: One sentence, with the files and lines that make it so.
        remedy: The single change that closes it; empty when it is closed, or when nothing in these files does.
    """

    mechanism: Mechanism
    open: bool
    why: str
    remedy: str = ""


def exposures(site: Site) -> list[Exposure]:
    """Judge every mechanism, in the order of the facts' candidates."""
    return [Exposure(mechanism, *judge(site)) for mechanism, judge in _JUDGES.items()]


def notes(site: Site) -> list[str]:
    """What else follows from the configuration: the fault that BGP brings in place of those of ARP."""
    said = []
    if site.by(By.CILIUM_BGP, By.METALLB_BGP):
        timers = BgpTimers(site.hold_seconds, site.hold_seconds / 3, site.restart_seconds or 0)
        loss = silent_node(timers, graceful_restart=site.restart_seconds is not None)
        if not site.bfd:
            said.append(
                f"BGP without BFD: a node that falls silent costs {loss.low:.0f} to {loss.high:.0f} s ({loss.formula})"
            )
    return said


_Judgement = tuple[bool, str] | tuple[bool, str, str]


def announcers(site: Site, service: Service) -> list[Announcement]:
    """Who announces a service, each by which object.

    Cilium's L2 policy takes every service that has an address and no loadBalancerClass, whoever gave the address
    (facts/l2_and_lag.md, section 0); MetalLB takes those that have an address of its pools.
    """
    found = []
    for each in site.announcements:
        if not selectors.matches(each.selector, service.labels, absent=True):
            continue
        if each.by is By.CILIUM_L2 and service.load_balancer_class not in (None, _CILIUM_L2_CLASS):
            continue
        if each.by is not By.CILIUM_L2 and not _of_pools(site, service, each):
            continue
        found.append(each)
    return found


def _of_pools(site: Site, service: Service, each: Announcement) -> bool:
    giver = "MetalLB" if each.by in (By.METALLB_L2, By.METALLB_BGP) else "Cilium"
    pools = [pool for pool in site.pools if pool.giver == giver and (not each.pools or pool.name in each.pools)]
    if not service.addresses:
        return bool(pools)
    return any(pool.meets(address, address) for pool in pools for address in service.addresses)


def _arp(site: Site) -> list[Announcement]:
    return site.by(By.METALLB_L2, By.CILIUM_L2)


def _on_link(site: Site) -> list[tuple[Pool, str]]:
    return [(pool, key) for pool in site.pools if (key := site.on_link(pool)) is not None]


def _by_arp(site: Site) -> str | None:
    """Why no address of the site is asked for by ARP; None when some are."""
    if not _arp(site):
        return "no address is announced by ARP"
    if site.router is not None and site.pools and not _on_link(site):
        return "no pool is in one of the router's own networks, so it never asks for an address by ARP"
    return None


_ROUTED = "announce addresses by BGP, or route them statically: then the router never asks for them by ARP"


def _two_announcers(site: Site) -> _Judgement:
    for service in site.services:
        by_arp = {each.by: each for each in announcers(site, service) if each.by.arp}
        if len(by_arp) > 1:
            metallb, cilium = by_arp[By.METALLB_L2], by_arp[By.CILIUM_L2]
            why = (
                f"{service.name} ({service.place}) is announced by MetalLB ({metallb.name}, {metallb.place}) and by"
                f" Cilium ({cilium.name}, {cilium.place}): each refresh of the router's entry, every {_REFRESH:.0f} s,"
                " may lead to the other node"
            )
            remedy = f"remove {cilium.name} ({cilium.place}), or give it a serviceSelector that leaves MetalLB's out"
            return True, why, remedy
    by = {each.by: each for each in _arp(site)}
    if len(by) > 1:
        both = " and ".join(f"{each.name} ({each.place})" for each in by.values())
        return True, f"{both} announce by ARP, and no selector keeps them apart for certain", "leave one of them"
    return False, "one announcer at most answers ARP"


def _speaker_stall(site: Site) -> _Judgement:
    ads = site.by(By.METALLB_L2)
    if not ads:
        return False, "MetalLB announces nothing by ARP"
    policies = {service.policy for service in site.services if ads[0] in announcers(site, service)}
    kept = " Policy Cluster makes it worse: each node translates addresses for itself" if "Cluster" in policies else ""
    why = f"{ads[0].name} ({ads[0].place}): another node takes an address over while its speaker stalls."
    return True, why + kept, _ROUTED


def _arp_unanswered(site: Site) -> _Judgement:
    closed = _by_arp(site)
    if closed is not None:
        return False, closed
    on_link = _on_link(site)
    where = (
        f"{on_link[0][0].name} ({on_link[0][0].place}) is in the router's network {on_link[0][1]}: " if on_link else ""
    )
    return True, f"{where}FreeBSD forgets an address after {Freebsd().deleted:.0f} s of unanswered questions", _ROUTED


def _garp_lost(site: Site) -> _Judgement:
    closed = _by_arp(site)
    if closed is not None:
        return False, closed
    return True, f"a gratuitous ARP that is lost is made up for after {_REFRESH:.0f} s only", _ROUTED


def _split_brain(site: Site) -> _Judgement:
    ads = site.by(By.METALLB_L2)
    if not ads:
        return False, "MetalLB announces nothing by ARP"
    why = f"{ads[0].name} ({ads[0].place}): a speaker that hears no other one takes itself for the leader"
    return True, why, _ROUTED


def _lease_lost(site: Site) -> _Judgement:
    policies = site.by(By.CILIUM_L2)
    if not policies:
        return False, "Cilium announces nothing by ARP"
    why = f"{policies[0].name} ({policies[0].place}): an agent that does not reach the API server loses the lease"
    return True, why, "a longer l2announcements.leaseDuration, or BGP"


def _stale_reply_path(site: Site) -> _Judgement:
    if site.by(By.CILIUM_BGP, By.METALLB_BGP) and not _arp(site):
        return False, "BGP's keepalives keep the node's entry of its gateway fresh"
    return True, "nothing in these files keeps a node's ARP entry of its gateway fresh while nobody else uses it"


def _duplicate_address(site: Site) -> _Judgement:
    for pool in site.pools:
        for dhcp in site.dhcp:
            if pool.meets(dhcp.first, dhcp.last):
                why = f"pool {pool.name} ({pool.place}) meets the DHCP range of {dhcp.interface} ({dhcp.place})"
                return True, why, "take the pool out of the DHCP range"
    closed = _by_arp(site)
    if closed is not None:
        return False, closed
    return True, "addresses of the nodes' own network can be taken by any host there", "a pool of a network of its own"


def _early_return(site: Site) -> _Judgement:
    by = site.by(By.METALLB_L2, By.CILIUM_BGP, By.METALLB_BGP)
    if not by:
        return False, "a node that comes back takes nothing back by itself"
    return True, f"{by[0].name} ({by[0].place}): a node that comes back gets traffic as soon as it announces"


def _server_stall(site: Site) -> _Judgement:
    return True, "any server can stall; the network has no part in it"


def _link_flap(site: Site) -> _Judgement:
    return True, "spanning tree holds a switch's port back for 30 s unless it is an edge port", "edge ports (portfast)"


_JUDGES: Mapping[Mechanism, Callable[[Site], _Judgement]] = {
    Mechanism.TWO_ANNOUNCERS: _two_announcers,
    Mechanism.SPEAKER_STALL: _speaker_stall,
    Mechanism.ARP_UNANSWERED: _arp_unanswered,
    Mechanism.GARP_LOST: _garp_lost,
    Mechanism.SPLIT_BRAIN: _split_brain,
    Mechanism.LEASE_LOST: _lease_lost,
    Mechanism.STALE_REPLY_PATH: _stale_reply_path,
    Mechanism.DUPLICATE_ADDRESS: _duplicate_address,
    Mechanism.EARLY_RETURN: _early_return,
    Mechanism.SERVER_STALL: _server_stall,
    Mechanism.LINK_FLAP: _link_flap,
}
