"""Routes, bits and subcodes of a lab, recorded as facts: on a real cluster they have to be the embedded lab's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.faults.agent import AgentStopped
from harness.lab import Lab
from harness.routing.frr import BgpPath, Notification
from harness.verdict.conformance import FACT
from harness.wait import until

pytestmark = [pytest.mark.lab(topology="restart")]

Record = Callable[[str, Any], None]


@pytest.mark.gate
def test_sessions(lab: Lab, record_property: Record) -> None:
    """What each router and the node have negotiated: timers, capabilities, bits."""
    for name, router in lab.routers.items():
        peer = router.bgp.peer(lab.node("worker1").address)
        assert peer.established
        restart = peer.graceful_restart
        record_property(f"{FACT}{name}: remote AS", str(peer.remote_as))
        record_property(f"{FACT}{name}: hold, keepalive", f"{peer.hold:g} s, {peer.keepalive:g} s")
        record_property(f"{FACT}{name}: graceful restart", f"{restart.capability}, {restart.remote_mode}")
        record_property(f"{FACT}{name}: N-bit, restart time", f"{restart.n_bit}, {restart.restart_time}")
        record_property(f"{FACT}{name}: End-of-RIB received", ", ".join(sorted(restart.eor_received)))


def test_routes(lab: Lab, record_property: Record) -> None:
    """The routes that each router has, with their attributes, down to its kernel."""
    for service in ("cluster", "local"):
        prefix = lab.service(service).prefix
        for name, router in lab.routers.items():
            paths = router.bgp.routes()[prefix].paths
            assert paths, f"{name} has no path to {prefix}"
            record_property(f"{FACT}{name}: next hops of {service}", str(lab.next_hops(prefix, name)))
            record_property(f"{FACT}{name}: attributes of {service}", "; ".join(sorted(map(_attributes, paths))))


def test_stop_and_restart(lab: Lab, record_property: Record) -> None:
    """An agent is stopped and started: the NOTIFICATION that each router hears, and the bits of the next OPEN."""
    address = lab.node("worker1").address
    before = {name: router.bgp.peer(address).dropped_count for name, router in lab.routers.items()}

    def dropped() -> dict[str, int]:
        return {name: router.bgp.peer(address).dropped_count for name, router in lab.routers.items()}

    with lab.fault(AgentStopped("worker1")):
        until(
            "every router to lose the session",
            dropped,
            lambda counts: all(counts[name] > before[name] for name in counts),
            within=30,
        )
        for name, router in lab.routers.items():
            record_property(f"{FACT}{name}: NOTIFICATION", _told(router.bgp.peer(address).last_notification))
    for router in lab.routers.values():
        router.wait_established(address)
    for name, router in lab.routers.items():
        restart = router.bgp.peer(address).graceful_restart
        bits = ", ".join(f"{family} {bit}" for family, bit in sorted(restart.f_bit.items())) or "none"
        record_property(f"{FACT}{name}: R-bit after its restart", str(restart.r_bit))
        record_property(f"{FACT}{name}: F-bits after its restart", bits)


def _attributes(path: BgpPath) -> str:
    return (
        f"AS {' '.join(map(str, path.as_path))}, origin {path.origin}, communities {' '.join(path.communities) or '-'}"
    )


def _told(heard: Notification | None) -> str:
    return "none received" if heard is None or heard.direction != "received" else f"{heard.code}/{heard.subcode}"
