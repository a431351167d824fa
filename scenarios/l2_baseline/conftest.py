"""What scenarios on MetalLB's L2 mode share: `topologies/metallb-l2.yaml`, whose address `web` worker1 leads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from harness.lab import Lab
from harness.measure import Measured, Probe
from harness.metallb.settled import settled
from harness.timeline import event
from harness.verdict.predict import Prediction

#: Packets a second of each probe: outages of seconds, known to 20 ms.
RATE = 100
RESOLUTION_MS = 50
Announced = Callable[..., float]


@pytest.fixture
def web(lab: Lab) -> str:
    """The address of the service `web`; its leader answers for it, and the router knows."""
    address = lab.service("web").address
    leader = lab.l2.leader(address)
    assert leader is not None
    settled(lab, address, leader)
    return address


@pytest.fixture
def leader(lab: Lab, web: str) -> str:
    """The node that answers for `web`."""
    node = lab.l2.leader(web)
    assert node is not None
    return node


@pytest.fixture
def heir(lab: Lab, web: str) -> str:
    """The node that is next in line for `web`."""
    return lab.l2.expected()[web].candidates[0]


@pytest.fixture
def announced(lab: Lab) -> Announced:
    """Wait until a node announces an address by gratuitous ARP; gives the seconds since a moment."""

    def wait(address: str, node: str, since_ns: int, *, within: float) -> float:
        heard = lab.timeline.wait(event.ARP_ANNOUNCED, within=within, after_ns=since_ns, address=address, node=node)
        return (heard.at_ns - since_ns) / 1e9

    return wait


@pytest.fixture
def measured(lab: Lab, web: str, leader: str) -> Callable[[Callable[[], None]], Measured]:
    """Measure what a client of `web` loses while something is done; every run starts with the leader in place."""

    def run(act: Callable[[], None]) -> Measured:
        lab.undo_faults()
        settled(lab, web, leader)
        probe = Probe(lab, web, 7777, rate=RATE, resolution_ms=RESOLUTION_MS, name="web")
        with probe:
            act()
        return probe.measured

    return run


def within(times: Sequence[float], predicted: Prediction, slack: float = 0.5) -> None:
    """Assert that times are what the timers promise; to be asked when it is known that the machine was not too busy.

    The slack is for processes that wait for a CPU.
    """
    low, high = predicted.low - 0.1, predicted.high + slack
    assert times
    assert all(low <= seconds <= high for seconds in times), f"{times} s, predicted {predicted}"
