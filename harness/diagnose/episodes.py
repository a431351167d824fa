"""Gaps that belong together: one lag of everybody who plays at an address. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from harness.diagnose.observed import SECOND, Flow, Gap, Observations

#: A gap that is shorter goes unnoticed, or is a hitch; seconds of real timers. Players feel 250 ms as a lag spike
#: (harness/traffic/game.py), and a node that is taken back too early costs 0.2 s (facts/l2_and_lag.md, section 7).
AT_LEAST = 0.2
#: In scaled time a machine's own hitches weigh as much as lags: what is shorter than this tells nothing, nanoseconds.
_FLOOR_NS = 30_000_000
#: What came too late, but came, is the machine's doing in scaled time unless it lasts so long, nanoseconds.
_LATE_NS = 300_000_000
#: A flow is steady when a gap is at least so many of its usual intervals.
_INTERVALS = 3
#: Gaps of several flows that begin or end within so many seconds of one another are one episode.
_TOGETHER = 2.0
_TOGETHER_FLOOR_NS = 100_000_000
#: A period is told from three episodes on, when most of their distances are this near to the same one, or to a small
#: multiple of it: one or two in between may not have been noticed.
_PERIODIC, _MOSTLY, _MISSED = 0.1, 0.7, 3


@dataclass(frozen=True)
class Episode:
    """One lag.

    Attributes:
        address: The server's address.
        begin: The first gap's begin.
        end: The last gap's end; the end of the recording when it was not seen.
        ended: Whether the end was seen.
        gaps: The flows that it hit, each with its gap.
    """

    address: str
    begin: int
    end: int
    ended: bool
    gaps: tuple[tuple[Flow, Gap], ...]

    @property
    def length(self) -> int:
        """Nanoseconds."""
        return self.end - self.begin

    @property
    def directions(self) -> set[str]:
        """Where packets were missing, of all flows that it hit."""
        return {gap.direction for _, gap in self.gaps}


def least(scale: float) -> int:
    """The shortest gap that counts, nanoseconds."""
    return max(int(AT_LEAST * scale * SECOND), _FLOOR_NS)


def _counts(gap: Gap, scale: float) -> int:
    return _LATE_NS if scale < 1 and gap.direction == "late" else least(scale)


def near(scale: float) -> int:
    """Within which time two things belong together, nanoseconds: 2 s (facts/l2_and_lag.md, section 3.3)."""
    return max(int(_TOGETHER * scale * SECOND), _TOGETHER_FLOOR_NS)


def episodes(seen: Observations, address: str | None = None) -> list[Episode]:
    """The lags of a recording, in order of time.

    Traffic to a node's own address says whether the node can be reached; it has no episodes unless there is nothing
    else.

    Args:
        seen: The recording.
        address: Only those of this address.
    """
    flows = [flow for flow in seen.flows if address is None or flow.address == address]
    flows = [flow for flow in flows if not flow.to_node] or flows
    found: list[Episode] = []
    for target in dict.fromkeys(flow.address for flow in flows):
        gaps = [
            (flow, gap)
            for flow in flows
            if flow.address == target
            for gap in flow.gaps
            if gap.length(seen.end) >= max(_counts(gap, seen.scale), _INTERVALS * flow.interval)
        ]
        found += _together(sorted(gaps, key=lambda each: each[1].begin), seen, target)
    return sorted(found, key=lambda episode: episode.begin)


def _together(gaps: list[tuple[Flow, Gap]], seen: Observations, address: str) -> list[Episode]:
    runs: list[list[tuple[Flow, Gap]]] = []
    ends = 0
    for flow, gap in gaps:
        end = seen.end if gap.end is None else gap.end
        # a breath between two gaps does not make two lags of one, for those who play
        if runs and gap.begin <= ends + near(seen.scale):
            runs[-1].append((flow, gap))
            ends = max(ends, end)
        else:
            runs.append([(flow, gap)])
            ends = end
    return [
        Episode(
            address,
            min(gap.begin for _, gap in run),
            max(seen.end if gap.end is None else gap.end for _, gap in run),
            all(gap.end is not None for _, gap in run),
            tuple(run),
        )
        for run in runs
    ]


@dataclass(frozen=True)
class Period:
    """How lags follow one another.

    Attributes:
        seconds: From the begin of one to the begin of the next, in seconds of the real timers.
        missed: How many in between did not show.
        episodes: How many there were.
    """

    seconds: float
    missed: int
    episodes: int


def period(found: list[Episode], scale: float) -> Period | None:
    """The period of the lags of one address; None when there are fewer than three, or when they come at random.

    A recording may have been interrupted: not every distance has to be the same.
    """
    begins = [episode.begin for episode in found]
    distances = [(after - before) / SECOND / scale for before, after in pairwise(begins)]
    if len(distances) < 2:
        return None
    alike = max((_multiples(distances, each) for each in distances), key=len)
    if len(alike) < _MOSTLY * len(distances):
        return None
    seconds = median(distance / times for distance, times in alike)
    return Period(seconds, sum(times - 1 for _, times in alike), len(found))


def _multiples(distances: list[float], of: float) -> list[tuple[float, int]]:
    """Those that are about a whole multiple of one of them, and how many times."""
    if of <= 0:
        return []
    counted = [(distance, round(distance / of)) for distance in distances]
    return [
        (distance, times)
        for distance, times in counted
        if 1 <= times <= _MISSED and abs(distance / of - times) <= _PERIODIC
    ]
