"""Reading what `lablet probe` and `lablet tap` write: JSON lines, one header, then records, then an end line.

The layout of every record stands in harness/binaries/go/lablet/internal: prober/{udp,game,tcp,http}.go, tap/tap.go.
All times are nanoseconds of CLOCK_MONOTONIC; sequence numbers of a flow start at 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import LabError
from harness.traffic.game_records import GivenUp, Greeting, Refusal, Update


class Reply(NamedTuple):
    """A packet or line that was answered; the three parts of its way add up to the round trip."""

    flow: int
    sequence: int
    sent: int
    up: int  # from sending to the server's receive stamp
    turn: int  # within the server
    down: int  # from the server's reply to the client's receive stamp
    backend: int

    @property
    def received(self) -> int:
        """When the reply came."""
        return self.sent + self.up + self.turn + self.down


class Unanswered(NamedTuple):
    """A packet that had no reply within the prober's `late`; a Reply may exist all the same."""

    flow: int
    sequence: int
    sent: int


class Unsent(NamedTuple):
    """A packet that never left: the kernel refused it (a route that is gone, a firewall in the client itself)."""

    at: int
    flow: int
    sequence: int
    error: str


class OwnGap(NamedTuple):
    """The prober itself was late; `skipped` slots of its schedule passed without a packet."""

    flow: int
    before: int  # stamp of the packet before, 0 if there is none
    sent: int
    skipped: int


class Account(NamedTuple):
    """What a server process has seen of a flow; gaps are its latest at most MAX_GAPS, both ends included."""

    at: int
    flow: int
    backend: int
    first: int
    highest: int
    received: int  # how many different numbers
    duplicates: int
    gaps: tuple[tuple[int, int], ...]


class Backend(NamedTuple):
    """A server process that answered, by the number that the records use for it."""

    at: int
    number: int
    node: str
    pod: str
    instance: str  # random number of the process; empty for TCP and HTTP


class SeenAs(NamedTuple):
    """From this moment the server sees the flow coming from this address: a second one is a move of a NAT."""

    at: int
    flow: int
    address: str


class IcmpError(NamedTuple):
    """An ICMP error about a packet; sequence is -1 when it quotes too little."""

    at: int
    flow: int
    sequence: int
    error: str
    type: int
    code: int
    offender: str


class ClockStep(NamedTuple):
    """The wall clock, from which kernel stamps are converted, was stepped by so much."""

    at: int
    step: int


class ConnectionEvent(NamedTuple):
    """A TCP connection was made (connected) or ended: refused, timeout, unreachable, reset, closed, failed, stopped."""

    at: int
    flow: int
    event: str
    detail: str
    local: str
    retransmits: int


class Request(NamedTuple):
    """One HTTP request on a connection of its own."""

    flow: int
    sequence: int
    started: int
    connect: int  # duration, -1 without a connection
    total: int  # duration
    outcome: str  # ok, refused, timeout, reset, unreachable, closed, failed
    status: int  # 0 without an answer
    backend: int  # -1 without an answer
    client: str  # the client's address as the server saw it


@dataclass(frozen=True)
class Header:
    """The parameters of a run."""

    mode: str
    to: str
    rate: float
    interval: int  # nanoseconds between two packets of one flow
    flows: int
    sources: tuple[str, ...]
    size: int
    session: str
    late: int  # nanoseconds
    started: int
    receive_stamp: str  # where receive stamps come from
    scheduler: str  # of the sending thread


@dataclass(frozen=True)
class End:
    """What the prober says of itself; durations in nanoseconds, None where the mode does not measure it."""

    at: int
    stopped_by: str
    sent: int
    replies: int
    cpu: int
    skipped: int | None = None
    clock_steps: int | None = None
    stamps_replaced: int | None = None
    socket_drops: int | None = None
    late_p50: int | None = None
    late_p99: int | None = None
    late_max: int | None = None
    spacing_p50: int | None = None
    spacing_p99: int | None = None
    spacing_max: int | None = None


@dataclass
class Run:
    """Everything that one probe recorded."""

    header: Header
    end: End | None = None  # None when the prober was killed
    replies: list[Reply] = field(default_factory=list)
    unanswered: list[Unanswered] = field(default_factory=list)
    unsent: list[Unsent] = field(default_factory=list)
    own_gaps: list[OwnGap] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    backends: list[Backend] = field(default_factory=list)
    seen_as: list[SeenAs] = field(default_factory=list)
    icmp_errors: list[IcmpError] = field(default_factory=list)
    clock_steps: list[ClockStep] = field(default_factory=list)
    connections: list[ConnectionEvent] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    greetings: list[Greeting] = field(default_factory=list)
    given_up: list[GivenUp] = field(default_factory=list)


class Passage(NamedTuple):
    """A probe packet that passed an interface."""

    at: int
    device: str
    direction: str  # in or out of the device
    kind: str  # up: a request; down: a reply
    session: str
    flow: int
    sequence: int


class FlowPath(NamedTuple):
    """The addresses of a flow at an interface, from this moment on."""

    at: int
    device: str
    direction: str
    kind: str
    session: str
    flow: int
    source: str
    destination: str


@dataclass
class Tap:
    """Everything that one tap logged. A tap that dropped packets cannot prove that one did not pass."""

    iface: str
    started: int
    passages: list[Passage] = field(default_factory=list)
    paths: list[FlowPath] = field(default_factory=list)
    end: int | None = None
    lost: int | None = None  # packets that the tap itself missed; None when it was killed


#: Where the records of a kind go, and how they are made of the values behind the kind.
_Kinds = dict[str, tuple[list[Any], Callable[..., Any]]]


def _account(*values: Any) -> Account:
    *numbers, gaps = values
    return Account._make([*numbers, tuple((first, last) for first, last in gaps)])


def parse(lines: Iterable[str], *, name: str = "the probe's records") -> Run:
    """Read the records of a probe.

    Args:
        lines: The lines; a last one without an end, as a killed prober leaves it, is left out.
        name: How errors call the source.

    Raises:
        LabError: for anything that is not what `lablet probe` writes, with its line.
    """
    run: Run | None = None
    kinds: _Kinds = {}
    for number, value in _values(lines, name):
        if run is None:
            run = Run(_header(value, "probe", name, number))
            kinds = {
                "r": (run.replies, Reply),
                "n": (run.unanswered, Unanswered),
                "x": (run.unsent, Unsent),
                "g": (run.own_gaps, OwnGap),
                "u": (run.accounts, _account),
                "b": (run.backends, Backend),
                "p": (run.seen_as, SeenAs),
                "e": (run.icmp_errors, IcmpError),
                "c": (run.clock_steps, ClockStep),
                "t": (run.connections, ConnectionEvent),
                "h": (run.requests, Request),
                "m": (run.updates, Update),
                "k": (run.refusals, Refusal),
                "j": (run.greetings, Greeting),
                "d": (run.given_up, GivenUp),
            }
        elif isinstance(value, list):
            _add(kinds, value, name, number)
        else:
            run.end = _end(value, name, number)
    if run is None:
        raise LabError(f"{name}: no header, so no probe has started", file=name)
    return run


def parse_tap(lines: Iterable[str], *, name: str = "the tap's records") -> Tap:
    """Read the records of a tap.

    Raises:
        LabError: for anything that is not what `lablet tap` writes, with its line.
    """
    tap: Tap | None = None
    kinds: _Kinds = {}
    for number, value in _values(lines, name):
        if tap is None:
            head = _fields(value, "tap", name, number)
            tap = Tap(iface=str(head["iface"]), started=int(head["started"]))
            kinds = {
                "k": (tap.passages, Passage),
                "a": (tap.paths, FlowPath),
            }
        elif isinstance(value, list):
            _add(kinds, value, name, number)
        else:
            end = value["end"]
            tap.end = int(end["at"])
            dropped = int(end["dropped"])
            tap.lost = None if dropped < 0 else dropped + int(end["beyond_max"])
    if tap is None:
        raise LabError(f"{name}: no header, so no tap has started", file=name)
    return tap


def read(path: Path) -> Run:
    """Read the records of a probe from a file."""
    with path.open(encoding="utf-8") as lines:
        return parse(lines, name=str(path))


def read_tap(path: Path) -> Tap:
    """Read the records of a tap from a file."""
    with path.open(encoding="utf-8") as lines:
        return parse_tap(lines, name=str(path))


def _values(lines: Iterable[str], name: str) -> Iterable[tuple[int, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            return
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise LabError("this line is not JSON", file=name, line=number) from error


def _add(kinds: _Kinds, value: list[Any], name: str, number: int) -> None:
    try:
        records, make = kinds[value[0]]
        records.append(make(*value[1:]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise LabError("this record has an unknown kind or length", file=name, line=number) from error


def _fields(value: Any, kind: str, name: str, number: int) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("lblab") != kind or value.get("version") != 1:
        raise LabError(f"this is not the header of a lablet {kind} that this lblab understands", file=name, line=number)
    return value


def _header(value: Any, kind: str, name: str, number: int) -> Header:
    fields = _fields(value, kind, name, number)
    try:
        return Header(
            mode=fields["mode"],
            to=fields["to"],
            rate=fields["rate"],
            interval=fields["interval"],
            flows=fields["flows"],
            sources=tuple(fields["sources"] or ()),
            size=fields["size"],
            session=fields["session"],
            late=fields["late"],
            started=fields["started"],
            receive_stamp=fields["receive_stamp"],
            scheduler=fields["scheduler"],
        )
    except KeyError as error:
        raise LabError(f"the header lacks {error.args[0]}", file=name, line=number) from error


def _end(value: Any, name: str, number: int) -> End:
    end = value.get("end") if isinstance(value, dict) else None
    if not isinstance(end, dict):
        raise LabError("this line is neither a record nor the end", file=name, line=number)
    try:
        return End(**{key: end[key] for key in End.__dataclass_fields__ if key in end})
    except TypeError as error:
        raise LabError("the end line lacks a field", file=name, line=number) from error
