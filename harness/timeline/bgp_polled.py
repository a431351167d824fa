"""bgpd's sessions and routes where it has no BMP module: asked for over and over, and compared.

The fallback for an FRR without `bgpd_bmp.so`. What lies between two looks is missed: an UPDATE that is taken back
within it, a session that comes back within it. The OPENs' bits are FRR's account of them; End-of-RIB is when it
counted it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from harness.routing import frr
from harness.routing.bgp_message import NotificationMessage
from harness.routing.frr import BgpPeer, Vty, VtyError
from harness.timeline import event
from harness.timeline.bgp import notification_text
from harness.timeline.event import Event
from harness.timeline.names import Names

#: Seconds between two looks at the summary, which tells whether anything has changed. One takes bgpd and its reader
#: 0.3 ms each: together 3.5 % of a core (measured, small.yaml).
_EVERY = 0.015
#: Seconds after a change for which everything is read: an End-of-RIB does not show in the summary.
_CLOSELY = 2.0
_FAMILIES = ("ipv4", "ipv6")

#: (prefix, peer)
RouteKey = tuple[str, str]


class PolledBgp:
    """Follows one router's bgpd in a thread of its own.

    Args:
        router: The router's name.
        folder: Where its vty sockets are.
        names: Names of hosts by address.
        emit: Is called from the thread with events.
    """

    def __init__(self, router: str, folder: Path, names: Names, emit: Callable[[list[Event]], None]) -> None:
        self._vty = Vty(folder)
        self._emit = emit
        self._pause = threading.Event()
        self.compare = Comparison(router, names)
        threading.Thread(target=self._run, name=f"bgp {router}", daemon=True).start()

    def _run(self) -> None:
        seen: object = None
        closely_until = 0.0
        while True:
            asked = time.monotonic_ns()
            try:
                now = self._fingerprint()
                if now != seen:
                    seen, closely_until = now, time.monotonic() + _CLOSELY
                if time.monotonic() < closely_until:
                    events = list(self.compare.look(*self._everything(), asked, time.monotonic_ns()))
                else:
                    self.compare.unchanged(asked)
                    events = []
            except (OSError, VtyError):
                seen, events = None, list(self.compare.away(asked))
            if events:
                self._emit(events)
            self._pause.wait(_EVERY)

    def _fingerprint(self) -> object:
        """What differs as soon as a session or a route does."""
        summary = self._vty.show_json("bgpd", "show bgp summary json") or {}
        return [
            (name, family.get("tableVersion"), [(a, _state(peer)) for a, peer in family.get("peers", {}).items()])
            for name, family in summary.items()
            if isinstance(family, dict)
        ]

    def _everything(self) -> tuple[list[BgpPeer], dict[RouteKey, str]]:
        routes = {
            (route.prefix, path.peer): path.next_hop
            for family in _FAMILIES
            for route in frr.bgp_routes(self._vty, family)
            for path in route.paths
            if path.peer is not None
        }
        return frr.bgp_peers(self._vty), routes


def _state(peer: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(peer.get(key) for key in ("state", "pfxRcd", "connectionsEstablished", "connectionsDropped"))


class Comparison:
    """What differs between two looks at a bgpd. Pure."""

    def __init__(self, router: str, names: Names) -> None:
        self._router = router
        self._names = names
        self._peers: dict[str, BgpPeer] = {}
        self._routes: dict[RouteKey, str] = {}
        self._looked_ns: int | None = None
        self._away_ns: int | None = None

    def away(self, at_ns: int) -> Iterator[Event]:
        """It did not answer."""
        if self._looked_ns is not None and self._away_ns is None:
            self._away_ns = self._looked_ns
            resolution = at_ns - self._looked_ns
            yield self._event(event.SPEAKER_DOWN, "", f"{self._router}'s bgpd is gone", at_ns, resolution, {})
        self._peers, self._routes = {}, {}

    def unchanged(self, asked_ns: int) -> None:
        """A look has shown that all is as before."""
        if self._looked_ns is not None:
            self._looked_ns = asked_ns

    def look(self, peers: list[BgpPeer], routes: dict[RouteKey, str], asked_ns: int, at_ns: int) -> Iterator[Event]:
        """It answered.

        Args:
            peers: Its sessions.
            routes: Its paths' next hops.
            asked_ns: When it was asked.
            at_ns: When it had answered.
        """
        resolution = at_ns - (asked_ns if self._looked_ns is None else self._looked_ns)
        if self._away_ns is not None:
            data = {"from_ns": self._away_ns, "to_ns": at_ns}
            text = f"nobody told of {self._router}'s BGP for {(at_ns - self._away_ns) / 1e9:.3f} s"
            yield self._event(event.BLIND, "", text, at_ns, resolution, data)
            yield self._event(event.SPEAKER_UP, "", f"{self._router}: bgpd answers", at_ns, resolution, {})
            self._away_ns = None
        first = self._looked_ns is None
        self._looked_ns = asked_ns
        if not first:
            for peer in peers:
                yield from self._peer(self._peers.get(peer.address), peer, at_ns, resolution)
            yield from self._changed_routes(routes, at_ns, resolution)
        self._peers = {peer.address: peer for peer in peers}
        self._routes = routes

    def _peer(self, before: BgpPeer | None, now: BgpPeer, at_ns: int, resolution: int) -> Iterator[Event]:
        was_up = before is not None and before.established
        again = before is not None and now.established_count > before.established_count
        who = self._names.of(now.address)
        if was_up and (again or not now.established):
            yield self._down(now, who, at_ns, resolution)
        if now.established and (again or not was_up):
            graceful = now.graceful_restart
            data = {
                "peer": now.address,
                "direction": "received",
                "hold_time": now.hold,
                "graceful_restart": {
                    "r_bit": graceful.r_bit,
                    "n_bit": graceful.n_bit,
                    "f_bit": dict(graceful.f_bit),
                    "restart_time": graceful.restart_time,
                }
                if graceful.negotiated
                else None,
            }
            yield self._event(event.OPEN, who, f"OPEN of {who}, as FRR tells of it", at_ns, resolution, data)
            text = f"session with {who} is Established, hold time {now.hold:g} s" if now.hold else f"{who} is up"
            data = {"peer": now.address, "asn": now.remote_as, "hold_time": now.hold, "local": now.local_address}
            yield self._event(event.PEER_UP, who, text, at_ns, resolution, data)
        counted = before.graceful_restart.eor_received if before is not None and was_up and not again else frozenset()
        for family in sorted(now.graceful_restart.eor_received - counted) if now.established else ():
            data = {"peer": now.address, "family": family}
            yield self._event(event.END_OF_RIB, who, f"End-of-RIB for {family} from {who}", at_ns, resolution, data)

    def _down(self, now: BgpPeer, who: str, at_ns: int, resolution: int) -> Event:
        data: dict[str, object] = {"peer": now.address, "reason": now.last_reset}
        why = now.last_reset or "no reason given"
        if now.last_notification is not None and "notification" in now.last_reset.lower():
            last = now.last_notification
            message = NotificationMessage(last.code, last.subcode, b"")
            why = f"NOTIFICATION {notification_text(message)} {last.direction}"
            data |= {
                "code": last.code,
                "subcode": last.subcode,
                "hard_reset": last.hard_reset,
                "direction": last.direction,
                "notification": notification_text(message),
            }
        return self._event(event.PEER_DOWN, who, f"session with {who} is down: {why}", at_ns, resolution, data)

    def _changed_routes(self, routes: dict[RouteKey, str], at_ns: int, resolution: int) -> Iterator[Event]:
        for (prefix, peer), hop in routes.items():
            if self._routes.get((prefix, peer)) != hop:
                who = self._names.of(peer)
                data = {"peer": peer, "prefix": prefix, "next_hop": hop, "view": "table"}
                text = f"{prefix} from {who} is in the table"
                yield self._event(event.ACCEPTED, who, text, at_ns, resolution, data)
        for prefix, peer in self._routes.keys() - routes.keys():
            who = self._names.of(peer)
            data = {"peer": peer, "prefix": prefix, "view": "table"}
            yield self._event(event.DROPPED, who, f"{prefix} from {who} leaves the table", at_ns, resolution, data)

    def _event(self, kind: str, peer: str, text: str, at_ns: int, resolution: int, data: Mapping[str, object]) -> Event:
        data = {**data, "peer_name": peer} if peer else data
        shown = f"{self._router}: {text}" if peer else text
        return Event(at_ns, f"vty {self._router}", kind, self._router, shown, resolution, data)
