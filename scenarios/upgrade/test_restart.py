"""What Cilium versions got wrong when an agent restarts: shared/facts/cilium.md, sections 3.2 and 5."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from harness import negotiation
from harness.faults.router import BgpdKilled
from harness.lab import Lab
from harness.objects import deployment, service
from harness.service import Service
from harness.timeline import event
from harness.wait import let_pass, until

#: The manifests' own timers, hold 9 s and restart 20 s: GoBGP before 3.35 takes 5 to 10 s until it first connects
#: (facts/cilium.md 3.3), longer than the restart time of the quick timers.
pytestmark = [pytest.mark.lab(timers="manifest")]

#: Seconds until a restarted agent's routes are expected: GoBGP's connect delay of 5 to 10 s before 3.35, its start,
#: and the router's kernel (facts/cilium.md 3.3).
FRESH_WITHIN = 15.0
#: FRR sets the R-bit in its OPEN for the first 120 s of a bgpd (bgpd/bgpd.c, bgp_create: t_startup with
#: BGP_DEFAULT_RESTART_TIME), and GoBGP does not wait for the End-of-RIB of a peer that has itself restarted.
STARTUP = 120.0


@pytest.fixture
def alone(lab: Lab) -> Service:
    """A service that worker1 alone announces, so that no other next hop hides an outage."""
    lab.apply([deployment("game", node="worker1"), service("game", policy="Local")])
    game = lab.service("game")
    lab.wait_next_hops(game.prefix, ["worker1"])
    lab.converge()
    return game


def fresh(lab: Lab, prefix: str, router: str | None = None) -> None:
    """Wait until a router has heard the route anew: worker1's path is there and no longer stale."""
    node = lab.node("worker1").address
    until(
        f"{prefix} of worker1 to be fresh",
        lambda: lab.router(router).bgp.next_hops(prefix, stale=False),
        lambda hops: node in hops,
        within=FRESH_WITHIN,
        show=lambda hops: f"fresh next hops {', '.join(sorted(hops)) or 'none'}",
    )


def restarted(lab: Lab, record: Callable[[str, object], None], prefix: str, router: str | None = None) -> float:
    """End worker1's agent and start it again; gives the seconds from its start until its route is fresh."""
    node, at = lab.node("worker1"), lab.router(router)
    node.agent.kill()
    until(  # for some milliseconds the router has not noticed
        f"{prefix} of worker1 to be stale or gone",
        lambda: at.bgp.next_hops(prefix, stale=False),
        lambda hops: node.address not in hops,
        within=5,
    )
    began = node.agent.start()
    fresh(lab, prefix, router)
    took = (time.monotonic_ns() - began) / 1e6
    record("time_to_route_ms", round(took, 1))
    return took / 1e3


def test_28168_route_is_kept_while_the_agent_reconnects(
    lab: Lab, alone: Service, record_property: Callable[[str, object], None]
) -> None:
    """Before the R-bit (1.14.0 to the backport of #28293) the router flushed kept routes at the second OPEN.

    Row 5 of facts/cilium.md 5. What packets see of it is in scenarios/graceful_restart.
    """
    timers = negotiation.graceful(lab, lab.router().name, "worker1")
    node, began = lab.node("worker1"), time.monotonic_ns()
    assert alone.prefix in {route.prefix for route in lab.router().kernel_routes()}, "the precondition"
    restarted(lab, record_property, alone.prefix)
    until(
        "the End-of-RIB, at which the router forgets what was not announced again",
        lambda: lab.router().bgp.peer(node.address).graceful_restart.eor_received,
        lambda families: "ipv4" in families,
        within=timers.restart,
    )
    let_pass(1)
    happened = lab.timeline.events(began)
    gone = [each for each in happened.of(event.FIB_DELETE, subject=lab.router().name) if alone.prefix in each.text]
    assert not gone, f"the router forgot the route: {'; '.join(each.text for each in gone)}"
    assert lab.router().bgp.peer(node.address).graceful_restart.r_bit, "the OPEN does not say: restarted"


@pytest.fixture
def helpless(lab: Lab) -> Iterator[str]:
    """The first router does without graceful restart, for worker1 alone."""
    router, address = lab.router(), lab.node("worker1").address
    with router.configured(
        ["router bgp 64512", f"neighbor {address} graceful-restart-disable"],
        ["router bgp 64512", f"no neighbor {address} graceful-restart-disable"],
    ):
        yield router.name
    # FRR wants the session anew for the capability to be offered again
    router.vty.run("bgpd", f"clear bgp {address}")


def test_gobgp_routes_to_a_router_without_graceful_restart(
    lab: Lab, alone: Service, helpless: str, record_property: Callable[[str, object], None]
) -> None:
    """A restarting GoBGP before 3.26 never sent its routes to a peer that does not offer graceful restart.

    GoBGP 3ae91215, Cilium up to 1.15.6: facts/cilium.md 3.2.
    """
    restarted(lab, record_property, alone.prefix, helpless)
    negotiation.plain(lab, helpless, "worker1")  # the precondition
    lab.wait_next_hops(alone.prefix, ["worker1"])


@pytest.mark.slow
def test_30367_routes_after_a_restart_beside_a_router_of_ipv4_only(
    lab: Lab, alone: Service, record_property: Callable[[str, object], None]
) -> None:
    """1.15.0 and 1.15.1 waited 360 s for the End-of-RIB of a family that the router had not offered.

    Row 6 of facts/cilium.md 5; GoBGP 815683fa, 3.2. Only a router that has not itself just started is waited for: that
    is what takes two minutes.
    """
    router = lab.router()
    negotiation.graceful(lab, router.name, "worker1")
    started = lab.backend.processes()[router.daemon("bgpd").name].started_ns or 0
    let_pass(max(0.0, STARTUP + 2 - (time.monotonic_ns() - started) / 1e9))
    restarted(lab, record_property, alone.prefix)
    opened = lab.timeline.events().of(event.OPEN, peer=lab.node("worker1").address, direction="sent")[-1]
    assert not opened.data["graceful_restart"]["r_bit"], f"the precondition: {opened.text}"
    assert "ipv6" not in opened.data["families"], f"the precondition: {opened.text}"


@pytest.mark.gate
@pytest.mark.lab(topology="two-routers")
def test_gobgp_a_dead_peer_does_not_hold_routes_back(
    lab: Lab, known_bad: Callable[[str, str], None], record_property: Callable[[str, object], None]
) -> None:
    """After a restart the healthy router hears the routes at once, whatever the other one does.

    Since GoBGP 4.6 (748e233f, Cilium 1.20) a peer with graceful restart that is down keeps a restarting agent from
    sending anything, for up to 360 s: facts/cilium.md 3.2.
    """
    known_bad("1.20.0", "GoBGP 4.6 waits for peers that are down: facts/cilium.md 3.2")
    first, second = lab.routers
    for name in (first, second):
        negotiation.graceful(lab, name, "worker1")
    web = lab.service("web")
    with lab.fault(BgpdKilled(second)):
        restarted(lab, record_property, web.prefix, first)
