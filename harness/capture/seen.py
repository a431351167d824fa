"""What one pass over a capture keeps of it. Times are nanoseconds of the capture's clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

#: Gaps that are kept of one stream; one that has more is no steady one.
MAX_GAPS = 2000
#: Moves of one stream's next hop that are kept.
MAX_MOVES = 500
#: Within so long after a gap packets are counted: a burst is what was held back, delivered at once.
BURST_NS = 50_000_000
#: A stream that mostly makes gaps, and has made so many, is a slow one: only more than so many intervals are a gap.
_SLOW, _INTERVALS = 6, 3


@dataclass(frozen=True)
class Gap:
    """A time without a packet of a stream.

    Attributes:
        begin: The packet before.
        end: The packet after.
        burst: How many packets came within BURST_NS after it.
    """

    begin: int
    end: int
    burst: int = 0


class Stream:
    """Packets of one direction of one conversation in one place (`link.view`).

    Attributes:
        key: (view, protocol, source, source port, destination, destination port).
        first: When the first packet came.
        last: When the last one came.
        longer: What is longer than this is a gap, nanoseconds: as asked for, or three of its usual intervals.
        count: How many.
        gaps: The times without packets that were longer than asked for.
        unkept: How many more gaps there were.
        to_mac: Where its frames go, as the last one says.
        from_mac: Where they come from.
        moves: (time, from_mac, to_mac) of each change, the first frame's included.
    """

    __slots__ = (
        "count", "counting", "first", "from_mac", "gaps", "key", "last", "leg", "longer", "moves", "to_mac", "unkept",
    )  # fmt: skip

    def __init__(self, key: StreamKey, at: int, longer: int) -> None:
        self.key = key
        self.longer = longer
        self.first = self.last = at
        self.count = 0
        self.gaps: list[Gap] = []
        self.unkept = 0
        self.to_mac = self.from_mac = ""
        self.moves: list[tuple[int, str, str]] = []
        #: The form in which its frames come at present; another one means that its MACs have changed.
        self.leg: Any = None
        #: Until when a burst is counted.
        self.counting = 0

    def came(self, at: int) -> None:
        """Take a packet; the pass does the same by itself for those of known forms."""
        if at > self.last:
            if at - self.last > self.longer:
                self.silent(at)
            elif self.counting:
                self.burst(at)
            self.last = at
        self.count += 1

    def silent(self, at: int) -> None:
        """Note that no packet came from the last one until now."""
        if len(self.gaps) < MAX_GAPS:
            self.gaps.append(Gap(self.last, at))
            self.counting = at + BURST_NS
            if len(self.gaps) >= _SLOW and 2 * len(self.gaps) > self.count:
                self._slow()
        else:
            self.unkept += 1

    def _slow(self) -> None:
        """Take what is usual for it for no gap: it sends less often than was thought, as a ping does."""
        usual = median(gap.end - gap.begin for gap in self.gaps)
        self.longer = max(self.longer, int(_INTERVALS * usual))
        self.gaps = [gap for gap in self.gaps if gap.end - gap.begin > self.longer]
        self.counting = 0

    def burst(self, at: int) -> None:
        """Count a packet that came shortly after a gap."""
        if at > self.counting:
            self.counting = 0
        else:
            gap = self.gaps[-1]
            self.gaps[-1] = Gap(gap.begin, gap.end, gap.burst + 1)

    def moved(self, at: int, leg: Leg) -> None:
        """Note that its frames have other MACs from now on."""
        self.leg = leg
        self.to_mac, self.from_mac = leg.to_mac, leg.from_mac
        if len(self.moves) < MAX_MOVES:
            self.moves.append((at, leg.from_mac, leg.to_mac))

    @property
    def interval(self) -> float:
        """Nanoseconds between two packets, gaps left out; infinite for a single packet."""
        between = self.count - 1 - len(self.gaps) - self.unkept
        silent = sum(gap.end - gap.begin for gap in self.gaps)
        return (self.last - self.first - silent) / between if between > 0 else float("inf")


StreamKey = tuple[str, int, str, int, str, int]


class Leg:
    """One form of a stream's frames, by everything that does not change from packet to packet."""

    __slots__ = ("from_mac", "stream", "to_mac", "watched")

    def __init__(self, stream: Stream, to_mac: str, from_mac: str, *, watched: bool = False) -> None:
        self.stream = stream
        self.to_mac, self.from_mac = to_mac, from_mac
        #: Whether its packets are looked into.
        self.watched = watched


@dataclass(frozen=True)
class ArpSeen:
    """One ARP frame, with the place where it was seen."""

    at: int
    view: str
    operation: str
    sender_mac: str
    sender: str
    target_mac: str
    target: str
    to_mac: str

    @property
    def gratuitous(self) -> bool:
        """Whether it announces its sender's own address (RFC 5227 section 3)."""
        return self.sender == self.target


@dataclass(frozen=True)
class IcmpSeen:
    """An ICMP error: who says what about packets to whom."""

    at: int
    sender: str
    type: int
    code: int
    about: str
    port: int


@dataclass(frozen=True)
class Notice:
    """Something else that is worth a line: a BGP message, a change of the spanning tree's topology."""

    at: int
    kind: str
    sender: str
    to: str
    text: str


@dataclass
class Seen:
    """All of it.

    Attributes:
        first: The first packet's time.
        last: The last one's.
        packets: How many.
        streams: By key.
        arp: ARP frames in the file's order.
        icmp: ICMP errors.
        notices: Other messages.
        unread: Packets by what could not be read of them.
        forgotten: Streams that were given up because there were too many, none of them steady.
        dropped: Frames of ARP and the like beyond what is kept.
    """

    first: int = 0
    last: int = 0
    packets: int = 0
    streams: dict[StreamKey, Stream] = field(default_factory=dict)
    arp: list[ArpSeen] = field(default_factory=list)
    icmp: list[IcmpSeen] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)
    forgotten: int = 0
    dropped: int = 0
