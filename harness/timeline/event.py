"""One event of a lab: when it happened on CLOCK_MONOTONIC, who says so, and how far off the stamp may be.

CLOCK_MONOTONIC is the same in every namespace and container of a host (time namespaces are not used), so stamps of the
kernel, of bgpd, of the lab host and of the probes compare without conversion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Kinds. The part before the dot groups them: a filter for "bgp" takes all of BGP.
FAULT = "fault"
OUTAGE_BEGIN, OUTAGE_END = "probe.outage_begin", "probe.outage_end"
#: A probe has ended: what it sent, and where, from when to when; also one that lost nothing.
PROBED = "probe.ran"
#: The server begins to see a flow under another address: an address translation on the way has lost its state.
SEEN_AS = "probe.seen_as"
#: A session reached Established, or left it.
PEER_UP, PEER_DOWN = "bgp.peer_up", "bgp.peer_down"
#: An OPEN of a session, known when the session is established.
OPEN = "bgp.open"
#: End-of-RIB (RFC 4724 section 2), from the peer.
END_OF_RIB = "bgp.eor"
#: What the peer said in an UPDATE.
ANNOUNCE, WITHDRAW = "bgp.announce", "bgp.withdraw"
#: What passed the router's policy, or is not in its table any more (Adj-RIB-In post-policy, RFC 7854 section 5).
ACCEPTED, DROPPED = "bgp.accepted", "bgp.dropped"
#: A path is kept for a peer that restarts, or is so no more (RFC 4724 section 4.2).
STALE, FRESH = "bgp.stale", "bgp.fresh"
#: bgpd itself introduced itself or went away.
SPEAKER_UP, SPEAKER_DOWN = "bgp.speaker_up", "bgp.speaker_down"
FIB_ADD, FIB_REPLACE, FIB_DELETE = "fib.add", "fib.replace", "fib.del"
NEIGHBOUR = "neighbour"
#: Somebody told a router's network by gratuitous ARP where an address is.
ARP_ANNOUNCED = "arp.announced"
#: A router with FreeBSD's ARP: an address is asked for; is known at a MAC; is known at another one; is asked for again
#: because its entry is about to expire; has answered that; is forgotten after having been known; is forgotten without
#: having answered; its senders are told that it is down.
ARP_ASKED, ARP_LEARNED, ARP_MOVED = "arp.incomplete", "arp.learned", "arp.moved"
ARP_VERIFY, ARP_VERIFIED, ARP_EXPIRED = "arp.verify_request", "arp.verified", "arp.expired"
ARP_TIMED_OUT, ARP_DOWN = "arp.timed_out", "arp.host_down"
#: lblab's own announcer: begins to answer for an address, stops, is made silent, speaks again.
ANNOUNCER_ON, ANNOUNCER_OFF = "announcer.announced", "announcer.withdrawn"
ANNOUNCER_MUTED, ANNOUNCER_UNMUTED = "announcer.muted", "announcer.unmuted"
LINK_UP, LINK_DOWN, LINK_GONE = "link.up", "link.down", "link.gone"
ADDRESS_ADD, ADDRESS_DELETE = "address.add", "address.del"
SERVICE, ENDPOINTS, NODE, POD = "k8s.service", "k8s.endpoints", "k8s.node", "k8s.pod"
#: The holder of a lease has changed.
LEASE = "k8s.lease"
STARTED, READY, SIGNALLED, ENDED = "process.started", "process.ready", "process.signalled", "process.ended"
LOG = "log"
#: A source could not see for a while; `from_ns` and `to_ns` in its data.
BLIND = "blind"


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        at_ns: When, nanoseconds of CLOCK_MONOTONIC.
        source: Who says so: "rtnetlink opnsense", "bmp opnsense", "supervisor", "kubernetes", "fault", ...
        kind: What it is; one of this module's constants.
        subject: What it happened to: a host, a process, an object. Names are those of the topology.
        text: One line for a person, without the time.
        resolution_ns: The event happened at most so long before its stamp (for a probe: around it).
        data: The same in parts, as JSON types.
    """

    at_ns: int
    source: str
    kind: str
    subject: str
    text: str
    resolution_ns: int
    data: Mapping[str, Any] = field(default_factory=dict)

    def is_a(self, *kinds: str) -> bool:
        """Whether it is of one of these kinds, or of one of these groups of kinds."""
        return self.kind in kinds or self.kind.partition(".")[0] in kinds

    @property
    def is_fault(self) -> bool:
        """Whether it is a fault that begins; the end of one is of the same kind, with `undo` in its data."""
        return self.kind == FAULT and not self.data.get("undo")

    def line(self) -> bytes:
        """Render it as one line of JSON."""
        fields = {
            "at_ns": self.at_ns,
            "source": self.source,
            "kind": self.kind,
            "subject": self.subject,
            "text": self.text,
            "resolution_ns": self.resolution_ns,
        }
        if self.data:
            fields["data"] = dict(self.data)
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes | str) -> Event:
        """Read a line back.

        Raises:
            ValueError: when it is no event.
        """
        try:
            raw = json.loads(line)
            return cls(
                at_ns=int(raw["at_ns"]),
                source=str(raw["source"]),
                kind=str(raw["kind"]),
                subject=str(raw["subject"]),
                text=str(raw["text"]),
                resolution_ns=int(raw["resolution_ns"]),
                data=dict(raw.get("data", {})),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no event: {line!r}") from error
