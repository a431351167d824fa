"""A run in one look: what was lost, for how long, on which way, and how far the figures can be trusted.

Everything is computed from records; see `packets`, `outages`, `metrics`, `convergence` and `game` for the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.traffic import convergence, game, metrics
from harness.traffic.control import ServerLog
from harness.traffic.outages import Outage, outages, outages_of_all, own_gaps, resolution
from harness.traffic.packets import Flow, flows
from harness.traffic.records import IcmpError, Run, SeenAs, Tap

#: Up to this rate (packets per second and flow) a flow is game-like, and its gaps are graded: games send 20 to 60.
GAME_RATE = 120


@dataclass(frozen=True)
class Move:
    """The server began to see a flow under another address: an address translation on the way lost its state."""

    at: int
    flow: int
    before: str
    after: str


@dataclass(frozen=True)
class Analysis:
    """What a run says. Times and durations are nanoseconds.

    Attributes:
        flows: Every packet and its fate.
        outages: Of each flow, in order of their starts.
        blackouts: The times in which no flow got through.
        loss: Packets by fate, all flows.
        longest: The longest outage of any flow.
        resolution: How finely the ends of outages are known.
        own_gaps: Time that the prober missed of its own schedule, of the flow that missed most.
        longest_own_gap: The longest such time: an outage as short as that may have been missed.
        loc: Loss of connectivity period of the flows (RFC 6412).
        rate: Convergence by the forwarding rate (RFC 6413).
        moves: Changes of the address under which a flow is seen.
        icmp: ICMP errors that came back.
        disturbances: What a player felt, by grade; the stalls of TCP connections; empty for faster flows.
    """

    flows: list[Flow]
    outages: list[Outage]
    blackouts: list[Outage]
    loss: metrics.Loss
    longest: Outage | None
    resolution: int
    own_gaps: int
    longest_own_gap: int
    loc: convergence.LossOfConnectivity
    rate: convergence.RateDerived
    moves: list[Move]
    icmp: list[IcmpError]
    disturbances: dict[game.Grade, int]

    @property
    def clean(self) -> bool:
        """Whether every packet that was sent was answered in time."""
        return self.loss.lost == 0 and self.loss.unsent == 0

    def between(self, begin: int, end: int) -> list[Outage]:
        """The outages that overlap an interval."""
        return [outage for outage in self.outages if outage.start <= end and outage.end >= begin]

    def facts(self) -> dict[str, Any]:
        """The figures for a result's JSON; durations in milliseconds."""
        return {
            "sent": self.loss.sent,
            "lost": {
                "up": self.loss.lost_up,
                "down": self.loss.lost_down,
                "unknown": self.loss.lost_unknown,
                "late": self.loss.late,
                "unsent": self.loss.unsent,
            },
            "duplicates": self.loss.duplicates,
            "reordered": sum(metrics.reordering(flow, "round trip").reordered for flow in self.flows),
            "longest_outage_ms": _ms(self.longest.duration) if self.longest else 0.0,
            "outages": [_outage(outage) for outage in self.outages],
            "blackouts": [_outage(outage) for outage in self.blackouts],
            "loss_of_connectivity_ms": {
                name: _ms(value) for name, value in asdict(self.loc).items() if name != "by_flow"
            },
            "rate_derived_ms": None if self.rate.full is None else _ms(self.rate.full),
            "resolution_ms": _ms(self.resolution),
            "own_gaps_ms": _ms(self.own_gaps),
            "longest_own_gap_ms": _ms(self.longest_own_gap),
            "moves": len(self.moves),
            "icmp_errors": len(self.icmp),
            "disturbances": {grade.name.lower(): number for grade, number in self.disturbances.items() if number},
        }


def analyse(
    run: Run,
    *,
    logs: Iterable[ServerLog] = (),
    taps: Sequence[Tap] = (),
    ended: Mapping[str, int] | None = None,
    late: int | None = None,
    at_least: int = 1,
) -> Analysis:
    """Analyse a run; the arguments are those of `packets.flows` and `outages.outages`."""
    all_flows = flows(run, logs=logs, taps=taps, ended=ended, late=late)
    found = sorted((o for flow in all_flows for o in outages(flow, at_least=at_least)), key=lambda o: o.start)
    missed = [[after - before - flow.interval for before, after in own_gaps(flow)] for flow in all_flows]
    felt: list[game.Disturbance] = []
    if run.header.rate <= GAME_RATE and run.header.mode != "http":
        listened = run.end.at if run.end else None
        felt = [each for flow in all_flows for each in game.disturbances(flow, until=_last(flow, listened))]
    return Analysis(
        flows=all_flows,
        outages=found,
        blackouts=outages_of_all(all_flows, at_least=at_least),
        loss=metrics.loss(all_flows),
        longest=max(found, key=lambda outage: outage.duration, default=None),
        resolution=resolution(all_flows),
        own_gaps=max((sum(gaps) for gaps in missed), default=0),
        longest_own_gap=max((gap for gaps in missed for gap in gaps), default=0),
        loc=convergence.loss_of_connectivity(all_flows),
        rate=convergence.rate_derived(all_flows),
        moves=moves(run.seen_as),
        icmp=run.icmp_errors,
        disturbances=game.count(felt) if felt else {},
    )


def moves(seen_as: Iterable[SeenAs]) -> list[Move]:
    """Every change of the address that the servers see a flow under; the first address is no change."""
    known: dict[int, str] = {}
    found: list[Move] = []
    for each in seen_as:
        before = known.get(each.flow)
        if before is not None and before != each.address:
            found.append(Move(each.at, each.flow, before, each.address))
        known[each.flow] = each.address
    return found


def _last(flow: Flow, listened: int | None) -> int | None:
    """Until when an update was due: an interval after the last packet, or when the client stopped listening."""
    if not flow.packets:
        return None
    due = flow.packets[-1].sent + flow.interval
    return due if listened is None else min(due, listened)


def _ms(nanoseconds: float) -> float:
    return round(nanoseconds / 1e6, 3)


def _outage(outage: Outage) -> dict[str, Any]:
    return {
        "flow": outage.flow,
        "start": outage.start,
        "end": outage.end,
        "ms": _ms(outage.duration),
        "shortest_ms": _ms(outage.shortest),
        "longest_ms": None if outage.longest is None else _ms(outage.longest),
        "lost": outage.lost,
        "direction": outage.direction,
        "place": outage.place.value if outage.place else None,
        "unobserved_ms": _ms(outage.unobserved),
        "ended": outage.first_good is not None,
    }
