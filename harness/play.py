"""A game that is played while something happens: what its players feel, and what its server says of itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.errors import LblabError
from harness.measure import Measured, Probe
from harness.timeline import outages as timeline_outages
from harness.timeline.event import OUTAGE_BEGIN, OUTAGE_END, Event
from harness.traffic import game
from harness.traffic.analysis import Analysis
from harness.traffic.game import Grade
from harness.traffic.lags import Lag, lags, strangers
from harness.traffic.records import Run

if TYPE_CHECKING:
    from harness.lab import Lab

#: A server's ticks a second, and its players' (Unreal's NetServerMaxTickRate; facts/l2_and_lag.md, section 4).
TICK_RATE = 30
#: Unreal's ConnectionTimeout, seconds (BaseEngine.ini; facts/l2_and_lag.md, section 3.1).
DISCONNECT_AFTER = 60.0
#: UDP ports of the lab's game servers: the game, and a plain echo in the same pod that has nothing to do with it.
GAME_PORT, SIDECAR_PORT = 7777, 7778
#: The first player's own port; a game client keeps its port.
SOURCE_PORT = 27005
_SECOND = 1_000_000_000


@dataclass
class Played(Measured):
    """One run of a game: a probe's run, and its players' lags."""

    lags: list[Lag] = field(default_factory=list)
    #: Factor on the thresholds of a lag's grade.
    scale: float = 1.0
    players: int = 0
    #: (nanoseconds, player) of every greeting after the first, and of every connection that was given up.
    reconnects: list[tuple[int, int]] = field(default_factory=list)
    disconnects: list[tuple[int, int]] = field(default_factory=list)

    def felt(self) -> dict[Grade, int]:
        """How many lags of each grade the players had."""
        counts = dict.fromkeys(Grade, 0)
        for lag in self.lags:
            counts[lag.grade] += 1
        return counts

    def facts(self) -> dict[str, Any]:
        """The figures for a result file; seconds are unscaled."""
        thresholds = {grade.name.lower(): limit / _SECOND for grade, limit in game.THRESHOLDS.items()}
        return {
            **super().facts(),
            "game": {
                "players": self.players,
                "time_scale": self.scale,
                "thresholds_s": {**thresholds, "hitch_ticks": game.HITCH_TICKS},
                "felt": {grade.name.lower(): number for grade, number in self.felt().items() if number},
                "reconnects": len(self.reconnects),
                "disconnects": len(self.disconnects),
                "lags": [
                    {
                        "player": lag.player,
                        "start": lag.start,
                        "seconds": round(lag.length / _SECOND / self.scale, 3),
                        "grade": lag.grade.name.lower(),
                        "rubber_band": lag.rubber_band,
                        "refused": lag.refused,
                        "server_pause_s": round(lag.server_pause / _SECOND / self.scale, 3),
                    }
                    for lag in self.lags
                ],
            },
        }


class Game(Probe):
    """Players of a game server behind an address; a context manager that plays from entry to exit.

    The server knows its players by the addresses that greeted it, and sends each an update at its own ticks
    (harness/binaries/go/lablet/internal/game).

    Args:
        lab: The lab.
        address: Where to, such as a service's address.
        client: The client's name; the lab's first one by default.
        players: How many, each with a source port of its own.
        tick_rate: Inputs and updates a second, in the lab's own time.
        reconnect_after: Seconds without an acknowledged input after which a player greets the server anew; None: never.
        disconnect_after: Seconds after which player and server give the connection up, and the player joins again.
        scale: Factor on the thresholds of what is felt, and on both time-outs.
        port: The server's UDP port.
        source_port: Of the first player, one more for each further one; two games of one client need different ones.
        resolution_ms: How finely lags have to be known; two ticks by default.
        name: What results call it.
    """

    def __init__(
        self,
        lab: Lab,
        address: str,
        *,
        client: str | None = None,
        players: int = 4,
        tick_rate: float = TICK_RATE,
        reconnect_after: float | None = None,
        disconnect_after: float = DISCONNECT_AFTER,
        scale: float = 1.0,
        port: int = GAME_PORT,
        source_port: int = SOURCE_PORT,
        resolution_ms: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            lab,
            address,
            port,
            client=client,
            rate=tick_rate,
            flows=players,
            source_port=source_port,
            resolution_ms=resolution_ms or 2000 / tick_rate,
            name=name,
        )
        self._scale, self._players = scale, players
        # an input that is acknowledged later than a lag spike begins is one that its player has waited for
        late = max(game.THRESHOLDS[Grade.SPIKE] / _SECOND * scale, 5 / tick_rate)
        self._options += ["--game", f"--late={late:.6f}s", f"--disconnect-after={disconnect_after * scale:.6f}s"]
        if reconnect_after is not None:
            self._options.append(f"--reconnect-after={reconnect_after * scale:.6f}s")
        self._lags: list[Lag] = []
        self._run: Run | None = None
        self._played: Played | None = None

    def stop(self) -> Played:
        """Stop playing, wait for the last updates and analyse."""
        if self._played is None:
            found = super().stop()
            assert self._run is not None
            run = self._run
            plain = {part.name: getattr(found, part.name) for part in dataclasses.fields(Measured)}
            self._played = Played(
                **plain,
                lags=self._lags,
                scale=self._scale,
                players=self._players,
                reconnects=[(each.at, each.flow) for each in run.greetings if each.again],
                disconnects=[(each.at, each.flow) for each in run.given_up],
            )
        return self._played

    @property
    def measured(self) -> Played:
        """What was played, once it has stopped."""
        if self._played is None:
            raise LblabError("the game still runs")
        return self._played

    def _told(self, run: Run, analysis: Analysis, ended_ns: int) -> Iterator[Event]:
        """A lag's outage says what the server has to say of it."""
        self._run = run
        self._lags = lags(run, analysis.flows, scale=self._scale)
        for each in super()._told(run, analysis, ended_ns):
            yield self._explained(each) if each.kind in (OUTAGE_BEGIN, OUTAGE_END) else each
        yield from timeline_outages.seen_as(strangers(run), self.name)

    def _explained(self, told: Event) -> Event:
        begin, end = told.data["begin_ns"], told.data["end_ns"]
        own = [
            lag
            for lag in self._lags
            if lag.player == told.data["flow"] and lag.end >= begin and (end is None or lag.start <= end)
        ]
        said = {
            "unknown_peer": sum(lag.refused for lag in own),
            "server_stalled_ns": max((lag.server_pause for lag in own), default=0),
            "updates": sum(lag.updates for lag in own),
        }
        return dataclasses.replace(told, data={**told.data, **said})
