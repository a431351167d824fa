"""Runs a site's lab through the mechanisms that it is open to, and says what each costs there.

Each mechanism has a course: what is done, to which node, and for how long it has to be watched. The others are told of
by `exposure` only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.diagnose import from_timeline
from harness.diagnose.decide import diagnose
from harness.errors import LblabError, UserError
from harness.faults import (
    AddressTaken,
    ApiServerFiltered,
    GatewayLost,
    LinkDown,
    NodeSilent,
    SpeakerKilled,
    SpeakerStalled,
)
from harness.faults.base import Fault
from harness.lag.mechanisms import Mechanism
from harness.site.draw import ROGUE
from harness.verdict.arp import Freebsd
from harness.verdict.predict import Lease, cilium_l2_node_lost, metallb_speaker_lost
from harness.wait import let_pass, until

if TYPE_CHECKING:
    from harness.lab import Lab

Tell = Callable[[str], None]

#: Packets a second of the probe, and how finely gaps are known, milliseconds.
_RATE, _RESOLUTION_MS = 100, 50
#: Unscaled seconds of quiet after a course: announcements are repeated for 4.4 s (facts/l2_and_lag.md, section 1.2).
_QUIET = 6.0
#: Seconds until an address that was given up has an owner again.
_OWNED_WITHIN = 60.0


@dataclass(frozen=True)
class Course:
    """How a mechanism is brought about in a lab of real announcers.

    Attributes:
        fault: What is done, by the node that has the address and the address; None: the site does it by itself.
        lasts: For how long, seconds of the lab.
        metallb: Only where MetalLB runs.
        cilium: Only where Cilium announces by ARP.
        arp: Only where anybody does.
    """

    fault: Callable[[str, str], Fault] | None
    lasts: Callable[[Lab], float]
    metallb: bool = False
    cilium: bool = False
    arp: bool = False


def _taken_over(lab: Lab) -> float:
    """Until MetalLB's members have given one of them up, and a while of what follows."""
    return metallb_speaker_lost(len(lab.topology.speakers())).high + _QUIET


def _lease(lab: Lab) -> float:
    settings = lab.topology.cilium.l2announcements
    lease = Lease(settings.lease_duration, settings.lease_retry_period, settings.lease_renew_deadline)
    return cilium_l2_node_lost(lease).high + _QUIET


def _two_refreshes(lab: Lab) -> float:
    return 2.1 * Freebsd(lab.topology.time_scale).asks[0]


def _quiet(lab: Lab) -> float:
    return _QUIET


COURSES: Mapping[Mechanism, Course] = {
    Mechanism.TWO_ANNOUNCERS: Course(None, _two_refreshes, arp=True),
    Mechanism.SPEAKER_STALL: Course(lambda node, _: SpeakerStalled(node), _taken_over, metallb=True),
    Mechanism.SPLIT_BRAIN: Course(lambda node, _: NodeSilent(node, arp=False), _taken_over, metallb=True),
    Mechanism.LEASE_LOST: Course(lambda node, _: ApiServerFiltered(node), _lease, cilium=True),
    Mechanism.STALE_REPLY_PATH: Course(lambda node, _: GatewayLost(node), _quiet),
    Mechanism.DUPLICATE_ADDRESS: Course(lambda _, address: AddressTaken(ROGUE, address), _quiet, arp=True),
    Mechanism.EARLY_RETURN: Course(lambda node, _: SpeakerKilled(node, restart_after=8), _taken_over, metallb=True),
    Mechanism.LINK_FLAP: Course(lambda node, _: LinkDown(node), _quiet),
}


@dataclass(frozen=True)
class Result:
    """What a mechanism did to a service of the site.

    Attributes:
        mechanism: Which.
        service: The service that was watched.
        gap_ms: The longest gap of its traffic.
        lost: Packets lost.
        moves: How often the router changed its mind of where the address is.
        owners: Who had the address before and after.
        diagnosis: What `lblab diagnose` makes of it; None when it cannot tell, or nothing was lost.
        problem: Why there is no result; empty when there is one.
    """

    mechanism: Mechanism
    service: str
    gap_ms: float = 0.0
    lost: int = 0
    moves: int = 0
    owners: tuple[str | None, str | None] = (None, None)
    diagnosis: Mechanism | None = None
    problem: str = ""


def run(topology: Path, mechanisms: list[Mechanism], tell: Tell, *, cilium_version: str | None = None) -> list[Result]:
    """Bring the lab of a site up and run every mechanism that has a course through it.

    Args:
        topology: As `draw` wrote it.
        mechanisms: Those that the site is open to.
        tell: Is told what is being done.
        cilium_version: Exact, a minor, or None for the newest that serves the site's manifests.

    Raises:
        LblabError: when the lab does not come up.
    """
    from harness.bringup import open_lab

    with open_lab(topology, cilium_version=cilium_version, timers="quick", progress=tell) as lab:
        service, port = _watched(lab)
        lab.mark_clean()
        return list(_results(lab, service, port, mechanisms, tell))


def _watched(lab: Lab) -> tuple[str, int]:
    """The first service with an address and a UDP port, and that port.

    Raises:
        UserError: there is none.
    """
    for each in lab.cluster.list("services", namespace=""):
        ports = [port for port in each["spec"].get("ports") or [] if port.get("protocol") == "UDP"]
        if each["spec"].get("type") == "LoadBalancer" and ports:
            return f"{each['metadata']['namespace']}/{each['metadata']['name']}", int(ports[0]["port"])
    raise UserError("no Service of the site has an address and a UDP port", hint="a game's port, as protocol: UDP")


def _results(lab: Lab, service: str, port: int, mechanisms: list[Mechanism], tell: Tell) -> Iterator[Result]:
    for mechanism in mechanisms:
        course = COURSES.get(mechanism)
        if course is None or (course.metallb and lab.metallb_version is None):
            continue
        if (course.cilium and not lab.announces_by_l2) or (course.arp and not lab.l2.expected()):
            continue
        tell(f"{mechanism.value}: {course.lasts(lab):.0f} s")
        try:
            yield _one(lab, service, port, mechanism, course)
            lab.reset()
        except LblabError as error:
            yield Result(mechanism, service, problem=str(error))
            with suppress(LblabError):  # the next one says so itself if the lab is past use
                lab.reset()


def _one(lab: Lab, service: str, port: int, mechanism: Mechanism, course: Course) -> Result:
    from harness.measure import Probe

    address = lab.service(service).address
    router = lab.router()
    probe = Probe(lab, address, port, rate=_RATE, resolution_ms=_RESOLUTION_MS, name=service)
    with probe:
        owner = _owner(lab, address)
        before = router.arp.moves(address)
        begun = time.monotonic_ns()
        with (
            nullcontext() if course.fault is None else lab.fault(course.fault(owner or next(iter(lab.nodes)), address))
        ):
            let_pass(course.lasts(lab))
        let_pass(_QUIET)
        after = lab.l2.owner(address)
    moves = router.arp.moves(address) - before
    measured = probe.measured
    worst = measured.worst()
    # only what the site does by itself is in the router's scaled time; announcers have their own
    scale = lab.topology.time_scale if course.fault is None else 1.0
    seen = from_timeline.observe(lab.timeline.events(begun), lab.name, scale)
    found = [each for each in diagnose(seen) if each.address == address]
    return Result(
        mechanism,
        service,
        gap_ms=worst.duration / 1e6 if worst else 0.0,
        lost=measured.analysis.loss.lost,
        moves=moves,
        owners=(owner, after),
        diagnosis=found[0].mechanism if found else None,
    )


def _owner(lab: Lab, address: str) -> str | None:
    """The node that the router sends to; None where it does not ask for the address by ARP."""
    if not lab.l2.expected():
        return None
    return until(f"{address} to have an owner", lambda: lab.l2.owner(address), within=_OWNED_WITHIN)
