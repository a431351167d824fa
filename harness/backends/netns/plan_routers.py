"""The daemons of a lab's routers, and what speaks ARP in it: the same programs on both backends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.backends.netns.spec import Process, Ready
from harness.routing import bmp, daemons, opnsense
from harness.routing.daemons import Frr
from harness.topology import HOST_DEVICE, Topology

#: What stands in for a FreeBSD router's ARP, and for an announcer; their names as processes and as sub-commands.
ARP_FREEBSD, ANNOUNCER = "arp-freebsd", "announce"
#: Where the recorder listens for BMP in a router's network; no port is assigned to BMP.
BMP_PORT = 11019


def frr_folder(folder: Path, router: str) -> Path:
    """Where a router's FRR files and vty sockets are."""
    return folder / "frr" / router


def node_folder(folder: Path, node: str) -> Path:
    """Where a node's agent keeps its pods' sockets and state."""
    return folder / "nodes" / node


def arp_socket(folder: Path, router: str) -> Path:
    """Where the ARP daemon of a router answers."""
    return folder / "arp" / f"{router}.sock"


def announcer_socket(folder: Path, node: str) -> Path:
    """Where a node's announcer takes commands, while it runs."""
    return node_folder(folder, node) / "announce.sock"


def frr_config(topology: Topology, router: str, version: tuple[int, ...] | None = None) -> str:
    """A router's FRR configuration: the user's own file unchanged, or what os-frr would write.

    A router without either gets FRR's defaults: zebra and no routing protocol.

    Args:
        topology: The topology.
        router: The router.
        version: The FRR that is to read it; the installed one when not given.
    """
    settings = topology.routers[router]
    if settings.frr_config is not None:
        return settings.frr_config.read_text()
    if settings.os_frr is None:
        return "frr defaults traditional\n"
    devices = {network: interface.device for network, interface in settings.interfaces.items()}
    return opnsense.render(settings.os_frr, devices, version or daemons.frr_version())


def routers(topology: Topology, folder: Path, frr: Frr | None = None, *, contained: bool = False) -> Iterator[Process]:
    """The routing daemons; their files are written.

    Args:
        topology: The topology.
        folder: The lab's folder.
        frr: The FRR that runs; the installed one when not given.
        contained: Whether each router is a container in which its daemons run.
    """
    frr = frr or daemons.installed()
    for router in topology.routers:
        run = frr_folder(folder, router)
        run.mkdir(parents=True, exist_ok=True)
        config = frr_config(topology, router, frr.version)
        if frr.bmp:
            config = bmp.with_bmp(config, BMP_PORT)
        run_by = daemons.router_daemons(router, config, run, frr)
        write(run_by.files)
        for daemon in run_by.daemons:
            after = tuple(f"{router}/{other}" for other in daemon.after)
            yield Process(
                f"{router}/{daemon.name}",
                router,
                daemon.argv,
                after=after,
                ready=Ready(unix=str(daemon.ready)),
                vty_lines=tuple(run_by.configure.get(daemon.name, ())),
                contained=contained,
            )


def freebsd(topology: Topology) -> tuple[str, ...]:
    """The routers that have FreeBSD's ARP."""
    return tuple(name for name, router in topology.routers.items() if router.arp == "freebsd")


def arp(topology: Topology, lablet: Path, folder: Path) -> Iterator[Process]:
    """FreeBSD's ARP of routers that have it; and on each node an announcer, which a scenario may start."""
    scale = f"--time-scale={topology.time_scale:g}"
    for router in freebsd(topology):
        control = arp_socket(folder, router)
        control.parent.mkdir(exist_ok=True)
        argv = [str(lablet), ARP_FREEBSD, scale, f"--control={control}"]
        for network in topology.arp_networks(router):
            subnets = [str(subnet) for subnet in topology.networks[network].subnet if subnet.version == 4]
            if subnets:
                argv.append(f"--on={topology.routers[router].interfaces[network].device}={','.join(subnets)}")
            known = [str(address) for address in topology.addresses_in(network)]
            argv.append(f"--except={','.join(known)}")
        yield Process(f"{router}/{ARP_FREEBSD}", router, tuple(argv), ready=Ready(unix=str(control)))
    for node in topology.nodes:
        control = announcer_socket(folder, node)
        argv = [str(lablet), ANNOUNCER, scale, f"--iface={HOST_DEVICE}", f"--node={node}"]
        argv.append(f"--control={control}")
        yield Process(f"{node}/{ANNOUNCER}", node, tuple(argv), ready=Ready(unix=str(control)), at_boot=False)


def write(files: Mapping[Path, str]) -> None:
    """Write files, with the folders that they are in."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
