"""The fate of every packet of a run: delivered, late, lost on the way up or down, and on which stretch of the way.

A routing outage and a dead backend that the proxy still chooses look the same to a client. They are told apart by what
the servers received and by taps at the nodes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.traffic.arrivals import Seen, by_flow
from harness.traffic.control import ServerLog
from harness.traffic.records import Reply, Run, Tap


class Fate(enum.Enum):
    """What became of a packet."""

    DELIVERED = "delivered"
    LATE = "late"  # answered, but later than the waiting time: lost as RFC 7680 counts
    LOST_UP = "lost on the way up"
    LOST_DOWN = "lost on the way down"
    LOST = "lost, direction unknown"
    UNSENT = "never sent"  # the client's own kernel refused it

    @property
    def good(self) -> bool:
        """Whether the client had its answer in time."""
        return self is Fate.DELIVERED


class Place(enum.Enum):
    """The stretch on which a packet was lost."""

    CLIENT = "in the client"
    TO_NODE = "between client and node"
    TO_BACKEND = "between node and backend"
    FROM_BACKEND = "between backend and node, on the way back"
    TO_CLIENT = "between node and client, on the way back"
    UNKNOWN = "unknown"


class Packet(NamedTuple):
    """One packet and its answer; times in nanoseconds, None where it is not known."""

    sequence: int
    sent: int
    fate: Fate
    arrived: int | None = None  # at the server
    replied: int | None = None  # by the server
    received: int | None = None  # at the client
    place: Place | None = None  # of the loss; None when there was none, or nothing to tell it by
    backend: int | None = None


@dataclass
class Flow:
    """A periodic stream (RFC 3432) of packets with the same addresses and ports, ascending sequence numbers."""

    number: int
    interval: int  # nanoseconds between two packets
    packets: list[Packet] = field(default_factory=list)
    duplicates: int = 0  # answers beyond the first one


@dataclass(frozen=True)
class _Sightings:
    """What the taps at the nodes saw of a run."""

    reached: frozenset[tuple[int, int]]  # (flow, sequence) of requests that came in at a node
    left: frozenset[tuple[int, int]]  # of replies that went out of a node
    since: int  # from when on all taps listened
    until: int

    def covers(self, sent: int) -> bool:
        """Whether a packet would have been seen."""
        return self.since <= sent <= self.until


def flows(
    run: Run,
    *,
    logs: Iterable[ServerLog] = (),
    taps: Sequence[Tap] = (),
    ended: Mapping[str, int] | None = None,
    late: int | None = None,
) -> list[Flow]:
    """Decide the fate of every packet.

    Args:
        run: The prober's records.
        logs: What the servers received, read after the run. Without it, what their replies said is used.
        taps: Taps at *all* nodes through which a packet may come in; they tell apart where it was lost.
        ended: When server processes ended, ns by instance: a packet sent later was not received by them.
        late: Waiting time (RFC 7680) in nanoseconds; the prober's own by default.

    Returns:
        The flows in order of their numbers.
    """
    waiting = run.header.late if late is None else late
    if run.header.mode == "http":
        return _http_flows(run)
    servers = by_flow(run, logs, ended)
    sightings = _sightings(run, taps) if taps else None
    answers: list[dict[int, Reply]] = [{} for _ in range(run.header.flows)]
    result = [Flow(number, run.header.interval) for number in range(run.header.flows)]
    for reply in run.replies:
        first = answers[reply.flow].setdefault(reply.sequence, reply)
        if first is not reply:
            result[reply.flow].duplicates += 1
            if reply.received < first.received:
                answers[reply.flow][reply.sequence] = reply
    sent: list[dict[int, int]] = [{s: r.sent for s, r in own.items()} for own in answers]
    for unanswered in run.unanswered:
        sent[unanswered.flow][unanswered.sequence] = unanswered.sent
    unsent = {(each.flow, each.sequence): each.at for each in run.unsent}
    for (number, sequence), at in unsent.items():
        sent[number][sequence] = at
    for flow in result:
        stamps = sent[flow.number]
        own = answers[flow.number]
        previous = 0
        for sequence in range(1, max(stamps, default=0) + 1):
            # A prober that was killed leaves its last undecided packets unrecorded: they keep their place in the grid.
            stamp = stamps.get(sequence, previous + flow.interval)
            previous = stamp
            reply_or_none = own.get(sequence)
            if reply_or_none is not None:
                flow.packets.append(_answered(reply_or_none, waiting))
            elif (flow.number, sequence) in unsent:
                flow.packets.append(Packet(sequence, stamp, Fate.UNSENT, place=Place.CLIENT))
            else:
                fate, place = _loss(flow.number, sequence, stamp, servers[flow.number], sightings)
                flow.packets.append(Packet(sequence, stamp, fate, place=place))
    return result


def _answered(reply: Reply, waiting: int) -> Packet:
    arrived = reply.sent + reply.up
    replied = arrived + reply.turn
    received = replied + reply.down
    fate = Fate.DELIVERED if received - reply.sent <= waiting else Fate.LATE
    return Packet(reply.sequence, reply.sent, fate, arrived, replied, received, backend=reply.backend)


def _loss(
    flow: int, sequence: int, sent: int, servers: Sequence[Seen], sightings: _Sightings | None
) -> tuple[Fate, Place | None]:
    opinions = [server.received(sequence, sent) for server in servers]
    arrived: bool | None = None
    if any(opinion is True for opinion in opinions):
        arrived = True
    elif opinions and all(opinion is False for opinion in opinions):
        arrived = False
    if sightings is None:
        fate = {True: Fate.LOST_DOWN, False: Fate.LOST_UP, None: Fate.LOST}[arrived]
        return fate, None
    key = (flow, sequence)
    covered = sightings.covers(sent)
    if key in sightings.left:
        return Fate.LOST_DOWN, Place.TO_CLIENT
    if arrived is True:
        return Fate.LOST_DOWN, Place.FROM_BACKEND if covered else Place.UNKNOWN
    if key in sightings.reached:
        return (Fate.LOST_UP, Place.TO_BACKEND) if arrived is False else (Fate.LOST, Place.UNKNOWN)
    if covered:
        return Fate.LOST_UP, Place.TO_NODE
    return (Fate.LOST_UP if arrived is False else Fate.LOST), Place.UNKNOWN


def _sightings(run: Run, taps: Sequence[Tap]) -> _Sightings:
    reached: set[tuple[int, int]] = set()
    left: set[tuple[int, int]] = set()
    for tap in taps:
        for passage in tap.passages:
            if passage.session != run.header.session:
                continue
            if passage.kind == "up" and passage.direction == "in":
                reached.add((passage.flow, passage.sequence))
            elif passage.kind == "down" and passage.direction == "out":
                left.add((passage.flow, passage.sequence))
    # A tap that missed packets, or was killed, cannot say that one did not pass.
    whole = all(tap.lost == 0 and tap.end is not None for tap in taps)
    since = max(tap.started for tap in taps)
    until = min(tap.end or 0 for tap in taps) if whole else since - 1
    return _Sightings(frozenset(reached), frozenset(left), since, until)


def _http_flows(run: Run) -> list[Flow]:
    """A request is a packet that is delivered when it is answered with a success (status below 400)."""
    result = [Flow(number, run.header.interval) for number in range(run.header.flows)]
    for request in run.requests:
        good = request.outcome == "ok" and request.status < 400
        fate = Fate.DELIVERED if good else Fate.LOST
        received = request.started + request.total if good else None
        backend = request.backend if request.backend >= 0 else None
        result[request.flow].packets.append(
            Packet(request.sequence, request.started, fate, received=received, backend=backend)
        )
    for unsent in run.unsent:
        result[unsent.flow].packets.append(Packet(unsent.sequence, unsent.at, Fate.UNSENT, place=Place.CLIENT))
    for flow in result:
        flow.packets.sort(key=lambda packet: packet.sequence)  # requests are recorded as they end
    return result
