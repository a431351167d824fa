"""What is watched while a mechanism is at work: the game, an echo beside it in the same pod, and the node itself.

The three tell apart who is to blame: when only the game stands still, its server did; when the node's own address is
gone as well, it is the node or its link; otherwise it is the way to the address.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from harness.errors import LabError
from harness.measure import Measured, Probe, together
from harness.play import DISCONNECT_AFTER, SIDECAR_PORT, TICK_RATE, Game, Played

if TYPE_CHECKING:
    from harness.lab import Lab

#: Packets a second of the two echoes beside the game, in the lab's own time: at least so many, or half the game's.
_BESIDE_RATE, _BESIDE_SHARE = 50.0, 0.5


@dataclass(frozen=True)
class Players:
    """Who plays, and how; times are unscaled seconds.

    Attributes:
        number: How many.
        tick_rate: Inputs and updates a second, in the lab's own time.
        reconnect_after: Without an acknowledged input; None: never.
        disconnect_after: Likewise.
    """

    number: int = 4
    tick_rate: float = TICK_RATE
    reconnect_after: float | None = None
    disconnect_after: float = DISCONNECT_AFTER


class Watch:
    """Watches one Service from entry to exit.

    Args:
        lab: The lab.
        service: The Service of a game server, with the port of the echo beside it.
        node: The node whose own address is watched.
        client: Where the players are; the lab's first client by default.
        players: Who plays.
        scale: Factor on what players feel and on their time-outs; by default the lab's.
        name: What results call the game.
    """

    def __init__(
        self,
        lab: Lab,
        service: str,
        *,
        node: str,
        client: str | None = None,
        players: Players | None = None,
        scale: float | None = None,
        name: str = "game",
    ) -> None:
        scale, players = lab.topology.time_scale if scale is None else scale, players or Players()
        address = lab.service(service).address
        rate = max(_BESIDE_RATE, _BESIDE_SHARE * players.tick_rate)
        resolution = 2000 / rate
        self._game = Game(
            lab,
            address,
            client=client,
            players=players.number,
            tick_rate=players.tick_rate,
            reconnect_after=players.reconnect_after,
            disconnect_after=players.disconnect_after,
            scale=scale,
            name=name,
        )
        self._sidecar = Probe(
            lab, address, SIDECAR_PORT, client=client, rate=rate, resolution_ms=resolution, name="sidecar"
        )
        self._node = Probe(
            lab,
            lab.node(node).address,
            _node_port(lab, service),
            client=client,
            rate=rate,
            resolution_ms=resolution,
            name=f"node {node}",
        )
        self._together: AbstractContextManager[None] | None = None

    def __enter__(self) -> Watch:
        self._together = together(self.probes)
        self._together.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._together is not None
        self._together.__exit__(kind, error, trace)

    @property
    def probes(self) -> dict[str, Probe]:
        """All three, for `harness.measure.together`."""
        return {probe.name: probe for probe in (self._game, self._sidecar, self._node)}

    @property
    def game(self) -> Played:
        """What the players felt."""
        return self._game.measured

    @property
    def sidecar(self) -> Measured:
        """What the echo beside the game lost."""
        return self._sidecar.measured

    @property
    def node(self) -> Measured:
        """What the node's own address lost."""
        return self._node.measured


def _node_port(lab: Lab, service: str) -> int:
    """The port on every node that leads to the echo beside the game."""
    for port in lab.service(service).object["spec"]["ports"]:
        if port["port"] == SIDECAR_PORT and port.get("nodePort"):
            return int(port["nodePort"])
    raise LabError(f"the Service {service} has no node port for UDP {SIDECAR_PORT}")
