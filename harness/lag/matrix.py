"""The decisive matrix: which single change of a set-up removes a periodic lag (facts/l2_and_lag.md, section 3.4). Pure.

A cell is a way in which players reach a game server: who answers ARP for its address, whether the router asks for it at
all, how the router keeps what it has heard, and whether any node takes packets in. All cells are measured at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal

from harness.lag.gaps import Gaps
from harness.verdict.arp import Freebsd, late_announcer, two_announcers

Announcer = Literal["both", "metallb", "cilium", "none"]
Address = Literal["on-link", "static route", "BGP"]
Arp = Literal["freebsd", "linux"]
Policy = Literal["Cluster", "Local"]
ANNOUNCERS: tuple[Announcer, ...] = ("both", "metallb", "cilium", "none")
TITLES = {
    "both": "MetalLB and Cilium L2",
    "metallb": "MetalLB",
    "cilium": "Cilium L2",
    "none": "nobody",
    "freebsd": "FreeBSD",
    "linux": "Linux",
}


@dataclass(frozen=True)
class Cell:
    """One set-up.

    Attributes:
        announcer: Who answers ARP for the address. MetalLB's speaker is late, Cilium's answer comes at once.
        address: Whether the router asks for it by ARP, or has a route to a node.
        arp: How the router keeps ARP entries.
        policy: externalTrafficPolicy. With Local the server is on the node that announces.
    """

    announcer: Announcer = "both"
    address: Address = "on-link"
    arp: Arp = "freebsd"
    policy: Policy = "Cluster"

    @property
    def advertisement(self) -> str:
        """How routers learn of it: by BGP, or on layer 2."""
        return "BGP" if self.address == "BGP" else "L2"

    @property
    def service(self) -> str:
        """The name of its Service, which cells that differ in the router share."""
        return f"{self.announcer}-{self.address}-{self.policy}".lower().replace(" ", "-")

    @property
    def key(self) -> str:
        """What JSON calls it."""
        return f"{self.service}-{self.arp}"

    @property
    def reachable(self) -> bool:
        """Whether anybody gets there at all: on the link somebody has to answer."""
        return self.address != "on-link" or self.announcer != "none"

    def __str__(self) -> str:
        how = f"announced by {TITLES[self.announcer]}, " if self.address == "on-link" else ""
        return f"{how}{self.address}, {TITLES[self.arp]}'s ARP, policy {self.policy}"

    def predicted(self, late: float) -> tuple[float, float | None]:
        """How long each gap should be, and how often it should come, in seconds; no gap is (0, None).

        Args:
            late: How late MetalLB's speaker answers.
        """
        if self.address != "on-link" or self.arp == "linux" or self.announcer in ("cilium", "none"):
            return 0.0, None
        if self.announcer == "both" and self.policy == "Local":
            return 0.0, None  # both announce from the node that has the server: whichever answers, it is one MAC
        of = two_announcers if self.announcer == "both" else late_announcer
        visits = of(Freebsd(1.0), late)
        return visits.length, visits.period if visits.length else None


#: Linux takes no change of an entry for so many seconds after the last one (locktime; facts/l2_and_lag.md, 2.2).
_LOCKTIME = 1.0
#: The set-up that lagged, as far as is known of it.
BASE = Cell()
#: What may be changed in it, one at a time, and what a person would call that.
CHANGES: Mapping[str, Cell] = {
    "take Cilium's announcer away": replace(BASE, announcer="metallb"),
    "take MetalLB away": replace(BASE, announcer="cilium"),
    "route the address to one node, no BGP": replace(BASE, address="static route"),
    "a router with Linux's ARP": replace(BASE, arp="linux"),
    "policy Local, the server on the announcing node": replace(BASE, policy="Local"),
    "BGP": Cell("none", "BGP"),
}


def decisive() -> list[Cell]:
    """The set-up that lagged, every single change of it, and what nobody announces."""
    return [BASE, *CHANGES.values(), Cell("none")]


def every() -> list[Cell]:
    """The whole matrix."""
    arps: tuple[Arp, ...] = ("freebsd", "linux")
    policies: tuple[Policy, ...] = ("Cluster", "Local")
    addresses: tuple[Address, ...] = ("on-link", "static route")
    found = [Cell(*each) for each in product(ANNOUNCERS, addresses, arps, policies)]
    return found + [Cell("none", "BGP", *each) for each in product(arps, policies)]


@dataclass(frozen=True)
class Figures:
    """What was measured in a cell.

    Attributes:
        gaps: The players' gaps; None when nobody got there.
        moves: How often the router's entry moved.
        expiries: How often it ran out.
        lost: Packets lost, of all players.
    """

    gaps: Gaps | None
    moves: int = 0
    expiries: int = 0
    lost: int = 0

    @property
    def lags(self) -> bool:
        """Whether players lagged, or got nowhere."""
        return self.gaps is None or bool(self.gaps.spans)

    @property
    def trusted(self) -> bool:
        """Whether the figures may be believed."""
        return self.gaps is None or self.gaps.trusted


@dataclass
class Matrix:
    """Every cell with its figures.

    Attributes:
        cells: In the order in which they are shown.
        late: How late MetalLB's speaker answered, unscaled seconds.
        conditions: Under which all was measured.
    """

    cells: dict[Cell, Figures]
    late: float
    conditions: dict[str, Any] = field(default_factory=dict)

    @property
    def trusted(self) -> bool:
        """Whether every figure may be believed."""
        return all(figures.trusted for figures in self.cells.values())

    def changes(self) -> list[tuple[str, Cell, bool | None]]:
        """Each single change of the set-up that lagged: whether it removes the lag; None when it was not measured."""
        known = self.cells
        return [
            (what, cell, None if cell not in known or BASE not in known else not known[cell].lags)
            for what, cell in CHANGES.items()
        ]

    def verdict(self) -> list[str]:
        """What follows, in sentences."""
        base = self.cells.get(BASE)
        if base is None:
            return ["The set-up that lagged was not among the cells."]
        if base.gaps is None or not base.gaps.spans:
            return ["The set-up that lagged did not lag here: nothing can be said of what removes it."]
        gaps = base.gaps
        often = f", {gaps.period}" if gaps.period else ", with no period that could be told"
        found = [f"{_first_upper(str(BASE))}: gaps of {gaps.length:.1f} s{often}."]
        for what, good in (("Removes the lag", True), ("Does not remove it", False)):
            names = [name for name, _, removes in self.changes() if removes is good]
            if names:
                found.append(f"{what}: {'; '.join(names)}.")
        scale = self.conditions.get("time_scale", 1.0)
        if self.late * scale < _LOCKTIME <= self.late and any(
            removes and cell.arp == "linux" for _, cell, removes in self.changes()
        ):
            found.append(
                f"Linux's timers are not scaled: here the late answer came {self.late * scale:g} s after the first, "
                f"within the second in which Linux takes no other; {self.late:g} s late it would take it."
            )
        if any(removes and cell.address == "static route" for _, cell, removes in self.changes()):
            found.append(
                "A static route does as well as BGP: what helps is that the router has no ARP entry of the address to "
                "refresh, not BGP itself."
            )
        return found

    def facts(self) -> dict[str, Any]:
        """The JSON form; seconds are unscaled."""
        return {
            "verdict": self.verdict(),
            "late_s": self.late,
            "trusted": self.trusted,
            "conditions": self.conditions,
            "changes": [
                {"change": what, "cell": cell.key, "removes_the_lag": removes} for what, cell, removes in self.changes()
            ],
            "cells": [
                {
                    "key": cell.key,
                    "announcer": cell.announcer,
                    "address": cell.address,
                    "router_arp": cell.arp,
                    "policy": cell.policy,
                    "advertisement": cell.advertisement,
                    "reachable": figures.gaps is not None,
                    "lags": figures.lags,
                    "router_moves": figures.moves,
                    "router_expiries": figures.expiries,
                    "lost": figures.lost,
                    "predicted": dict(zip(("gap_s", "period_s"), cell.predicted(self.late), strict=True)),
                    **({} if figures.gaps is None else figures.gaps.facts()),
                }
                for cell, figures in self.cells.items()
            ],
        }


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def ordered(cells: Sequence[Cell]) -> list[Cell]:
    """Each cell once, in the order given."""
    return list(dict.fromkeys(cells))
