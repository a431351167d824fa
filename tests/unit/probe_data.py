"""Synthetic probe runs: what a prober would have recorded on a path with known faults."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from harness.traffic.arrivals import MAX_GAPS
from harness.traffic.control import FlowLog, ServerLog
from harness.traffic.records import Account, Backend, Header, Passage, Reply, Run, Tap, Unanswered, Unsent

MS = 1_000_000
START = 1000 * 1000 * MS


def header(rate: float = 1000, flows: int = 1, mode: str = "udp", late: int = 2000 * MS) -> Header:
    return Header(
        mode=mode,
        to="192.0.2.1:7777",
        rate=rate,
        interval=int(1e9 / rate),
        flows=flows,
        sources=(),
        size=100,
        session="00000000000000aa",
        late=late,
        started=START,
        receive_stamp="synthetic",
        scheduler="synthetic",
    )


@dataclass
class Path:
    """A path that loses what it is told to, by sequence number."""

    up: Collection[int] = ()
    down: Collection[int] = ()
    unsent: Collection[int] = ()
    pauses: Mapping[int, int] = field(default_factory=dict)  # sequence -> extra ns before it is sent
    backend: Callable[[int], int] = lambda sequence: 0
    delay_up: Callable[[int], int] = lambda sequence: 100_000
    delay_down: Callable[[int], int] = lambda sequence: 200_000


def gaps_of(received: Collection[int]) -> tuple[tuple[int, int], ...]:
    ordered = sorted(set(received))
    return tuple((a + 1, b - 1) for a, b in pairwise(ordered) if b > a + 1)


def probe(count: int, *paths: Path, rate: float = 1000, late: int = 2000 * MS, accounts: bool = True) -> Run:
    """A run over the given paths, one flow each."""
    run = Run(header(rate, len(paths), late=late))
    interval = run.header.interval
    for flow, path in enumerate(paths):
        at = START + flow * interval // len(paths)
        received: dict[int, list[int]] = {}
        for sequence in range(1, count + 1):
            at += path.pauses.get(sequence, 0)
            if sequence in path.unsent:
                run.unsent.append(Unsent(at, flow, sequence, "ENETUNREACH"))
            elif sequence in path.up:
                run.unanswered.append(Unanswered(flow, sequence, at))
            else:
                backend = path.backend(sequence)
                own = received.setdefault(backend, [])
                own.append(sequence)
                if sequence in path.down:
                    run.unanswered.append(Unanswered(flow, sequence, at))
                else:
                    reply = Reply(flow, sequence, at, path.delay_up(sequence), 10, path.delay_down(sequence), backend)
                    run.replies.append(reply)
                    if accounts:
                        gaps = gaps_of(own)
                        account = Account(reply.received, flow, backend, own[0], own[-1], len(own), 0, gaps[-MAX_GAPS:])
                        run.accounts.append(account)
            at += interval
        for backend in received:
            if all(known.number != backend for known in run.backends):
                run.backends.append(Backend(START, backend, f"node{backend}", f"default/pod{backend}", f"i{backend}"))
    return run


def server_log(run: Run, received: Mapping[int, Collection[int]], instance: str = "i0") -> ServerLog:
    """The log of a server that received these numbers of each flow."""
    return ServerLog(
        node="node0",
        pod="default/pod0",
        instance=instance,
        at=START,
        flows=tuple(
            FlowLog(run.header.session, flow, min(own), max(own), len(own), 0, 0, 0, 0, gaps_of(own))
            for flow, own in received.items()
            if own
        ),
    )


def tap(run: Run, up: Collection[int], down: Collection[int], lost: int = 0) -> Tap:
    """A tap at a node's interface that saw these numbers of flow 0 come in, and these replies go out."""
    seen = [Passage(START, "eth0", "in", "up", run.header.session, 0, number) for number in up]
    seen += [Passage(START, "eth0", "out", "down", run.header.session, 0, number) for number in down]
    return Tap("eth0", START - MS, seen, end=START + 3600 * 1000 * MS, lost=lost)
