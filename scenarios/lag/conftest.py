"""What the scenarios of this family share: when a refresh is due, and where timelines of a mechanism are kept."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.arp.router_arp import FreebsdArp
from harness.diagnose.decide import name_of
from harness.lab import Lab
from harness.lag.gaps import Gaps
from harness.lag.mechanisms import Mechanism
from harness.timeline import journal
from harness.wait import let_pass, until

#: The folder in which the timeline of each mechanism's scenario is kept, if the variable is set.
KEEP = "LBLAB_LAG_TIMELINES"
#: Which course of a scenario's random moments is taken.
SEED = "LBLAB_LAG_SEED"

Witness = Callable[..., None]
Note = Callable[..., None]


@pytest.fixture
def seed() -> int:
    """The number of the course of random moments."""
    return int(os.environ.get(SEED, "1"))


@pytest.fixture
def dice(request: pytest.FixtureRequest, seed: int) -> random.Random:
    """Random moments, the same ones each time for a scenario and a seed."""
    return random.Random(f"{request.node.name} {seed}")


@pytest.fixture
def witness(lab: Lab, seed: int) -> Witness:
    """Keep what happened since a moment as the timeline of a mechanism; its time may be scaled, and have a row.

    `lblab diagnose` has to name the mechanism by it.
    """

    def keep(mechanism: Mechanism, since_ns: int, time_scale: float = 1.0, row: str = "") -> None:
        happened = lab.timeline.events(since_ns)
        if folder := os.environ.get(KEEP):
            scale = "" if time_scale == 1 else f"-x{time_scale:g}"
            journal.save(Path(folder) / f"{mechanism.value}{row and '.'}{row}-{seed}{scale}.jsonl", happened)
        named = name_of(happened, time_scale)
        assert named is mechanism, f"diagnosed as {named.value if named else 'nothing that can be told'}"

    return keep


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Put the players' gaps into the scenario's record, with the scale that they were measured at."""

    def put(gaps: Gaps, *, scale: float = 1.0, predicted_s: float | None = None, **more: int) -> None:
        record_property("lag", {**gaps.facts(), "time_scale": scale, "predicted_s": predicted_s, **more})
        if gaps.length is not None:
            record_property("lag_ms", round(gaps.length * 1e3, 1))

    return put


class Refreshed:
    """A scaled lab in which worker1 announces an address: moments are FreeBSD's seconds since it was heard last."""

    def __init__(self, lab: Lab, address: str, router: str = "freebsd") -> None:
        self._lab, self.address = lab, address
        self.scale = lab.topology.time_scale
        found = lab.router(router).arp
        assert isinstance(found, FreebsdArp)
        self.arp = found
        self.heard_ns = 0

    def learn(self, client: str = "client-freebsd") -> None:
        """Let the router learn the address of worker1, and begin to count."""
        self.arp.delete(self.address)
        until("an answer", lambda: answers(self._lab, client, self.address), within=10)
        entry = until(
            "the router to send to worker1",
            lambda: self.arp.entry(self.address),
            lambda found: found is not None and found.host == "worker1",
            within=5,
        )
        assert entry is not None
        assert entry.heard_ns is not None
        self.heard_ns = entry.heard_ns

    def at(self, seconds: float) -> None:
        """Let time pass until so many of FreeBSD's seconds after the entry was heard of."""
        let_pass(max(0.0, (self.heard_ns + seconds * self.scale * 1e9 - time.monotonic_ns()) / 1e9))

    def since(self, at_ns: int) -> float:
        """A moment in FreeBSD's seconds."""
        return (at_ns - self.heard_ns) / 1e9 / self.scale


def answers(lab: Lab, client: str, address: str) -> bool:
    """Whether the echo beside the game answers a client."""
    try:
        return lab.client(client).udp(address, 7778, b"ready?", within=0.5) == b"ready?"
    except OSError:
        return False


@contextmanager
def dead(lab: Lab, node: str, address: str) -> Iterator[int]:
    """Let every packet for an address be lost on its way to a node, as if it had lost its power."""
    stamp = lab.backend.block(node, "servers", "dead", f"ip daddr {address}")
    try:
        yield stamp.at_ns
    finally:
        lab.backend.block(node, "servers", "dead", None)
