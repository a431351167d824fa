"""Measures the cells of the lag matrix: one lab, one address for each set-up, all of them over the same refreshes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.arp.announcer import Announcer
from harness.bringup import open_lab
from harness.cilium import semver
from harness.cilium.expected_l2 import LOCAL_SINCE
from harness.errors import UserError
from harness.lab import Lab
from harness.lag.gaps import Gaps
from harness.lag.matrix import Cell, Figures, Matrix, ordered
from harness.lag.server import game_service
from harness.measure import together
from harness.play import SIDECAR_PORT, SOURCE_PORT, Game
from harness.timeline import journal
from harness.topology import load
from harness.verdict.arp import Freebsd
from harness.wait import let_pass, steady, until

#: Who is who in topologies/lag.yaml.
_METALLB, _CILIUM = "worker1", "worker2"
_SERVERS = {"Cluster": "game", "Local": "game-local"}
#: Players of each game and their inputs a second, in the lab's own time: 10 ms are half a second at a scale of 0.02.
PLAYERS, RATE = 2, 100.0
#: Of the whole matrix's 36 games at once.
RATE_OF_ALL = 40.0
#: Unscaled seconds after the last refresh.
_AFTERWARDS = 90.0
_ANSWERS_WITHIN = 10.0
#: Own seconds in which an address that nobody announces is seen to be answered by nobody.
_NOBODY = 1.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What is to be measured.

    Attributes:
        topology: topologies/lag.yaml, wherever it is.
        cells: The set-ups.
        late: How late MetalLB's speaker answers, unscaled seconds.
        refreshes: Over how many refreshes of the router's entry: three gaps make a period.
        time_scale: Factor on FreeBSD's ARP timers, on the lateness and on what players feel.
        cilium_version: Exact, a minor, or None for the newest.
        timeline: Where to keep what happened.
        build: Build what is missing.
    """

    topology: Path
    cells: Sequence[Cell]
    late: float = 30.0
    refreshes: int = 3
    time_scale: float = 0.02
    cilium_version: str | None = None
    timeline: Path | None = None
    build: bool = True


def measure(wanted: Wanted, progress: Progress = lambda _: None) -> Matrix:
    """Bring a lab up, measure every cell at once, and take the lab down.

    Raises:
        UserError: when the topology is none of the lag lab's.
        LabError: when the lab does not come up, or an address is not answered for as its cell says.
    """
    _check(wanted.topology)
    with open_lab(
        wanted.topology,
        cilium_version=wanted.cilium_version,
        name=f"lag-matrix-{os.getpid()}",
        timers="quick",
        time_scale=wanted.time_scale,
        build=wanted.build,
        progress=progress,
    ) as lab:
        return Course(lab, wanted, progress).run()


class Course:
    """One measurement of all cells."""

    def __init__(self, lab: Lab, wanted: Wanted, progress: Progress) -> None:
        self._lab, self._wanted, self._progress = lab, wanted, progress
        self._scale = wanted.time_scale
        self._cells = ordered(wanted.cells)
        services = ordered([Cell(cell.announcer, cell.address, "freebsd", cell.policy) for cell in self._cells])
        self._services = {cell.service: cell for cell in services}

    def run(self) -> Matrix:
        """Measure."""
        self._progress(f"{len(self._services)} addresses for {len(self._cells)} set-ups")
        self._lab.apply([self._service(cell) for cell in self._services.values()])
        self._lab.converge()
        with self._announced():
            for cell in self._cells:
                self._settle(cell)
            games = self._games()
            with together(games):
                began, before = time.monotonic_ns(), self._counted()
                self._pass(began)
                after = self._counted()
                self._progress("reading what the players felt")
        if self._wanted.timeline is not None:
            journal.save(self._wanted.timeline, self._lab.timeline.events(since_ns=began))
        cells = {}
        for cell in self._cells:
            if not cell.reachable:
                cells[cell] = Figures(None)
                continue
            played = games[cell.key].measured
            moves, expiries = (now - then for now, then in zip(after[cell.key], before[cell.key], strict=True))
            cells[cell] = Figures(Gaps.of(played, self._scale), moves, expiries, played.analysis.loss.lost)
        return Matrix(cells, self._wanted.late, self._conditions())

    def _counted(self) -> dict[str, tuple[int, int]]:
        """How often each router's entry of a cell's address has moved and run out so far."""
        found = {}
        for cell in self._cells:
            arp, address = self._lab.router(cell.arp).arp, self._lab.service(cell.service).address
            found[cell.key] = arp.moves(address), arp.expiries(address)
        return found

    def _service(self, cell: Cell) -> dict[str, Any]:
        where = {"on-link": "on-link", "static route": "static", "BGP": "bgp"}[cell.address]
        return game_service(cell.service, app=_SERVERS[cell.policy], policy=cell.policy, labels={"address": where})

    # -- who announces ------------------------------------------------------------------------------------------------

    @contextmanager
    def _announced(self) -> Iterator[None]:
        """Let each address be answered for by whom its cell names."""
        with ExitStack() as stack:
            metallb, cilium = (stack.enter_context(self._lab.node(node).announcer) for node in (_METALLB, _CILIUM))
            for name, cell in self._services.items():
                if cell.advertisement == "L2":
                    self._announce(cell, self._lab.service(name).address, metallb, cilium)
            yield

    def _announce(self, cell: Cell, address: str, metallb: Announcer, cilium: Announcer) -> None:
        """Both where the address is announced by both; with policy Local only from the node that has the server.

        There Cilium's answer in BPF consumes the request, which MetalLB's speaker on the same node never sees
        (facts/l2_and_lag.md, section 1.5); before 1.20 Cilium announced from any node.
        """
        local = cell.policy == "Local" and semver.parse(self._lab.cilium_version).line >= LOCAL_SINCE
        prompt = metallb if local else cilium
        by_cilium = cell.announcer in ("both", "cilium")
        if by_cilium:
            prompt.announce(address, gratuitous=False)
        if cell.announcer in ("both", "metallb") and not (by_cilium and local):
            metallb.announce(address, gratuitous=False)
            metallb.delay(address, self._wanted.late * self._scale)

    def _settle(self, cell: Cell) -> None:
        """Wait until players get there, and the slower answer has come; or see that they do not get there."""
        address = self._lab.service(cell.service).address
        answers = partial(_answers, self._lab, f"client-{cell.arp}", address)
        if not cell.reachable:
            steady(f"no answer from {cell.service}", answers, lambda answered: not answered, window=_NOBODY)
            return
        until(f"an answer from {cell.service} behind {cell.arp}", answers, within=_ANSWERS_WITHIN)
        if cell.arp == "freebsd" and cell.address == "on-link" and cell.announcer in ("both", "metallb"):
            until(
                f"{address} to be at {_METALLB}",
                lambda: self._lab.l2.owner(address, cell.arp),
                lambda owner: owner == _METALLB,
                within=_ANSWERS_WITHIN,
                show=str,
            )

    # -- who plays ----------------------------------------------------------------------------------------------------

    def _games(self) -> dict[str, Game]:
        reachable = [cell for cell in self._cells if cell.reachable]
        rate = RATE if len(reachable) <= 16 else RATE_OF_ALL
        return {
            cell.key: Game(
                self._lab,
                self._lab.service(cell.service).address,
                client=f"client-{cell.arp}",
                players=PLAYERS,
                tick_rate=rate,
                scale=self._scale,
                source_port=SOURCE_PORT + PLAYERS * number,
                name=cell.key,
            )
            for number, cell in enumerate(reachable)
        }

    def _pass(self, began: int) -> None:
        """Let the refreshes pass, and say how far it is."""
        longest = self._wanted.refreshes * (Freebsd(1.0).asks[0] + 2 * self._wanted.late) + _AFTERWARDS
        end = began + longest * self._scale * 1e9
        while (left := (end - time.monotonic_ns()) / 1e9) > 0:
            self._progress(f"{self._wanted.refreshes} refreshes of {len(self._cells)} set-ups, {left:.0f} s left")
            let_pass(min(left, 10.0))

    def _conditions(self) -> dict[str, Any]:
        return {
            "topology": self._lab.topology.name,
            "cilium": self._lab.cilium_version,
            "backend": self._lab.backend.kind,
            "time_scale": self._scale,
            "refreshes": self._wanted.refreshes,
            "players": PLAYERS,
            "stand_ins": list(self._lab.backend.stand_ins),
            "not_scaled": "Linux's ARP timers; a Linux router hears the late answer so much earlier",
        }


def _check(path: Path) -> None:
    """See that a topology has the hosts that the matrix is measured with."""
    found = load(path)
    missing = [
        name
        for names, known in (
            ((_METALLB, _CILIUM), found.nodes),
            (("freebsd", "linux"), found.routers),
            (("client-freebsd", "client-linux"), found.clients),
        )
        for name in names
        if name not in known
    ]
    if missing:
        raise UserError(f"the lag matrix needs {', '.join(missing)}", file=path, hint="start from topologies/lag.yaml")


def _answers(lab: Lab, client: str, address: str) -> bool:
    try:
        return lab.client(client).udp(address, SIDECAR_PORT, b"ready?", within=0.5) == b"ready?"
    except OSError:
        return False
