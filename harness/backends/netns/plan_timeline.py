"""The processes that make a lab's timeline, and what they are told: the same on both backends."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.backends.netns.plan_routers import ANNOUNCER, ARP_FREEBSD, BMP_PORT, freebsd, frr_folder
from harness.backends.netns.spec import FABRIC, LOG_FOLDER, Interface, Process, Ready
from harness.backends.netns.wiring import CONTROL_PLANE, host_names
from harness.timeline import journal
from harness.timeline import plan as timeline
from harness.topology import Topology

#: The processes that make the timeline.
RECORDER, OBSERVER = f"{FABRIC}/recorder", f"{FABRIC}/observer"


def processes(
    topology: Topology,
    folder: Path,
    interfaces: tuple[Interface, ...],
    kubeconfig: Path,
    logged: Iterable[str],
    *,
    bmp: bool,
) -> Iterator[Process]:
    """The recorder and the observer; what they are told is written into the lab's folder.

    Args:
        topology: The topology.
        folder: The lab's folder.
        interfaces: Every interface of every host.
        kubeconfig: How the API server is reached in the control plane's network.
        logged: The processes of nodes and of the control plane whose logs matter; those of routers do anyway.
        bmp: Whether the routers' bgpd speaks BMP.
    """
    switch = {port.switch_port: f"the switch port of {port.namespace}" for port in interfaces}
    switch |= {network: f"the switch of {network}" for network in topology.networks}
    own = {name: {port.device: "" for port in interfaces if port.namespace == name} for name in host_names(topology)}
    names = {
        address.partition("/")[0]: port.namespace
        for port in reversed(interfaces)  # a router's first interface gives it its name like the others
        for address in (*port.addresses, port.mac)
    }
    logs = [*logged, *(f"{router}/{daemon}" for router in topology.routers for daemon in ("zebra", "bgpd", "bfdd"))]
    logs += [f"{router}/{ARP_FREEBSD}" for router in freebsd(topology)]
    logs += [f"{node}/{ANNOUNCER}" for node in topology.nodes]
    bmp_port = BMP_PORT if bmp else None
    plan = timeline.RecorderPlan(
        journal=str(folder / journal.FILE),
        socket=str(folder / timeline.SOCKET_FILE),
        names=names,
        hosts={
            FABRIC: timeline.HostPlan(ports=switch),
            **{
                name: timeline.HostPlan(
                    routes=name in topology.routers, ports=ports, strangers=name not in freebsd(topology)
                )
                for name, ports in own.items()
            },
        },
        routers={name: timeline.RouterPlan(str(frr_folder(folder, name)), bmp_port) for name in topology.routers},
        kubeconfig=str(kubeconfig),
        kube_host=CONTROL_PLANE,
        leases=bool(topology.cilium.l2announcements.enabled),
        logs=str(folder / LOG_FOLDER),
        log_files={f"{process.replace('/', '-')}.log": process for process in logs},
        macs={port.mac: port.namespace for port in interfaces},
    )
    plan.save(folder / timeline.FILE)
    program = (sys.executable, "-m", "harness.backends.netns.recorder", str(folder / timeline.FILE))
    yield Process(RECORDER, FABRIC, (*program, "recorder"), ready=Ready(unix=plan.socket), at_boot=False)
    yield Process(OBSERVER, FABRIC, (*program, "observer"), at_boot=False)
