"""The events of a scorecard: what happens to the victim, for how long, and what each announcer should lose.

An event is one function that injects faults and lets time pass; copy one to add one. Predictions are in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness.cilium import semver
from harness.faults.agent import AgentKilled, AgentStalled, AgentStopped
from harness.faults.backend import BackendMoved
from harness.faults.base import Fault
from harness.faults.control_plane import ApiServerGone
from harness.faults.link import LinkDown
from harness.faults.node import NodeSilent
from harness.faults.router import BgpdRestarted
from harness.faults.speaker import SpeakerKilled, SpeakerStalled, SpeakerStopped
from harness.lab import Lab
from harness.scorecard.model import CILIUM_BGP, CILIUM_BGP_GR, CILIUM_L2, METALLB_BGP, METALLB_L2, Column
from harness.scorecard.site import BACKENDS, Site
from harness.verdict.predict import (
    BgpTimers,
    Lease,
    Prediction,
    cilium_l2_node_lost,
    cilium_l2_released,
    metallb_speaker_left,
    metallb_speaker_lost,
    router_bgpd_restarted,
    silent_node,
)
from harness.wait import let_pass, until

#: Seconds after which a killed or stopped announcer, or a bgpd, is started again.
_SOON, _BGPD_BACK = 1.0, 3.0
#: Seconds that are watched after the last timer that may fire.
_MARGIN = 2.0
#: A flow that another next hop can take over loses at most what is on its way (facts/opnsense.md 6: 0.4 s).
_TAKEN_OVER = Prediction(0, 0.05, 0.4, "another next hop takes the flows over", "facts/opnsense.md section 6")


@dataclass(frozen=True)
class Place:
    """Where events happen: the lab, its site, and the timers that are in force, in seconds."""

    lab: Lab
    site: Site
    bgp: BgpTimers
    lease: Lease
    #: MetalLB's speakers.
    speakers: int

    @property
    def detected(self) -> float:
        """Seconds until the last announcer has noticed a silent node, graceful restart included, and acted."""
        found = [self.bgp.hold + self.bgp.restart]
        if CILIUM_L2 in self.site.services:
            found.append(cilium_l2_node_lost(self.lease).high)
        if METALLB_L2 in self.site.services:
            found.append(metallb_speaker_lost(self.speakers).high)
        return max(found) + _MARGIN

    @property
    def cilium(self) -> tuple[int, int, int]:
        """Cilium's version."""
        version = semver.parse(self.lab.cilium_version)
        return version.major, version.minor, version.patch

    @contextmanager
    def during(self, *faults: Fault | None) -> Iterator[None]:
        """Inject faults one right after the other, and undo them at the end."""
        with ExitStack() as stack:
            for fault in faults:
                if fault is not None:
                    stack.enter_context(self.lab.fault(fault))
            yield

    def with_speaker(self, agent: Fault, speaker: Fault) -> tuple[Fault, ...]:
        """The same for Cilium's agent and, where there is one, for MetalLB's speaker."""
        metallb = {METALLB_L2, METALLB_BGP} & set(self.site.services)
        return (agent, speaker) if metallb else (agent,)


@dataclass(frozen=True)
class Event:
    """One row.

    Attributes:
        key: What the command line and JSON call it.
        title: What people read.
        act: Makes it happen, lets time pass until its last effect is over, and undoes it.
        predict: What a column should lose; None: no formula is known.
    """

    key: str
    title: str
    act: Callable[[Place], None]
    predict: Callable[[Place, Column], Prediction | None]
    #: Whether it is among the rows when none are named.
    usual: bool = True


def _killed(place: Place) -> None:
    victim = place.site.victim
    faults = place.with_speaker(AgentKilled(victim, restart_after=_SOON), SpeakerKilled(victim, restart_after=_SOON))
    with place.during(*faults):
        let_pass(max(place.bgp.restart, 8.0) + _MARGIN)


def _stopped(place: Place) -> None:
    victim = place.site.victim
    faults = place.with_speaker(AgentStopped(victim, restart_after=_SOON), SpeakerStopped(victim, restart_after=_SOON))
    with place.during(*faults):
        let_pass(max(place.bgp.restart, 8.0) + _MARGIN)


def _never_back(place: Place) -> None:
    victim = place.site.victim
    with place.during(*place.with_speaker(AgentKilled(victim), SpeakerKilled(victim))):
        let_pass(place.detected)


def _stalled(place: Place) -> None:
    victim = place.site.victim
    with place.during(*place.with_speaker(AgentStalled(victim), SpeakerStalled(victim))):
        let_pass(place.detected)


def _silent(place: Place) -> None:
    with place.during(NodeSilent(place.site.victim)):
        let_pass(place.detected)


def _silent_for_ip(place: Place) -> None:
    with place.during(NodeSilent(place.site.victim, arp=False)):
        let_pass(place.detected)


def _link_lost(place: Place) -> None:
    with place.during(LinkDown(place.site.victim, where="switch")):
        let_pass(place.detected)


def _drained(place: Place) -> None:
    """As for a node that leaves for maintenance: no announcer may use it any more (Cilium by label, MetalLB by its)."""
    lab, victim = place.lab, place.site.victim
    node = lab.node(victim)
    label, value = "lblab-scorecard", "announces"
    node.add_label("node.kubernetes.io/exclude-from-external-load-balancers", "")
    node.remove_label(label)
    try:
        let_pass(max(3.0, cilium_l2_released(place.lease).high + _MARGIN))
    finally:
        node.add_label(label, value)
        node.remove_label("node.kubernetes.io/exclude-from-external-load-balancers")


def _backend_moved(place: Place) -> None:
    """The backends leave their node for another, and come back: two moves, of which the worse one counts."""
    service = place.lab.service(next(iter(place.site.services.values())))
    with place.during(BackendMoved(f"{service.namespace}/{service.name}", place.site.backends)):
        let_pass(_MARGIN)
    for pod in (backend.pod for backend in service.ready_backends() if backend.pod):
        place.lab.cluster.evict(pod, namespace=service.namespace)
    until(
        f"the backends to be on {place.site.backends} again",
        lambda: [backend.node for backend in service.ready_backends()],
        lambda nodes: nodes == [place.site.backends] * BACKENDS,
        within=20,
    )
    let_pass(_MARGIN)


def _router_restarted(place: Place) -> None:
    with ExitStack() as stack:
        for router in place.lab.routers:
            stack.enter_context(place.lab.fault(BgpdRestarted(router, restart_after=_BGPD_BACK)))
        let_pass(router_bgpd_restarted(place.bgp, back_after=_BGPD_BACK, cilium=place.cilium).high + _MARGIN)


def _api_server_gone(place: Place) -> None:
    with place.during(ApiServerGone()):
        let_pass(place.lease.duration + 2 * _MARGIN)


def _short_absence(place: Place, column: Column) -> Prediction | None:
    if column in (CILIUM_BGP_GR, CILIUM_L2):
        kept = "routes are kept" if column is CILIUM_BGP_GR else "the BPF responder answers on, the lease is not over"
        return Prediction(0, 0, 0, kept, "RFC 4724 section 4.2; facts/l2_and_lag.md section 2.3")
    if column in (CILIUM_BGP, METALLB_BGP):
        return _TAKEN_OVER
    return Prediction(0, 0.05, 0.5, "the router's entry stays, the node forwards on", "facts/l2_and_lag.md 2.3, F0")


def _long_absence(place: Place, column: Column) -> Prediction | None:
    """The announcer is away or stalled for good while its node forwards on: nobody needs to lose anything."""
    return _TAKEN_OVER if column is CILIUM_BGP_GR else _short_absence(place, column)


def _of_silence(place: Place, column: Column) -> Prediction | None:
    if column is CILIUM_BGP_GR:
        return silent_node(place.bgp, graceful_restart=True)
    if column in (CILIUM_BGP, METALLB_BGP):
        return silent_node(place.bgp, graceful_restart=False)
    if column is CILIUM_L2:
        return cilium_l2_node_lost(place.lease)
    return metallb_speaker_lost(place.speakers)


def _of_silence_for_ip(place: Place, column: Column) -> Prediction | None:
    if column is METALLB_L2:
        return Prediction(
            metallb_speaker_lost(place.speakers).low,
            place.detected,
            place.detected + 1,
            "the isolated speaker elects itself and answers ARP on",
            "facts/l2_and_lag.md section 7: 40 s of 40 s",
        )
    return _of_silence(place, column)


def _of_leave(place: Place, column: Column) -> Prediction | None:
    if column is METALLB_L2:
        return metallb_speaker_left()
    if column is CILIUM_L2:
        return cilium_l2_released(place.lease)
    return _TAKEN_OVER


def _of_router(place: Place, column: Column) -> Prediction | None:
    if column in (METALLB_L2, CILIUM_L2):
        return Prediction(0, 0, 0, "the address is on the router's own network", "no BGP route is needed")
    if column is METALLB_BGP:
        return None
    return router_bgpd_restarted(place.bgp, back_after=_BGPD_BACK, cilium=place.cilium)


def _of_api_server(place: Place, column: Column) -> Prediction | None:
    if column is CILIUM_L2:
        return None
    return Prediction(0, 0, 0, "announcing needs no API server", "facts/cilium.md section 3.4")


EVENTS = (
    Event("killed", "announcer killed, back after 1 s", _killed, _short_absence),
    Event("stopped", "announcer stopped in order, back after 1 s", _stopped, _short_absence),
    Event("silent", "node dies silently", _silent, _of_silence),
    Event("link-lost", "node loses its link at the switch", _link_lost, _of_silence),
    Event("split", "node loses IP, still answers ARP", _silent_for_ip, _of_silence_for_ip),
    Event("stalled", "announcer stalls", _stalled, _long_absence),
    Event("drained", "node drained", _drained, _of_leave),
    Event("backend-moved", "backend moves to another node", _backend_moved, lambda place, column: None),
    Event("router", "router's bgpd restarted, back after 3 s", _router_restarted, _of_router),
    Event("api-server", "API server away", _api_server_gone, _of_api_server, usual=False),
    Event("never-back", "announcer killed, never back", _never_back, _long_absence, usual=False),
)
