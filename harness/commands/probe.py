"""`lblab probe`: send traffic from a client to a service of a running lab and say what was lost."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import JsonOption, LabOption, attach, print_json, progress

if TYPE_CHECKING:
    from harness.lab import Lab
    from harness.measure import Measured

#: How many outages are listed; the JSON has all of them.
_LISTED = 20


def probe(
    service: Annotated[
        str | None, typer.Argument(help="A Service, NAME or NAMESPACE/NAME; the lab's first with a UDP port if none.")
    ] = None,
    rate: Annotated[float, typer.Option(min=1, max=2000, help="Packets a second of each flow.")] = 1000,
    flows: Annotated[int, typer.Option(min=1, max=256, help="Flows, each with a port of its own.")] = 1,
    size: Annotated[int, typer.Option(min=64, max=1400, help="Payload in bytes.")] = 100,
    lasting: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="20s, 500ms or 2m; without it: until Ctrl-C.")
    ] = None,
    client: Annotated[str | None, typer.Option(help="The client; the lab's first one if none.")] = None,
    port: Annotated[int | None, typer.Option(help="The UDP port; the Service's first one if none.")] = None,
    taps: Annotated[bool, typer.Option("--taps", help="Listen at every node, too, and place each loss.")] = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Probe a service's address with numbered UDP packets; every packet is accounted for."""
    from harness.faults.parameters import time_of
    from harness.measure import Probe

    used = attach(lab)
    wait = None if lasting is None else time_of("for", lasting)
    name, udp = _target(used, service, port)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with progress(f"probe of {name}", quiet=as_json) as tell:
        running = Probe(
            used,
            used.service(name).address,
            udp,
            client=client,
            rate=rate,
            flows=flows,
            size=size,
            taps=taps,
            name=f"{client or next(iter(used.clients))} to {name}",
        )
        with running:
            tell(f"{rate:g} packets/s in {flows} flow{'s' if flows > 1 else ''}")
            stop.wait(wait)
    if as_json:
        print_json(running.measured.facts())
    else:
        _print(running.measured)


def _target(lab: Lab, service: str | None, port: int | None) -> tuple[str, int]:
    from harness.errors import UserError

    for obj in lab.cluster.list("Service", namespace=""):
        name = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"
        wanted = service if service is None or "/" in service else f"default/{service}"
        ports = [p["port"] for p in obj["spec"].get("ports", ()) if p.get("protocol") == "UDP"]
        if obj["spec"].get("type") == "LoadBalancer" and wanted in (None, name) and (port or ports):
            return name, port or ports[0]
    if service is None:
        raise UserError("no service of the lab has a UDP port", hint="name one, and --port")
    raise UserError(f"there is no service '{service}' of type LoadBalancer with a UDP port", hint="lblab status")


def _print(measured: Measured) -> None:
    loss = measured.analysis.loss
    print(
        f"{measured.name}: sent {loss.sent}, lost {loss.lost} (up {loss.lost_up}, down {loss.lost_down}, "
        f"unknown {loss.lost_unknown}); resolution {measured.analysis.resolution / 1e6:.1f} ms; {measured.trust}"
    )
    for outage in measured.analysis.outages[:_LISTED]:
        place = f", {outage.place.value}" if outage.place else ""
        start = (outage.start - measured.started_ns) / 1e9
        print(
            f"  at {start:8.3f} s: flow {outage.flow} lost {outage.lost} packets in {outage.duration / 1e6:.1f} ms, "
            f"{outage.direction}{place}"
        )
    if len(measured.analysis.outages) > _LISTED:
        print(f"  and {len(measured.analysis.outages) - _LISTED} more outages (--json has them)")
