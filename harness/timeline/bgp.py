"""bgpd's BMP stream (harness.routing.bmp) as events of the timeline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.routing import bmp
from harness.routing.bgp_message import NotificationMessage, Open
from harness.timeline import event
from harness.timeline.event import Event
from harness.timeline.names import Names
from harness.timeline.stamp import Stamp

#: RFC 4271 section 4.5, RFC 7313 section 5 (7).
_CODES = {
    1: "Message Header Error",
    2: "OPEN Message Error",
    3: "UPDATE Message Error",
    4: "Hold Timer Expired",
    5: "Finite State Machine Error",
    6: "Cease",
    7: "ROUTE-REFRESH Message Error",
}
#: RFC 4271 section 4.5, RFC 4486 section 4, RFC 5492 (2/7), RFC 6608 (5), RFC 8538 section 3 (6/9), RFC 9384 (6/10).
_SUBCODES = {
    (2, 1): "Unsupported Version Number",
    (2, 2): "Bad Peer AS",
    (2, 3): "Bad BGP Identifier",
    (2, 6): "Unacceptable Hold Time",
    (2, 7): "Unsupported Capability",
    (5, 1): "Unexpected Message in OpenSent",
    (5, 2): "Unexpected Message in OpenConfirm",
    (5, 3): "Unexpected Message in Established",
    (6, 1): "Maximum Number of Prefixes Reached",
    (6, 2): "Administrative Shutdown",
    (6, 3): "Peer De-configured",
    (6, 4): "Administrative Reset",
    (6, 5): "Connection Rejected",
    (6, 6): "Other Configuration Change",
    (6, 7): "Connection Collision Resolution",
    (6, 8): "Out of Resources",
    (6, 9): "Hard Reset",
    (6, 10): "BFD Down",
}
_HARD_RESET = (6, 9)
#: The peer of routes that the router itself originates.
_NOBODY = ("0.0.0.0", "::")
#: RFC 4271 section 8.1, those of which a session dies without a NOTIFICATION.
_FSM_EVENTS = {
    0: "the TCP connection ended without a NOTIFICATION",  # FRR does not tell which event it was
    2: "stopped by the operator",
    8: "stopped automatically",
    10: "its hold timer expired",
    18: "its TCP connection failed",
}


class BgpWatch:
    """Turns what one router's bgpd tells into events.

    Args:
        router: The router's name.
        names: Names of hosts by address.
    """

    def __init__(self, router: str, names: Names) -> None:
        self.router = router
        self.source = f"bmp {router}"
        self._names = names
        self._away_since: int | None = None
        self._up: set[str] = set()

    def told(self, what: bmp.Event, stamp: Stamp) -> Iterator[Event]:
        """Give the events of one message."""
        if isinstance(what, bmp.SpeakerUp):
            yield from self._speaker_up(what, stamp)
        elif isinstance(what, bmp.SpeakerDown):
            self._away_since = stamp.at_ns
            self._up.clear()
            yield self._event(stamp, event.SPEAKER_DOWN, "", f"{self.router}'s bgpd is gone", {})
        elif isinstance(what, bmp.PeerUp):
            self._up.add(what.peer)
            yield from self._peer_up(what, stamp)
        elif isinstance(what, bmp.PeerDown):
            # FRR also tells of attempts that came to nothing
            if what.peer in self._up:
                self._up.remove(what.peer)
                yield self._peer_down(what, stamp)
        elif isinstance(what, bmp.EndOfRib):
            # otherwise it only ends bgpd's first account of what it already has
            if what.view == "mirrored":
                who = self._names.of(what.peer)
                text = f"End-of-RIB for {what.family} from {who}"
                yield self._event(stamp, event.END_OF_RIB, who, text, {"peer": what.peer, "family": what.family})
        elif isinstance(what, bmp.RouteChange) and what.peer not in _NOBODY:
            yield from self._routes(what, stamp)

    def _speaker_up(self, what: bmp.SpeakerUp, stamp: Stamp) -> Iterator[Event]:
        if self._away_since is not None:
            data = {"from_ns": self._away_since, "to_ns": stamp.at_ns}
            seconds = (stamp.at_ns - self._away_since) / 1e9
            text = f"nobody told of {self.router}'s BGP for {seconds:.3f} s"
            yield Event(stamp.at_ns, self.source, event.BLIND, self.router, text, stamp.resolution_ns, data)
            self._away_since = None
        description = what.description.splitlines()[0] if what.description else "bgpd"
        yield self._event(stamp, event.SPEAKER_UP, "", f"{self.router}: {description} runs", {"name": what.name})

    def _peer_up(self, what: bmp.PeerUp, stamp: Stamp) -> Iterator[Event]:
        who = self._names.of(what.peer)
        for direction, message, sender in (("sent", what.sent, self.router), ("received", what.received, who)):
            data = {"peer": what.peer, "direction": direction, **_open(message)}
            yield self._event(stamp, event.OPEN, who, f"OPEN of {sender}: {_open_text(message)}", data)
        data = {"peer": what.peer, "asn": what.asn, "hold_time": what.hold_time, "local": what.local_address}
        text = f"session with {who} is Established, hold time {what.hold_time} s"
        yield self._event(stamp, event.PEER_UP, who, text, data)

    def _peer_down(self, what: bmp.PeerDown, stamp: Stamp) -> Event:
        who = self._names.of(what.peer)
        data: dict[str, Any] = {"peer": what.peer, "reason": what.reason}
        if what.notification is not None:
            direction = "sent" if what.reason.startswith("local") else "received"
            data |= {"direction": direction, **_notification(what.notification)}
            why = f"NOTIFICATION {notification_text(what.notification)} {direction}"
        elif what.fsm_event is not None:
            data["fsm_event"] = what.fsm_event
            why = _FSM_EVENTS.get(what.fsm_event, f"event {what.fsm_event} of RFC 4271 section 8.1")
        elif what.reason == "remote, no notification":
            why = f"{who} closed the TCP connection without a NOTIFICATION"
        else:
            why = what.reason
        return self._event(stamp, event.PEER_DOWN, who, f"session with {who} is down: {why}", data)

    def _routes(self, what: bmp.RouteChange, stamp: Stamp) -> Iterator[Event]:
        who, update = self._names.of(what.peer), what.update
        wire = what.view == "mirrored"
        data = {"peer": what.peer, "view": what.view}
        for prefix in update.withdrawn:
            kind = event.WITHDRAW if wire else event.DROPPED
            text = f"{who} withdraws {prefix}" if wire else f"{prefix} from {who} leaves the table"
            yield self._event(stamp, kind, who, text, {**data, "prefix": prefix})
        path = {"next_hop": update.next_hop, "as_path": update.as_path, "communities": update.communities}
        for prefix in update.announced:
            kind = event.ANNOUNCE if wire else event.ACCEPTED
            hop = self._names.of(update.next_hop or "")
            via = f" via {hop}" if hop != who else ""
            text = f"{who} announces {prefix}{via}" if wire else f"{prefix} from {who} is in the table{via}"
            yield self._event(stamp, kind, who, text, {**data, "prefix": prefix, **path})

    def _event(self, stamp: Stamp, kind: str, peer: str, text: str, data: dict[str, Any]) -> Event:
        data = {**data, "peer_name": peer} if peer else data
        at = f"{self.router}: " if peer else ""
        return Event(stamp.at_ns, self.source, kind, self.router, at + text, stamp.resolution_ns, data)


def notification_text(message: NotificationMessage) -> str:
    """Name a NOTIFICATION: `6/2 Cease/Administrative Shutdown`; a Hard Reset with what it carries."""
    name = _CODES.get(message.code, "unknown")
    if message.subcode:
        name += f"/{_SUBCODES.get((message.code, message.subcode), 'unknown')}"
    text = f"{message.code}/{message.subcode} {name}"
    inner = _inside(message)
    return f"{text} ({notification_text(inner)})" if inner else text


def _inside(message: NotificationMessage) -> NotificationMessage | None:
    """What a Hard Reset carries: the NOTIFICATION that would have been sent (RFC 8538 section 3.1)."""
    if (message.code, message.subcode) != _HARD_RESET or len(message.data) < 2:
        return None
    return NotificationMessage(message.data[0], message.data[1], message.data[2:])


def _notification(message: NotificationMessage) -> dict[str, Any]:
    inner = _inside(message) or message
    return {
        "code": inner.code,
        "subcode": inner.subcode,
        "hard_reset": (message.code, message.subcode) == _HARD_RESET,
        "notification": notification_text(message),
    }


def _open(message: Open) -> dict[str, Any]:
    graceful = message.graceful_restart
    return {
        "asn": message.asn,
        "hold_time": message.hold_time,
        "bgp_id": message.bgp_id,
        "families": sorted(message.families),
        "graceful_restart": None
        if graceful is None
        else {
            "r_bit": graceful.r_bit,
            "n_bit": graceful.n_bit,
            "f_bit": dict(graceful.f_bit),
            "restart_time": graceful.restart_time,
        },
    }


def _open_text(message: Open) -> str:
    graceful = message.graceful_restart
    if graceful is None:
        return f"hold time {message.hold_time} s, no graceful restart"
    bits = "".join(
        letter
        for letter, is_set in (
            ("R", graceful.r_bit),
            ("N", graceful.n_bit),
            ("F", bool(graceful.f_bit) and all(graceful.f_bit.values())),
        )
        if is_set
    )
    kept = ", ".join(f"{family}{' F' if f else ''}" for family, f in sorted(graceful.f_bit.items())) or "no family"
    return (
        f"hold time {message.hold_time} s, graceful restart {graceful.restart_time} s for {kept}, bits {bits or 'none'}"
    )
