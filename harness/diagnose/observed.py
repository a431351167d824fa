"""What was observed, whoever saw it: flows with their gaps, and signs of what the network did. Pure data.

Timelines, captures, logs and kubectl's output are all turned into this, and nothing else decides anything. Times are
nanoseconds of one clock: a timeline's is CLOCK_MONOTONIC, a capture's the wall clock.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

SECOND = 1_000_000_000


@dataclass(frozen=True)
class Gap:
    """A time in which a flow did not work.

    Attributes:
        begin: The last packet that was well, as exactly as it is known.
        end: The first one that was well again; None when that was not seen.
        direction: Where packets were missing: up (to the server), down, both, or unknown.
        burst: Packets that came at once when it ended, beyond the usual: they had been held back, not lost.
        strangers: Packets that the server refused because it did not know their sender.
        stalled: For how long the server itself did not tick, nanoseconds; None when it does not say.
    """

    begin: int
    end: int | None
    direction: str = "unknown"
    burst: int = 0
    strangers: int = 0
    stalled: int | None = None

    def length(self, otherwise: int) -> int:
        """How long; to be told when it ended if that was not seen."""
        return (otherwise if self.end is None else self.end) - self.begin


@dataclass(frozen=True)
class Flow:
    """Traffic between a client and a server that should go on all the time.

    Attributes:
        name: What the report calls it.
        address: The server's address.
        port: Its port.
        begin: The first packet.
        end: The last one.
        interval: Nanoseconds between two packets.
        gaps: When it did not work.
        node: The MAC, or the name, of the host that the answers come from; empty when that is not seen.
        to_node: Whether the server's address is a node's own and no service's.
    """

    name: str
    address: str
    port: int
    begin: int
    end: int
    interval: float
    gaps: tuple[Gap, ...] = ()
    node: str = ""
    to_node: bool = False

    def through(self, begin: int, end: int) -> bool:
        """Whether it was there, and without a gap, in an interval."""
        return self.begin <= begin and self.end >= end and not any(self._hit(begin, end))

    def _hit(self, begin: int, end: int) -> Iterator[bool]:
        for gap in self.gaps:
            if gap.begin < end and (gap.end is None or gap.end > begin):
                yield True


class What(enum.Enum):
    """Kinds of signs. Who tells, and about whom, stands in the sign."""

    #: Somebody asks for an address by ARP; the router asks again for one that it has.
    ASKED, VERIFIES = "asked", "verifies"
    #: Somebody answers for it; the router hears that it is still where it was.
    ANSWERED = "answered"
    #: Somebody announces it by gratuitous ARP.
    ANNOUNCED = "announced"
    #: The router sends to another MAC than before.
    MOVED = "moved"
    #: The router has forgotten it; gives it up after asking.
    EXPIRED, UNRESOLVED = "expired", "unresolved"
    #: Somebody else claims a router's own address, or one that is fixed.
    CONFLICT = "conflict"
    #: MetalLB's leader, the holder of Cilium's lease.
    LEADER, LEASE = "leader", "lease"
    #: memberlist suspects a node, or a node's state changes.
    SUSPECTED, NODE_DOWN, NODE_UP = "suspected", "node down", "node up"
    #: A container, or a process of the cluster, ended.
    ENDED = "ended"
    LINK_DOWN, LINK_UP, TOPOLOGY_CHANGE = "link down", "link up", "topology change"
    PEER_DOWN, PEER_UP = "peer down", "peer up"
    #: The router's next hops of a route; `who` is the one that came, `before` the one that went.
    ROUTE = "route"
    #: ICMP or TCP say: no such host (the router), no such server (the host).
    HOST_UNREACHABLE, REFUSED = "host unreachable", "refused"
    #: A server sees a client under another address.
    SEEN_AS = "seen as"
    #: A node asks for its gateway, or another host, in order to send.
    NODE_ASKS = "node asks"
    #: The game server itself says that it stalls.
    SERVER = "server"


@dataclass(frozen=True)
class Sign:
    """Something that somebody saw.

    Attributes:
        at: When.
        what: What kind.
        about: The address, route, node or process that it happened to.
        who: Where the address is now, who announces or answers; a node's name where that is known, else a MAC.
        before: Where it was before.
        text: One line for a person.
        source: Who says so.
        wide: It may have happened so long before, nanoseconds.
    """

    at: int
    what: What
    about: str
    who: str = ""
    before: str = ""
    text: str = ""
    source: str = ""
    wide: int = 0


class Sees(enum.Enum):
    """What a recording would have shown, had it happened: without that, silence is no evidence."""

    #: ARP of the network that the address is in.
    ARP = "ARP on the nodes' network"
    #: Where the router sends packets for the address.
    NEXT_HOP = "the router's frames to the nodes"
    #: Links, and spanning tree.
    LINKS = "links"
    #: MetalLB's leader, memberlist.
    METALLB = "MetalLB's election"
    LEASES = "Cilium's leases"
    #: What the server says of itself.
    SERVER = "the game server's own ticks"


@dataclass
class Observations:
    """All that was observed.

    Attributes:
        sources: The files.
        begin: From when on.
        end: Until when.
        flows: Traffic that should go on all the time.
        signs: In order of time.
        hosts: Names of hosts by MAC.
        nodes: Which of those names are the cluster's nodes; empty when that is not known.
        own: Addresses of hosts by MAC, those of services left out.
        node_addresses: Names of the cluster's nodes by address.
        sees: What would have been seen.
        problems: What is wrong with the files, and what could not be read, one sentence each.
        scale: How long one of the real timers' seconds is.
    """

    sources: list[str] = field(default_factory=list)
    begin: int = 0
    end: int = 0
    flows: list[Flow] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)
    hosts: dict[str, str] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)
    own: dict[str, set[str]] = field(default_factory=dict)
    node_addresses: dict[str, str] = field(default_factory=dict)
    sees: set[Sees] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    scale: float = 1.0

    def add(self, other: Observations) -> None:
        """Take what another recording of the same time saw."""
        spans = [each for each in (self, other) if each.end]
        self.begin = min((each.begin for each in spans), default=0)
        self.end = max((each.end for each in spans), default=0)
        self.sources += other.sources
        self.flows += other.flows
        self.hosts.update(other.hosts)
        self.nodes |= other.nodes
        for mac, addresses in other.own.items():
            self.own.setdefault(mac, set()).update(addresses)
        self.node_addresses.update(other.node_addresses)
        self.sees |= other.sees
        self.problems += other.problems
        self.signs = sorted([*self.signs, *other.signs], key=lambda sign: sign.at)

    def named(self) -> Observations:
        """The same with names of hosts in place of their MACs, everywhere; nodes by what Kubernetes calls them."""
        hosts = {mac: f"{mac} ({min(own)})" for mac, own in self.own.items() if own} | self.hosts
        known = {
            mac: self.node_addresses[ip] for mac, own in self.own.items() for ip in own & self.node_addresses.keys()
        }
        hosts |= known

        def name(mac: str) -> str:
            return hosts.get(mac, mac)

        return replace(
            self,
            hosts=hosts,
            nodes={name(each) for each in self.nodes} | set(known.values()),
            signs=[replace(sign, who=name(sign.who), before=name(sign.before)) for sign in self.signs],
            flows=[replace(flow, node=name(flow.node)) for flow in self.flows],
        )
