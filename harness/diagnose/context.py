"""One lag with all that was observed around it: what the questions are answered from. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from harness.diagnose.episodes import Episode, near
from harness.diagnose.observed import SECOND, Flow, Observations, Sees, Sign, What

#: A gratuitous ARP and the router's following it are seen within so long of each other, nanoseconds. It does not scale:
#: it is what the network and a busy machine take.
_SAME_NS = 100_000_000
#: Even of a short lag begin and end are not one moment.
_MOMENT_NS = 20_000_000
#: Somebody says where an address is.
CLAIMS = (What.ANSWERED, What.ANNOUNCED, What.MOVED)
#: A flow whose gaps take less of a lag than this was not hit by it.
_HARDLY = 0.1


@dataclass(frozen=True)
class Move:
    """The router sends to another MAC, and whether that was announced by gratuitous ARP or answered to a question."""

    sign: Sign
    announced: bool

    @property
    def at(self) -> int:
        """When."""
        return self.sign.at

    @property
    def to(self) -> str:
        """Where to: a node, or the MAC of a host that is none."""
        return self.sign.who


class Context:
    """A lag and its surroundings.

    Args:
        seen: The recording.
        episode: The lag.
    """

    def __init__(self, seen: Observations, episode: Episode) -> None:
        self.seen = seen
        self.episode = episode
        self.second = seen.scale * SECOND
        self.near = near(seen.scale)
        #: How far from begin and end of the lag something may be that belongs to the one and not to the other.
        self.close = min(self.near, max(episode.length // 2, _MOMENT_NS))

    def sees(self, what: Sees) -> bool:
        """Whether the recording would have shown it."""
        return what in self.seen.sees

    def signs(self, *what: What, begin: int, end: int, about: str | None = None) -> list[Sign]:
        """Those of some kinds in an interval, about one thing."""
        return [
            sign
            for sign in self.seen.signs
            if sign.what in what
            and begin <= sign.at
            and sign.at - sign.wide <= end
            and (about is None or sign.about == about)
        ]

    def during(self, *what: What, about: str | None = None) -> list[Sign]:
        """Those from shortly before the lag to shortly after it."""
        return self.signs(*what, begin=self.episode.begin - self.near, end=self.episode.end + self.near, about=about)

    @cached_property
    def moves(self) -> list[Move]:
        """Every move of the address, in the whole recording."""
        about = self.episode.address
        moved = self.signs(What.MOVED, begin=self.seen.begin, end=self.seen.end, about=about)
        return [Move(sign, self._announced(sign)) for sign in moved]

    def _announced(self, move: Sign) -> bool:
        said = self.signs(
            What.ANNOUNCED, begin=move.at - move.wide - _SAME_NS, end=move.at + _SAME_NS, about=move.about
        )
        return any(sign.who == move.who for sign in said)

    @cached_property
    def at_begin(self) -> Move | None:
        """The move with which the lag began."""
        near_begin = [move for move in self.moves if abs(move.at - self.episode.begin) <= self.close]
        return min(near_begin, key=lambda move: abs(move.at - self.episode.begin), default=None)

    @cached_property
    def at_end(self) -> Move | None:
        """The move with which it ended."""
        if not self.episode.ended:
            return None
        near_end = [
            move for move in self.moves if abs(move.at - self.episode.end) <= self.close and move is not self.at_begin
        ]
        return min(near_end, key=lambda move: abs(move.at - self.episode.end), default=None)

    @cached_property
    def owner(self) -> str:
        """Where the router sent before the lag: a node's name or a MAC; empty when that is not known."""
        if self.at_begin is not None:
            return self.at_begin.sign.before
        later = next((move for move in self.moves if move.at > self.episode.begin), None)
        if later is not None:
            return later.sign.before
        told = self.signs(*CLAIMS, begin=self.seen.begin, end=self.episode.begin, about=self.episode.address)
        return told[-1].who if told else ""

    @cached_property
    def others(self) -> list[Flow]:
        """Other services' traffic at the same address."""
        hit = {(flow.address, flow.port) for flow, _ in self.episode.gaps if self._was_hit(flow)}
        return [
            flow
            for flow in self.seen.flows
            if flow.address == self.episode.address and (flow.address, flow.port) not in hit and self.watched(flow)
        ]

    @cached_property
    def also_hit(self) -> list[Flow]:
        """Flows of other services at the same address that were hit as well."""
        ports = {flow.port: flow for flow, _ in self.episode.gaps if self._was_hit(flow)}
        return list(ports.values()) if len(ports) > 1 else []

    def watched(self, flow: Flow) -> bool:
        """Whether a flow was there all through the lag."""
        return flow.begin <= self.episode.begin and flow.end >= self.episode.end

    def _was_hit(self, flow: Flow) -> bool:
        return self.share(flow) >= _HARDLY

    def share(self, flow: Flow) -> float:
        """Which share of the lag a flow did not work."""
        begin, end = self.episode.begin, self.episode.end
        lost = sum(
            max(0, min(end, self.seen.end if gap.end is None else gap.end) - max(begin, gap.begin)) for gap in flow.gaps
        )
        return lost / max(1, end - begin)

    def to_nodes(self) -> Iterator[Flow]:
        """Traffic to nodes' own addresses that was there all the time."""
        return (flow for flow in self.seen.flows if flow.to_node and self.watched(flow))

    # -- words --------------------------------------------------------------------------------------------------------

    def time(self, at: int) -> str:
        """A moment as the report has it: seconds of the real timers since the recording began."""
        return f"{(at - self.seen.begin) / self.second:.1f} s"

    def span(self, nanoseconds: float) -> str:
        """A duration in seconds of the real timers."""
        return f"{nanoseconds / self.second:.1f} s"

    def told(self, sign: Sign) -> str:
        """A sign as evidence."""
        return f"{self.time(sign.at)}: {sign.text or f'{sign.about} {sign.what.value} {sign.who}'}"
