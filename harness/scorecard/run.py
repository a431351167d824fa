"""Makes a scorecard: one lab with every announcer, one event after the other, every column measured at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from harness.bringup import open_lab
from harness.cilium import versions
from harness.errors import LabError
from harness.lab import Lab
from harness.measure import Probe, together
from harness.scorecard import site as sites
from harness.scorecard.events import Event, Place
from harness.scorecard.model import CILIUM_BGP, CILIUM_BGP_GR, CILIUM_L2, METALLB_BGP, Cell, Column, Row, Run, Score
from harness.scorecard.site import Site
from harness.timeline import journal
from harness.timeline.svg import render as draw
from harness.topology import load
from harness.verdict.predict import BgpTimers, Lease
from harness.wait import until

#: Flows of each probe, hashed over the nodes: all on one side of two has a probability of 1 in 2^11.
FLOWS = 12
#: Packets a second of each flow: outages of tenths of seconds and more are told apart, five probes leave a core free.
RATE = 50
RESOLUTION_MS = 50.0
#: Runs of an event that are made again because the machine was busy.
_REPEATS = 2
#: Seconds for addresses, leases and routes to be back at the victim after an event.
_SETTLED_WITHIN = 60.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What is to be made.

    Attributes:
        topology: The user's topology; only its hosts and networks are used.
        events: The rows.
        columns: The columns.
        runs: How often each event happens.
        folder: Where timelines and the site's files go.
        cilium_version: Exact, a minor, or None for the newest.
        metallb_version: The same for MetalLB.
        timers: Cut down to seconds, or as the guide has them.
        router_arp: How the routers keep ARP entries.
        build: Build what is missing.
    """

    topology: Path
    events: Sequence[Event]
    columns: Sequence[Column]
    runs: int
    folder: Path
    cilium_version: str | None = None
    metallb_version: str | None = None
    timers: Literal["quick", "manifest"] = "quick"
    router_arp: str = "linux"
    build: bool = True


def make(wanted: Wanted, progress: Progress = lambda _: None) -> Score:
    """Bring the lab up, make every event happen, and take the lab down.

    Raises:
        UserError: when the topology does not do.
        LabError: when the lab does not come up, or not back to its state after an event.
    """
    base = load(wanted.topology)
    version = versions.resolve(wanted.cilium_version or "auto")
    folder = wanted.folder / "site"
    folder.mkdir(parents=True, exist_ok=True)
    site = sites.write(
        base, version, folder, wanted.columns, router_arp=wanted.router_arp, quick=wanted.timers == "quick"
    )
    lab = open_lab(
        site.topology,
        cilium_version=str(version),
        metallb_version=wanted.metallb_version,
        name=f"scorecard-{os.getpid()}",
        timers=wanted.timers,
        build=wanted.build,
        progress=progress,
    )
    with lab:
        lab.mark_clean()
        place = _place(lab, site)
        rows = [Row(event.key, event.title) for event in wanted.events]
        began = time.monotonic()
        total = len(rows) * wanted.runs
        # one run of every event, then the next run of every event: a machine that gets slower does so for all
        done = 0
        for number in range(1, wanted.runs + 1):
            for row, event in zip(rows, wanted.events, strict=True):
                left = f", about {(time.monotonic() - began) / done * (total - done) / 60:.0f} min left" if done else ""
                progress(f"{event.title}: run {number} of {wanted.runs} ({done + 1} of {total}{left})")
                _add(row, event, place, number, wanted)
                done += 1
        return Score(rows, _conditions(place, base.name, wanted))


def _place(lab: Lab, site: Site) -> Place:
    """Read the timers that are in force, and see that graceful restart is where it should be.

    A scorecard whose graceful restart was never negotiated shows nothing (facts/anchors.md, section 8).
    """
    bgp = BgpTimers(0, 0)
    if CILIUM_BGP_GR in site.services:
        address = lab.node(site.victim).address
        peer = lab.router(sites.GRACEFUL).bgp.peer(address)
        if peer.graceful_restart.capability != "advertisedAndReceived":
            raise LabError(f"graceful restart was not negotiated with {site.victim}: {peer.graceful_restart}")
        bgp = BgpTimers(peer.hold or 0, peer.keepalive or 0, peer.graceful_restart.restart_time or 0)
        plain = lab.router(sites.PLAIN).bgp.peer(address)
        if plain.graceful_restart.remote_mode != "Disable":
            raise LabError(f"graceful restart was negotiated with the router that has none: {plain.graceful_restart}")
    lease = Lease()
    if CILIUM_L2 in site.services:
        settings = lab.topology.cilium.l2announcements
        lease = Lease(settings.lease_duration, settings.lease_retry_period)
    return Place(lab, site, bgp, lease, speakers=len(lab.topology.speakers()))


def _add(row: Row, event: Event, place: Place, number: int, wanted: Wanted) -> None:
    """Make an event happen once, and again while the machine was too busy for the run to count."""
    for attempt in range(1 + _REPEATS):
        found = _once(event, place, number, wanted.folder)
        if attempt == _REPEATS or all(run.trusted for run in found.values()):
            break
    for column, run in found.items():
        cell = row.cells.setdefault(column, Cell(prediction=event.predict(place, column)))
        cell.runs.append(run)


def _once(event: Event, place: Place, number: int, folder: Path) -> dict[Column, Run]:
    _settle(place)
    lab, site = place.lab, place.site
    probes = {
        column.key: Probe(
            lab,
            lab.service(service).address,
            sites.UDP_PORT,
            client=site.clients[column],
            rate=RATE,
            flows=FLOWS,
            resolution_ms=RESOLUTION_MS,
            name=column.title,
        )
        for column, service in site.services.items()
    }
    began = time.monotonic_ns()
    with together(probes):
        event.act(place)
    happened = lab.timeline.events(since_ns=began)
    file = folder / "timelines" / f"{event.key}-{number}.jsonl"
    file.parent.mkdir(exist_ok=True)
    journal.save(file, happened)
    file.with_suffix(".svg").write_text(draw(happened, title=f"{event.title}, run {number}"))
    lab.reset()
    return {column: Run.of(probes[column.key].measured, f"timelines/{file.name}") for column in site.services}


def _settle(place: Place) -> None:
    """Bring every announcement to the victim, and everything else to where it was."""
    lab, site = place.lab, place.site
    lab.converge()
    for column, name in site.services.items():
        service = lab.service(name)
        if column in (CILIUM_BGP_GR, CILIUM_BGP, METALLB_BGP):
            router = site.clients[column].removeprefix("client-")
            lab.wait_next_hops(service.prefix, lab.nodes, router=router, within=_SETTLED_WITHIN)
            continue
        if column is CILIUM_L2 and service.lease_holder() != site.victim:
            # a lease stays where it is, so that the others are forbidden to hold it for a moment
            lab.apply([sites.l2_policy(site.victim)])
            service.wait_lease_holder(site.victim, within=_SETTLED_WITHIN)
            lab.apply([sites.l2_policy()])
        address = service.address
        until(
            f"{sites.GRACEFUL} to send {address} to {site.victim}",
            partial(lab.l2.ask, address, sites.GRACEFUL),
            lambda owner: owner == site.victim,
            within=_SETTLED_WITHIN,
            every=0.1,
            show=str,
        )


def _conditions(place: Place, base: str, wanted: Wanted) -> dict[str, Any]:
    lab = place.lab
    return {
        "topology": base,
        "nodes": len(lab.nodes),
        "victim": place.site.victim,
        "backends_on": place.site.backends,
        "cilium": lab.cilium_version,
        "metallb": lab.metallb_version,
        "router_arp": wanted.router_arp,
        "backend": lab.backend.kind,
        "timers": {
            "hold_s": place.bgp.hold,
            "keepalive_s": place.bgp.keepalive,
            "restart_s": place.bgp.restart,
            "lease_s": place.lease.duration,
            "retry_s": place.lease.retry,
        },
        "quickened": lab.quickened,
        "runs": wanted.runs,
        "flows": FLOWS,
        "rate": RATE,
        "stand_ins": list(lab.backend.stand_ins),
    }
