"""The gaps of a game's players as one list, in unscaled seconds: how long, how often, whose fault. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.traffic.lags import Lag
from harness.verdict.period import Period, merged, period

if TYPE_CHECKING:
    from harness.play import Played

_SECOND = 1e9
#: What is shorter is no gap here, in unscaled seconds and in the lab's own: a core that is away for 20 ms makes a
#: second at a scale of 0.02, and a busy machine's cores are away for as long as 80 ms.
SHORTEST, SHORTEST_OWN = 1.0, 0.1
#: Lags of several players within so many seconds are one gap.
_APART = 3.0
#: A lag in which the server did not tick for this share of it is the server's own.
_SERVERS_SHARE = 0.5
#: The network's lags lose inputs, or have them refused. Those that are only acknowledged late have waited for a CPU.
_LOST_SHARE = 0.5


@dataclass(frozen=True)
class Gaps:
    """The gaps of a run; times are unscaled seconds, since the run's start, or another moment.

    Attributes:
        spans: (start, end) of each, the network's only.
        worst: The longest lag of any player in each.
        players: How many players had one, of how many.
        servers: Gaps in which the server itself stood still.
        late: How many lags were none of both: inputs came through late, as the machine was busy.
        floor: Shorter ones are left out.
        trusted: Whether the run may be believed.
    """

    spans: tuple[tuple[float, float], ...]
    worst: tuple[Lag, ...]
    players: tuple[int, int]
    servers: tuple[tuple[float, float], ...]
    floor: float
    trusted: bool = True
    late: int = 0

    @classmethod
    def of(cls, played: Played, scale: float, *, zero_ns: int | None = None) -> Gaps:
        """Gather them.

        Args:
            played: A game's run.
            scale: Of the lab's time.
            zero_ns: Times are since this moment; by default the run's start.
        """
        begun = played.started_ns if zero_ns is None else zero_ns
        floor = max(SHORTEST, SHORTEST_OWN / scale)
        counted = [lag for lag in played.lags if lag.length >= floor * scale * _SECOND]
        own = [lag for lag in counted if lag.server_pause >= _SERVERS_SHARE * lag.length]
        others = [lag for lag in counted if lag.server_pause < _SERVERS_SHARE * lag.length and lag.lost >= _LOST_SHARE]

        # an acknowledgement on either side is up to a tick away from the gap, half of one on the average, as of outages
        half = played.analysis.flows[0].interval / 2 if played.analysis.flows else 0.0

        def spans(lags: Iterable[Lag]) -> tuple[tuple[float, float], ...]:
            each = [
                ((lag.start + half - begun) / _SECOND / scale, (lag.end - half - begun) / _SECOND / scale)
                for lag in lags
            ]
            return tuple(merged(each, apart=_APART))

        found = spans(others)
        worst = tuple(
            max(
                (lag for lag in others if start <= (lag.start + half - begun) / _SECOND / scale <= end),
                key=lambda lag: lag.length,
            )
            for start, end in found
        )
        late = len(counted) - len(own) - len(others)
        players = len({lag.player for lag in others})
        return cls(found, worst, (players, played.players), spans(own), floor, played.trust.trusted, late)

    @property
    def lengths(self) -> tuple[float, ...]:
        """How long each was, for the player whom it hit worst."""
        return tuple((end - start) for start, end in self.spans)

    @property
    def length(self) -> float | None:
        """The median length; None without a gap."""
        return median(self.lengths) if self.spans else None

    @property
    def period(self) -> Period | None:
        """At which intervals they begin; None when there is no regularity, or too few to tell."""
        return period([start for start, _ in self.spans])

    def facts(self) -> dict[str, Any]:
        """The JSON form."""
        about = self.period
        return {
            "gaps_s": [round(length, 2) for length in self.lengths],
            "starts_s": [round(start, 1) for start, _ in self.spans],
            "gap_s": None if self.length is None else round(self.length, 2),
            "period_s": None if about is None else round(about.seconds, 1),
            "period_low_s": None if about is None else round(about.low, 1),
            "period_high_s": None if about is None else round(about.high, 1),
            "players_hit": self.players[0],
            "players": self.players[1],
            "server_gaps": len(self.servers),
            "late": self.late,
            "floor_s": self.floor,
            "trusted": self.trusted,
        }

    def __str__(self) -> str:
        if not self.spans:
            return f"no gap of {self.floor:g} s or more"
        lengths = ", ".join(f"{length:.2f}" for length in self.lengths)
        about = self.period
        often = str(about) if about else "no period"
        return f"gaps of {lengths} s, {often}, {self.players[0]} of {self.players[1]} players"
