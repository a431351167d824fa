"""What FRR's daemons know, as typed values: BGP sessions, BGP routes, and zebra's routing table.

Field names follow RFC 4271, 4724 and 8538. The JSON is that of FRR 8.4; that of 10.x differs in places and is read as
well. A read takes well under a millisecond (`Vty`), so state can be watched by asking again and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.routing.vty import Vty as Vty
from harness.routing.vty import VtyError as VtyError

#: FRR's names of the address families in JSON, and lblab's; others keep FRR's name.
_FAMILIES = {"ipv4Unicast": "ipv4", "ipv6Unicast": "ipv6"}
_NEGOTIATED = frozenset({"Established", "OpenConfirm"})


@dataclass(frozen=True)
class GracefulRestart:
    """Graceful restart of one session (RFC 4724, RFC 8538).

    A session that never came up has these values too: only `capability` says that it was negotiated.

    Attributes:
        local_mode: What this router does: `Helper`, `Restart` or `Disable`; with `*` when inherited from the instance.
        remote_mode: What the peer announced: `Restart`, `Helper`, `Disable` or `NotApplicable`.
        r_bit: The peer said that it has restarted (R, RFC 4724).
        n_bit: Both sides keep routes through a NOTIFICATION (N, RFC 8538).
        f_bit: By family: the peer says that it has kept its forwarding state (F).
        capability: `advertisedAndReceived`, `advertised`, `received`, or None when no session is negotiated.
        restart_time: Seconds that the peer asked for; of the last session while it is away.
        eor_sent: Families for which End-of-RIB was sent.
        eor_received: Families for which End-of-RIB was received.
        restart_timer: Seconds left until a peer that went away is given up, None when it is not running.
        stale_timer: Seconds left until stale routes are removed, None when it is not running.
    """

    local_mode: str
    remote_mode: str
    r_bit: bool
    n_bit: bool
    f_bit: Mapping[str, bool]
    capability: str | None
    restart_time: int | None
    eor_sent: frozenset[str]
    eor_received: frozenset[str]
    restart_timer: float | None
    stale_timer: float | None

    @property
    def negotiated(self) -> bool:
        """Whether both sides announced the capability on the present session."""
        return self.capability == "advertisedAndReceived"


@dataclass(frozen=True)
class Notification:
    """The NOTIFICATION that ended the last session.

    Attributes:
        code: Error code (RFC 4271 section 4.5); 6 is Cease.
        subcode: Error subcode; for Cease those of RFC 4486.
        text: FRR's words for both: `Cease/Administrative Shutdown`.
        direction: Which way it went, seen from this router.
        hard_reset: It was wrapped as a Hard Reset (RFC 8538): stale routes are not kept.
    """

    code: int
    subcode: int
    text: str
    direction: Literal["sent", "received"]
    hard_reset: bool


@dataclass(frozen=True)
class BgpPeer:
    """One BGP session of a router.

    Attributes:
        address: The peer's address.
        remote_as: The peer's autonomous system, 0 until a peer configured as external has told it.
        local_as: The router's own.
        state: `Established`, `Idle`, `Connect`, `Active`, `OpenSent`, `OpenConfirm` or `Clearing`.
        uptime: Seconds since it was established, in whole seconds; None when it is not.
        hold: Negotiated hold time in seconds; None without a session.
        keepalive: Negotiated keepalive interval in seconds; None without a session.
        configured_hold: The router's own proposal in seconds.
        configured_keepalive: Likewise.
        graceful_restart: Its modes, bits and timers.
        last_notification: The NOTIFICATION that ended the last session, if one did.
        last_reset: FRR's words for why the last session ended.
        prefixes_received: Accepted prefixes by family.
        md5: Whether a TCP MD5 password is set.
        ttl: Hops that the peer may be away (ebgp-multihop).
        description: As configured.
        remote_router_id: 0.0.0.0 without a session.
        local_address: The router's end of the TCP connection, None without one.
        established_count: How often the session came up since bgpd started.
        dropped_count: How often it was lost.
        shut_down: Whether it is administratively down on this router.
    """

    address: str
    remote_as: int
    local_as: int
    state: str
    uptime: float | None
    hold: float | None
    keepalive: float | None
    configured_hold: float
    configured_keepalive: float
    graceful_restart: GracefulRestart
    last_notification: Notification | None
    last_reset: str
    prefixes_received: Mapping[str, int]
    md5: bool
    ttl: int | None
    description: str
    remote_router_id: str
    local_address: str | None
    established_count: int
    dropped_count: int
    shut_down: bool

    @property
    def established(self) -> bool:
        """Whether the session is up."""
        return self.state == "Established"


@dataclass(frozen=True)
class BgpPath:
    """One path of a BGP route.

    Attributes:
        next_hop: The (global) next hop.
        link_local: The IPv6 link-local next hop, if there is one.
        peer: Address of the peer it came from, None for the router's own.
        as_path: Autonomous systems, the nearest first; sets are flattened.
        local_pref: None when the path has none (eBGP).
        med: Multi-exit discriminator, if any.
        communities: `64513:7`, `no-export`, ...
        large_communities: `64513:1:2`, ...
        origin: `IGP`, `EGP` or `incomplete`.
        stale: Kept while its peer is restarting gracefully.
        valid: The next hop can be reached.
        best: The best path.
        multipath: Used together with others; the best path has it too when there are several.
    """

    next_hop: str
    link_local: str | None
    peer: str | None
    as_path: tuple[int, ...]
    local_pref: int | None
    med: int | None
    communities: tuple[str, ...]
    large_communities: tuple[str, ...]
    origin: str
    stale: bool
    valid: bool
    best: bool
    multipath: bool


@dataclass(frozen=True)
class BgpRoute:
    """All paths to one prefix, in FRR's order."""

    prefix: str
    paths: tuple[BgpPath, ...]

    @property
    def next_hops(self) -> frozenset[str]:
        """Next hops that bgpd hands to zebra: of the best path and those used beside it."""
        return frozenset(path.next_hop for path in self.paths if path.best or path.multipath)


@dataclass(frozen=True)
class ZebraNextHop:
    """One next hop in zebra's table; `address` is None for a connected network, `fib` means that the kernel has it."""

    address: str | None
    interface: str | None
    fib: bool
    active: bool
    weight: int


@dataclass(frozen=True)
class ZebraRoute:
    """One route of zebra's table.

    Attributes:
        prefix: The destination.
        protocol: `bgp`, `connected`, `static`, `kernel`, ...
        next_hops: Its next hops.
        selected: It is the best of those for its prefix.
        installed: The kernel has it.
        distance: Administrative distance.
        metric: Metric.
    """

    prefix: str
    protocol: str
    next_hops: tuple[ZebraNextHop, ...]
    selected: bool
    installed: bool
    distance: int
    metric: int

    @property
    def fib_next_hops(self) -> frozenset[str]:
        """Addresses of the next hops that zebra has put into the kernel."""
        return frozenset(hop.address for hop in self.next_hops if hop.fib and hop.address is not None)


def bgp_peers(vty: Vty) -> list[BgpPeer]:
    """Read all BGP sessions of the default VRF."""
    answer = vty.show_json("bgpd", "show bgp neighbors json") or {}
    return [_peer(address, data) for address, data in answer.items() if _is_peer(data)]


def bgp_peer(vty: Vty, address: str) -> BgpPeer | None:
    """Read one BGP session; None when the router has no such neighbor."""
    answer = vty.show_json("bgpd", f"show bgp neighbors {address} json") or {}
    data = answer.get(address, {})
    return _peer(address, data) if _is_peer(data) else None


def bgp_routes(vty: Vty, family: str = "ipv4") -> list[BgpRoute]:
    """Read the BGP table of one unicast family, `ipv4` or `ipv6`: every prefix once, with all its paths."""
    answer = vty.show_json("bgpd", f"show bgp {family} unicast json detail") or {}
    return [BgpRoute(prefix, _paths(data)) for prefix, data in answer.get("routes", {}).items()]


def bgp_route(vty: Vty, prefix: str) -> BgpRoute | None:
    """Read one prefix, None when bgpd does not have exactly it; takes 0.1 ms however many routes there are."""
    family = "ipv6" if ":" in prefix else "ipv4"
    answer = vty.show_json("bgpd", f"show bgp {family} unicast {prefix} json") or {}
    return BgpRoute(prefix, _paths(answer)) if answer.get("prefix") == prefix else None


def adj_rib_in(vty: Vty, address: str, family: str = "ipv4") -> dict[str, str]:
    """Read the routes as a peer sent them, before any policy, as prefix and next hop.

    Raises:
        VtyError: when the neighbor has no `soft-reconfiguration inbound`, without which bgpd does not keep them.
    """
    command = f"show bgp {family} unicast neighbors {address} received-routes json"
    answer = vty.show_json("bgpd", command) or {}
    if "receivedRoutes" not in answer:
        raise VtyError("bgpd", command, 1, str(answer.get("warning", "no received routes are kept")))
    return {prefix: data.get("nextHop", "") for prefix, data in answer["receivedRoutes"].items()}


def rib(vty: Vty, family: str = "ipv4") -> list[ZebraRoute]:
    """Read zebra's routing table of the default VRF; of the routes to one prefix at most one is selected."""
    command = "show ip route json" if family == "ipv4" else "show ipv6 route json"
    answer = vty.show_json("zebra", command) or {}
    return [_zebra_route(entry) for entries in answer.values() for entry in entries]


def router_id(vty: Vty) -> str:
    """Read the router's BGP identifier; 0.0.0.0 while zebra has not told bgpd an address and none is configured."""
    answer = vty.show_json("bgpd", "show bgp ipv4 unicast summary json") or {}
    return str(answer.get("ipv4Unicast", answer).get("routerId", "0.0.0.0"))


def _is_peer(data: object) -> bool:
    return isinstance(data, dict) and "bgpState" in data


def _peer(address: str, data: Mapping[str, Any]) -> BgpPeer:
    state = data["bgpState"]
    negotiated = state in _NEGOTIATED
    families = data.get("addressFamilyInfo", {})
    return BgpPeer(
        address=address,
        remote_as=data.get("remoteAs", 0),
        local_as=data.get("localAs", 0),
        state=state,
        uptime=_seconds(data.get("bgpTimerUpMsec")) if state == "Established" else None,
        hold=_seconds(data.get("bgpTimerHoldTimeMsecs")) if negotiated else None,
        keepalive=_seconds(data.get("bgpTimerKeepAliveIntervalMsecs")) if negotiated else None,
        configured_hold=_seconds(data.get("bgpTimerConfiguredHoldTimeMsecs")) or 0.0,
        configured_keepalive=_seconds(data.get("bgpTimerConfiguredKeepAliveIntervalMsecs")) or 0.0,
        graceful_restart=_graceful_restart(data),
        last_notification=_notification(data),
        last_reset=data.get("lastResetDueTo", ""),
        prefixes_received={_family(name): entry.get("acceptedPrefixCounter", 0) for name, entry in families.items()},
        md5=bool(data.get("authenticationEnabled")),
        ttl=data.get("externalBgpNbrMaxHopsAway", data.get("internalBgpNbrMaxHopsAway")),
        description=data.get("nbrDesc", ""),
        remote_router_id=data.get("remoteRouterId", "0.0.0.0"),
        local_address=data.get("hostLocal") if negotiated else None,
        established_count=data.get("connectionsEstablished", 0),
        dropped_count=data.get("connectionsDropped", 0),
        shut_down=bool(data.get("adminShutDown")),
    )


def _graceful_restart(data: Mapping[str, Any]) -> GracefulRestart:
    info = data.get("gracefulRestartInfo", {})
    timers = info.get("timers", {})
    by_family = {_family(name): entry for name, entry in info.items() if isinstance(entry, dict) and "fBit" in entry}
    return GracefulRestart(
        local_mode=info.get("localGrMode", "NotApplicable"),
        remote_mode=info.get("remoteGrMode", "NotApplicable"),
        r_bit=bool(info.get("rBit")),
        n_bit=bool(info.get("nBit")),
        f_bit={family: bool(entry["fBit"]) for family, entry in by_family.items()},
        capability=data.get("neighborCapabilities", {}).get("gracefulRestart"),
        restart_time=timers.get("receivedRestartTimer"),
        eor_sent=_families(info.get("endOfRibSend", {})),
        eor_received=_families(info.get("endOfRibRecv", {})),
        restart_timer=_seconds(info.get("gracefulRestartTimerMsecs")),
        stale_timer=_seconds(info.get("gracefulStalepathTimerMsecs")),
    )


def _notification(data: Mapping[str, Any]) -> Notification | None:
    code = data.get("lastErrorCodeSubcode")
    if not code:
        return None
    return Notification(
        # FRR prints both as two hexadecimal digits each: "0602".
        code=int(code[:2], 16),
        subcode=int(code[2:4], 16),
        text=data.get("lastNotificationReason", ""),
        direction="received" if "received" in data.get("lastResetDueTo", "") else "sent",
        hard_reset=bool(data.get("lastNotificationHardReset")),
    )


def _paths(data: Any) -> tuple[BgpPath, ...]:
    # FRR 8.4 gives a list whose first entry describes the prefix; later ones an object with "paths".
    entries = data.get("paths", []) if isinstance(data, dict) else data
    return tuple(_path(entry) for entry in entries if "nexthops" in entry)


def _path(data: Mapping[str, Any]) -> BgpPath:
    hops = data["nexthops"]
    link_local = next((hop["ip"] for hop in hops if hop.get("scope") == "link-local"), None)
    peer = data.get("peer", {}).get("peerId", data.get("peerId"))
    best = data.get("bestpath", {})
    as_path = data.get("aspath", {})
    return BgpPath(
        next_hop=next((hop["ip"] for hop in hops if hop.get("scope") != "link-local"), link_local or ""),
        link_local=link_local,
        peer=None if peer in (None, "0.0.0.0", "::", "(unspec)") else peer,
        as_path=tuple(asn for segment in as_path.get("segments", []) for asn in segment.get("list", [])),
        local_pref=data.get("locPrf", data.get("localpref")),
        med=data.get("metric", data.get("med")),
        communities=tuple(data.get("community", {}).get("list", ())),
        large_communities=tuple(data.get("largeCommunity", {}).get("list", ())),
        origin=data.get("origin", ""),
        stale=bool(data.get("stale")),
        valid=bool(data.get("valid")),
        best=bool(best.get("overall") if isinstance(best, dict) else best),
        multipath=bool(data.get("multipath")),
    )


def _zebra_route(data: Mapping[str, Any]) -> ZebraRoute:
    hops = tuple(
        ZebraNextHop(
            address=hop.get("ip"),
            interface=hop.get("interfaceName"),
            fib=bool(hop.get("fib")),
            active=bool(hop.get("active")),
            weight=hop.get("weight", 1),
        )
        for hop in data.get("nexthops", [])
    )
    return ZebraRoute(
        prefix=data["prefix"],
        protocol=data["protocol"],
        next_hops=hops,
        selected=bool(data.get("selected")),
        installed=bool(data.get("installed")),
        distance=data.get("distance", 0),
        metric=data.get("metric", 0),
    )


def _family(name: str) -> str:
    return _FAMILIES.get(name, name)


def _families(names: Iterable[str]) -> frozenset[str]:
    return frozenset(_family(name) for name in names)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
