"""How long an outage should be, from the timers that are configured. Seconds.

Each formula names its source: a section of shared/facts, where the reading of the code or the measurement stands. They
are for flows that have no other next hop; where another one takes them over, `share_of_flows` says how many are hit.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log10
from typing import Any

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Prediction:
    """A range of durations in seconds, the likeliest of them, and why."""

    low: float
    likely: float
    high: float
    formula: str
    source: str

    def __str__(self) -> str:
        return f"{self.low:.1f} to {self.high:.1f} s ({self.formula})"

    def facts(self) -> dict[str, Any]:
        """For a result's JSON; durations in milliseconds."""
        return {
            "low_ms": self.low * 1e3,
            "likely_ms": self.likely * 1e3,
            "high_ms": self.high * 1e3,
            "formula": self.formula,
            "source": self.source,
        }


@dataclass(frozen=True)
class BgpTimers:
    """The negotiated timers of a session, in seconds (RFC 4271, 4724).

    `idle_hold` is what Cilium waits after a session is lost before it connects again: IdleHoldTimeAfterReset=5, set by
    Cilium since 1.14 (facts/cilium.md, section 1).
    """

    hold: float
    keepalive: float
    restart: float = 0.0
    connect_retry: float = 120.0
    idle_hold: float = 5.0


@dataclass(frozen=True)
class Lease:
    """Cilium L2 announcements' leader election, in seconds; defaults of Helm's l2announcements (facts/cilium.md, 7)."""

    duration: float = 15.0
    retry: float = 2.0
    renew_deadline: float = 5.0


#: client-go waits RetryPeriod times 1 to 1 + JitterFactor (1.2) between two attempts to get a lease.
_LEASE_JITTER = 2.2

#: hashicorp/memberlist's DefaultLANConfig as MetalLB uses it (facts/l2_and_lag.md, 1.4).
_SUSPICION_MULT = 4
_SUSPICION_MAX_MULT = 6
#: Seconds until the probe that notices: each member probes the others in turns, in an order that is shuffled after each
#: round, so up to 2 (N - 1) - 1 intervals of 1 s lie between two probes of one of them (memberlist, state.go). That the
#: others probe it, too, makes more than 3 s rare. A member that was itself in trouble lately probes less often
#: (awareness.go), which is not part of the prediction.
_PROBE_WAIT = 3.0
_PROBE_FAILS = 1.0
_GOSSIP = 0.3
_GARP = 0.1

#: Time from an established session, or one that is lost, to the router's kernel route (facts/opnsense.md, 6: 0.4 s).
_ROUTE_CHANGE = 0.4
#: From the start of a Cilium agent's control plane until it has read configuration and services (shared/design.md).
_AGENT_STARTS = 1.0

#: FreeBSD's ARP (facts/l2_and_lag.md, 2.1): lifetime since the last ARP packet heard from an address.
FREEBSD_ARP_MAX_AGE = 1200.0
_FREEBSD_DELETED = FREEBSD_ARP_MAX_AGE + 1
#: Linux: base_reachable_time 30 s times at most 1.5, delay_first_probe_time 5, 3 probes 1 s apart, then a new request.
_LINUX_ARP_STALE = 45.0 + 5 + 3 + 1


def keepalive_age(timers: BgpTimers) -> Prediction:
    """From a silent loss until the hold timer expires: the hold time minus the age of the last keepalive."""
    low = timers.hold - timers.keepalive
    return Prediction(
        low,
        (low + timers.hold) / 2,
        timers.hold,
        f"hold {timers.hold:g} s - age of the last keepalive (0 to {timers.keepalive:g} s)",
        "RFC 4271 section 4.4; facts/l2_and_lag.md section 7: 6.1 to 8.4 s for hold 9",
    )


def silent_node(timers: BgpTimers, *, graceful_restart: bool, notification_bit: bool = True) -> Prediction:
    """A node whose packets vanish: nobody tells the router.

    With graceful restart and the N-bit (RFC 8538) the router keeps the routes as stale when the hold timer expires, for
    the restart time on top; without the N-bit an expired hold timer ends them (RFC 4724).
    """
    detected = keepalive_age(timers)
    if not (graceful_restart and notification_bit):
        return _and(detected, 0, _ROUTE_CHANGE, "route withdrawn", "facts/opnsense.md section 6: 7.6 s for hold 9")
    return _and(
        detected,
        timers.restart,
        timers.restart + _ROUTE_CHANGE,
        f"restart time {timers.restart:g} s",
        "facts/opnsense.md section 6: 27.6 s for hold 9, restart 20",
    )


def node_killed(timers: BgpTimers, *, graceful_restart: bool) -> Prediction:
    """A node that ends with its sockets closed (a container killed): the router sees the end of TCP at once."""
    if graceful_restart:
        return Prediction(
            timers.restart,
            timers.restart,
            timers.restart + _ROUTE_CHANGE,
            f"TCP closed at once + restart time {timers.restart:g} s",
            "facts/l2_and_lag.md section 7: 20 s for restart 20",
        )
    return Prediction(
        0, 0.1, _ROUTE_CHANGE, "TCP closed at once, route withdrawn", "facts/l2_and_lag.md section 7: 0.1 s"
    )


def link_down(timers: BgpTimers, *, carrier_lost_at_router: bool, graceful_restart: bool) -> Prediction:
    """A node's link goes down.

    When the router loses carrier, too, its connected route goes and with it every route over it, stale or not. Behind a
    bridge or a switch it notices nothing.
    """
    if not carrier_lost_at_router:
        return silent_node(timers, graceful_restart=graceful_restart)
    return Prediction(
        0, 0.2, _ROUTE_CHANGE, "next hop on a dead link is withdrawn", "facts/opnsense.md section 6: 0.4 s"
    )


def agent_gone(timers: BgpTimers, *, graceful_restart: bool, watched: float) -> Prediction:
    """Cilium's agent ends for good: routes go at once, or with graceful restart after the restart time.

    Args:
        timers: Of the session.
        graceful_restart: Negotiated both ways.
        watched: For how many seconds after the end of the agent traffic is watched; the outage has no other end.
    """
    kept = timers.restart if graceful_restart else 0.0
    longest = max(0.0, watched - kept)
    return Prediction(
        max(0.0, longest - _ROUTE_CHANGE),
        longest,
        longest,
        f"watched {watched:g} s - routes kept {kept:g} s",
        "RFC 4724 section 4.2; facts/opnsense.md section 6: removed after 20.3 s for restart 20",
    )


def agent_restarted(
    timers: BgpTimers,
    *,
    graceful_restart: bool,
    back_after: float,
    cilium: Version,
    starts: tuple[float, float] = (0.0, _AGENT_STARTS),
) -> Prediction:
    """Cilium's agent gone and started again; its datapath goes on forwarding meanwhile.

    Args:
        timers: Of the session.
        graceful_restart: Negotiated both ways.
        back_after: Seconds until the agent is started again.
        cilium: Its version.
        starts: At least and at most, seconds until an agent that is started begins to connect.
    """
    low, high = first_connect(cilium)
    back_low, back_high = back_after + starts[0] + low, back_after + high + starts[1] + _ROUTE_CHANGE
    text = f"agent back after {back_after:g} s + first connect {low:g} to {high:g} s"
    if starts[0]:
        text += f" + {starts[0]:g} to {starts[1]:g} s in which the whole agent starts"
    source = "facts/cilium.md section 3.3; shared/design.md: peers up 1.2 s after start"
    kept = 0.0
    if graceful_restart:
        kept = timers.restart
        text += f" - restart time {timers.restart:g} s, for which routes are kept"
        source = "RFC 4724 section 4.2; facts/cilium.md section 3.5"
    low, high = max(0.0, back_low - kept), max(0.0, back_high - kept)
    return Prediction(low, (low + high) / 2, high, text, source)


def router_bgpd_restarted(timers: BgpTimers, *, back_after: float, cilium: Version, start: float = 0.2) -> Prediction:
    """The router's bgpd killed and started again without graceful restart: all routes are gone meanwhile.

    Cilium does not listen, so the router waits for it: it stays idle, connects, and when it is refused because bgpd is
    not there yet, tries again only after its connect-retry time.

    Args:
        timers: Of the session.
        back_after: Seconds until bgpd is started.
        cilium: The version of the agents.
        start: Seconds until bgpd accepts connections after its start (shared/design.md: 0.1 s).
    """
    low, high = first_connect(cilium)
    text = f"idle {timers.idle_hold:g} s + connect {low:g} to {high:g} s"
    earliest, latest = timers.idle_hold + low, timers.idle_hold + high
    ready = back_after + start
    if ready > earliest:  # the first attempt may come, or does come, before bgpd is back
        again_low, again_high = next_connect(timers.connect_retry, cilium)
        text += f", again after {again_low:g} to {again_high:g} s while bgpd is not back ({ready:g} s)"
        if ready > latest:
            earliest += again_low
        attempts = ceil((ready - timers.idle_hold - low) / again_low)  # after so many more bgpd is there for certain
        earliest, latest = max(earliest, ready), latest + attempts * again_high
    return Prediction(
        earliest,
        (earliest + latest) / 2,
        latest + _ROUTE_CHANGE,
        text,
        "facts/cilium.md section 3.3; facts/l2_and_lag.md section 7: 10 to 14 s with Cilium 1.17",
    )


def first_connect(cilium: Version) -> tuple[float, float]:
    """Seconds until Cilium first connects, after its start or its idle time, by its GoBGP (facts/cilium.md, 3.3)."""
    if cilium >= (1, 20, 0):
        return 1.5, 2.0  # GoBGP 4
    if cilium >= (1, 18, 0) or (1, 17, 3) <= cilium < (1, 18, 0) or (1, 16, 10) <= cilium < (1, 17, 0):
        return 1.0, 2.0  # GoBGP 3.35
    return 5.0, 10.0


def next_connect(connect_retry: float, cilium: Version) -> tuple[float, float]:
    """Seconds between two attempts: T to 2T up to Cilium 1.19, 0.75 T to T from 1.20 on (facts/cilium.md, 3.2)."""
    if cilium >= (1, 20, 0):
        return 0.75 * connect_retry, connect_retry
    least = max(connect_retry, first_connect(cilium)[0])
    return least, 2 * least


def share_of_flows(next_hops: int, lost: int = 1) -> float:
    """Which share of the flows is hit when some of so many equal next hops go: the ECMP hash spreads them evenly."""
    return lost / next_hops


def metallb_speaker_lost(speakers: int, *, confirmed: bool = True) -> Prediction:
    """A MetalLB speaker that vanishes: memberlist has to suspect it and then give it up.

    Args:
        speakers: Members before the loss.
        confirmed: Whether other members confirm the suspicion; with one-sided loss they do not, and it takes longest.
    """
    least = _SUSPICION_MULT * max(1.0, log10(speakers)) * 1.0
    # With fewer than four members no confirmations are expected, and the timeout is the least one at once.
    timeout = least if confirmed or speakers < 4 else _SUSPICION_MAX_MULT * least
    wait = min(2.0 * (speakers - 1) - 1, _PROBE_WAIT)
    return Prediction(
        _PROBE_FAILS + timeout,
        _PROBE_FAILS + timeout + 0.5 + _GOSSIP,
        wait + _PROBE_FAILS + timeout + _GOSSIP + _GARP,
        f"probe due (0 to {wait:g} s) + failed {_PROBE_FAILS:g} s + suspicion {timeout:.1f} s + gossip",
        "facts/l2_and_lag.md section 1.4",
    )


def metallb_speaker_left() -> Prediction:
    """A MetalLB speaker that is stopped in order leaves the memberlist, and the next one announces at once."""
    return Prediction(0, 0.2, 1.0, "leave message, gratuitous ARP", "facts/l2_and_lag.md section 1.3: Leave(1 s)")


def cilium_l2_node_lost(lease: Lease | None = None) -> Prediction:
    """The holder of a Cilium L2 lease vanishes: the others notice its last change, wait its duration, try in turns."""
    lease = lease or Lease()
    poll = lease.retry * _LEASE_JITTER
    return Prediction(
        lease.duration - lease.retry,
        lease.duration + poll / 2,
        lease.duration + 2 * poll,
        f"lease {lease.duration:g} s - age (0 to {lease.retry:g} s) + noticed and taken (0 to {poll:g} s each)",
        "facts/cilium.md section 7; facts/l2_and_lag.md section 7: 14 to 18 s",
    )


def cilium_l2_released(lease: Lease | None = None) -> Prediction:
    """The holder of a Cilium L2 lease stops in order and releases it (ReleaseOnCancel)."""
    poll = (lease or Lease()).retry * _LEASE_JITTER
    return Prediction(0, poll / 2, poll, f"next attempt of another node (0 to {poll:g} s)", "facts/cilium.md section 7")


def cilium_l2_given_up(lease: Lease | None = None) -> Prediction:
    """The holder of a Cilium L2 lease has no API server: when it answers no more.

    It tries to renew for the deadline, and then to release for as long again before it says that it leads no more. That
    is before another one may take the lease with Cilium's own timers; with a deadline of half the lease's duration it
    is not.
    """
    lease = lease or Lease()
    low = 2 * lease.renew_deadline
    return Prediction(
        low,
        low + lease.retry / 2,
        low + lease.retry,
        f"renewal due (0 to {lease.retry:g} s) + renew deadline {lease.renew_deadline:g} s + as long to release it",
        "client-go, tools/leaderelection: renew and release, with a timeout since 0.31",
    )


def freebsd_arp_silence(begin: float, end: float, *, heard: float = 0.0, scale: float = 1.0) -> Prediction:
    """Nobody answers ARP for an address for a while, before a router with FreeBSD's ARP.

    Args:
        begin: When the silence begins, seconds.
        end: When it ends.
        heard: When the router last heard an ARP packet of the address.
        scale: Factor on the router's timers in a lab with scaled time.
    """
    deleted = heard + _FREEBSD_DELETED * scale
    probes = heard + (FREEBSD_ARP_MAX_AGE - 4) * scale
    text = f"silent until {end:g} s, entry deleted at {deleted:g} s"
    source = "facts/l2_and_lag.md sections 2.1 and 2.3, F1"
    if begin > probes or end <= deleted:
        return Prediction(0, 0, 0, text + ": refreshed in time", source)
    outage = end - deleted
    return Prediction(outage, outage + scale / 2, outage + scale, text + f" + next request (0 to {scale:g} s)", source)


def lost_announcement(router: str) -> Prediction:
    """The old node is dead and the new one's gratuitous ARP was lost: until the router's entry runs out (F5)."""
    high = _FREEBSD_DELETED if router == "freebsd" else _LINUX_ARP_STALE
    return Prediction(
        0,
        high / 2,
        high,
        f"until the {router} router's ARP entry is verified again",
        "facts/l2_and_lag.md section 2.3, F5",
    )


def dead_backend(*, grace: float = 40.0, monitor: float = 5.0) -> Prediction:
    """A dead node's backends are chosen until its endpoints go: the node controller's grace time and its period."""
    return Prediction(
        grace,
        grace + monitor + 3,
        grace + 2 * monitor + 3,
        f"node-monitor-grace-period {grace:g} s + period {monitor:g} s + endpoint update",
        "facts/l2_and_lag.md section 7: about 48 s",
    )


def _and(first: Prediction, low: float, high: float, formula: str, source: str) -> Prediction:
    return Prediction(
        first.low + low, first.likely + (low + high) / 2, first.high + high, f"{first.formula} + {formula}", source
    )
