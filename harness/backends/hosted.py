"""The part of a backend that a lab host carries out: both backends ask theirs in the same words."""

from __future__ import annotations

import dataclasses
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from harness.backends.base import Impairment, ProcessState, Stamp, Where
from harness.backends.netns import plan_routers, wiring
from harness.backends.netns.host import SOCKET_FILE
from harness.backends.netns.plan_timeline import OBSERVER, RECORDER
from harness.backends.netns.rpc import Client
from harness.backends.registry import LabInfo
from harness.errors import LabError
from harness.topology import Topology, load

#: Both backends' routers are Linux.
LINUX_STAND_IN = "Linux stands in for FreeBSD on the router"


def router_stand_ins(topology: Topology) -> list[str]:
    """What of a lab's routers, and of its time, is not the real thing beside that: the same on both backends."""
    routers = [name for name, router in topology.routers.items() if router.arp == "freebsd"]
    found = [f"lblab's ARP daemon stands in for FreeBSD's on {name}" for name in routers]
    if topology.time_scale != 1:
        found.append(f"timers of FreeBSD's ARP and of lblab's announcer are scaled by {topology.time_scale:g}")
    return found


class HostedBackend(ABC):
    """One lab, seen from the process that uses it, that has a lab host.

    Args:
        info: What is known of it.
        topology: Its topology.
    """

    def __init__(self, info: LabInfo, topology: Topology) -> None:
        self.name = info.name
        self.topology = topology
        self.folder = Path(info.folder)
        self.kubeconfig = self.folder / "kubeconfig"
        self.cilium_version = info.cilium_version
        self.metallb_version = info.metallb_version
        self.provenance: Mapping[str, Any] = info.provenance
        self.stand_ins: Sequence[str] = info.stand_ins
        self.stages: Mapping[str, float] = info.stages
        self.lablet = Path(info.lablet)
        self._rpc = Client(self.folder / SOCKET_FILE)

    @classmethod
    def of(cls, info: LabInfo) -> Self:
        """Use a lab that another process brought up."""
        topology = load(Path(info.topology))
        return cls(info, topology.model_copy(update={"time_scale": info.time_scale}))

    # -- hosts ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def argv(self, host: str, argv: Sequence[str], *, interactive: bool = False) -> list[str]:
        """The command line that runs a command in a host's network from outside."""

    def exec(
        self, host: str, argv: Sequence[str], *, stdin: str | None = None, within: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a host's network and wait for it."""
        try:
            return subprocess.run(
                self.argv(host, argv), input=stdin, capture_output=True, text=True, timeout=within, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{argv[0]} on {host} did not end within {within:g} s") from error

    def socket(
        self, host: str, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
    ) -> socket.socket:
        """A socket that lives in a host's network and is used by this process."""
        descriptor = self._rpc.descriptor("socket", namespace=host, family=family, type=kind, protocol=protocol)
        return socket.socket(fileno=descriptor)

    def vty_folder(self, router: str) -> Path:
        """Where the UNIX sockets of a router's FRR daemons are."""
        return plan_routers.frr_folder(self.folder, router)

    def arp_socket(self, router: str) -> Path:
        """Where the ARP daemon of a router with FreeBSD's ARP answers."""
        return plan_routers.arp_socket(self.folder, router)

    def announcer_socket(self, node: str) -> Path:
        """Where a node's announcer takes commands, while it runs."""
        return plan_routers.announcer_socket(self.folder, node)

    def hosts_by_mac(self) -> Mapping[str, str]:
        """Routers, nodes and clients by the MACs of their interfaces."""
        return wiring.hosts_by_mac(self.topology)

    # -- processes --------------------------------------------------------------------------------------------------

    def processes(self) -> dict[str, ProcessState]:
        """Every daemon of the lab by its name."""
        fields = ("name", "pid", "started_ns", "ready_ns", "ended_ns", "exit_code")
        return {
            row["name"]: ProcessState(**{field: row[field] for field in fields}, log=Path(row["log"]))
            for row in self._rpc.call("processes")
        }

    def signal(self, process: str, number: int) -> int:
        """Send a signal; returns when the kernel took it, monotonic nanoseconds."""
        return int(self._rpc.call("signal", name=process, signal=int(number))["at_ns"])

    def record(self) -> None:
        """Start the processes that make the timeline; returns when they record."""
        for process in (OBSERVER, RECORDER):
            self.start(process)

    def start(self, process: str) -> int:
        """Start a process that has ended and wait until it is ready; returns when it was started."""
        return int(self._rpc.call("start", name=process)["at_ns"])

    def wait_ended(self, process: str, within: float) -> int:
        """Wait until a process has ended; returns when it did."""
        return int(self._rpc.call("wait_ended", name=process, within=within)["at_ns"])

    # -- faults -----------------------------------------------------------------------------------------------------

    def set_link(self, host: str, network: str, up: bool, where: Where = "host") -> Stamp:
        """Take a host's link to a network down, or up again."""
        return _stamp(self._rpc.call("link", host=host, network=network, up=up, where=where))

    def set_filter(self, host: str, name: str, rules: str | None) -> Stamp:
        """Add chains to a host's packet filter (nftables, family inet) under a name, or remove them (None)."""
        return _stamp(self._rpc.call("filter", host=host, name=name, rules=rules))

    def block(self, host: str, network: str, name: str, match: str | None) -> Stamp:
        """Drop what matches (nftables, family bridge) at a host's switch port, both ways, or nothing (None)."""
        return _stamp(self._rpc.call("block", host=host, network=network, name=name, match=match))

    def impair(self, host: str, network: str, what: Impairment | None) -> Stamp:
        """Lose or delay frames on a host's link, or stop doing so (None)."""
        wanted = None if what is None else dataclasses.asdict(what)
        return _stamp(self._rpc.call("impair", host=host, network=network, what=wanted))

    def set_spanning_tree(self, network: str, forward_delay: float | None) -> Stamp:
        """Let a network's bridge run spanning tree, or not (None)."""
        return _stamp(self._rpc.call("spanning_tree", network=network, forward_delay=forward_delay))

    def throttle(self, process: str, share: float | None) -> Stamp:
        """Let a process run only for a share of the time (0 to 1), or always again (None)."""
        return _stamp(self._rpc.call("throttle", name=process, share=share))

    def forget(self, host: str) -> Stamp:
        """Empty a host's kernel of packet filters, tracked connections and the routes of routing daemons."""
        return _stamp(self._rpc.call("forget", host=host))

    def kill_host(self, host: str) -> Stamp:
        """End every process of a host at once (SIGKILL), its pods' too."""
        return _stamp(self._rpc.call("kill_host", host=host))

    def freeze(self, host: str, on: bool) -> Stamp:
        """Keep every process of a host from running, its pods' too, or let all run again."""
        return _stamp(self._rpc.call("freeze", host=host, on=on))

    def end_host(self, host: str, orderly: bool) -> Stamp:
        """Turn a host off: its processes are asked to end before, or not; starting one of them turns it on again."""
        return _stamp(self._rpc.call("end_host", host=host, orderly=orderly))

    def take_back(self) -> list[str]:
        """Undo what faults have left changed: links, packet filters, stopped processes; says what there was."""
        return list(self._rpc.call("take_back"))


def _stamp(answer: Mapping[str, Any]) -> Stamp:
    return Stamp(int(answer["at_ns"]), int(answer["resolution_ns"]), str(answer["how"]))
