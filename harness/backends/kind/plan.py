"""From a topology to what the lab host of a kind lab is told: the wiring, the routers' daemons, the timeline.

Pure but for the files that it writes into the lab's own folder. Nodes, and what runs on them, are kind's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.backends.netns import plan_routers, plan_timeline, wiring
from harness.backends.netns.spec import HostSpec, Route
from harness.backends.netns.wiring import CONTROL_PLANE
from harness.routing.daemons import Frr
from harness.topology import Topology

#: Where the control sockets of pods are, within the lab's folder and under the same path on the nodes.
PODS_FOLDER = "pods"
#: Within the lab's folder: how the API server is reached in the lab's own networks.
INNER_KUBECONFIG = "kubeconfig-inner"


def make(name: str, topology: Topology, folder: Path, lablet: Path, frr: Frr) -> HostSpec:
    """Write down one lab.

    Args:
        name: The lab's name.
        topology: What the user wants.
        folder: The lab's own folder; files of FRR are made in it.
        lablet: lblab's program for probes and ARP.
        frr: The FRR of the routers' image.
    """
    ports = tuple(wiring.interfaces(topology))
    logged = tuple(_logged(topology))
    for node in topology.nodes:
        plan_routers.node_folder(folder, node).mkdir(parents=True, exist_ok=True)
    return HostSpec(
        name=name,
        folder=str(folder),
        namespaces=wiring.sysctls(topology),
        networks=tuple(topology.networks),
        interfaces=ports,
        routes=(*wiring.default_routes(topology), *_control_plane_routes(topology)),
        processes=(
            *plan_timeline.processes(topology, folder, ports, folder / INNER_KUBECONFIG, logged, bmp=frr.bmp),
            *plan_routers.routers(topology, folder, frr, contained=True),
            *plan_routers.arp(topology, lablet, folder),
        ),
    )


def _control_plane_routes(topology: Topology) -> Iterator[Route]:
    """A default route of the control plane: who asks for a ClusterIP needs one, even if no packet takes it."""
    found: dict[int, str] = {}
    for router in topology.routers_of(topology.control_plane.network):
        for address in topology.routers[router].interfaces[topology.control_plane.network].address:
            found.setdefault(address.version, str(address))
    for version, gateway in found.items():
        yield Route(CONTROL_PLANE, "::/0" if version == 6 else "0.0.0.0/0", gateway)


def _logged(topology: Topology) -> Iterator[str]:
    """The components whose logs belong on the timeline."""
    for node in topology.nodes:
        yield from (f"{node}/{program}" for program in ("cilium-agent", "kube-proxy"))
    for node in topology.speakers():
        yield f"{node}/metallb-speaker"
    for program in ("cilium-operator", "kube-controller-manager", "metallb-controller"):
        yield f"{CONTROL_PLANE}/{program}"
