"""What a lab needs of a backend: hosts, processes, sockets and files; the same for network namespaces and for kind."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from harness.backends.request import Request
    from harness.cluster import Cluster
    from harness.topology import Topology


@dataclass(frozen=True)
class ProcessState:
    """A daemon of the lab as it is now; times are CLOCK_MONOTONIC nanoseconds."""

    name: str
    #: PID as the lab sees it; None when it does not run.
    pid: int | None
    started_ns: int | None
    ready_ns: int | None
    ended_ns: int | None
    #: As os.waitstatus_to_exitcode has it: negative for a signal.
    exit_code: int | None
    log: Path


@dataclass(frozen=True)
class Stamp:
    """When a change of the lab took effect."""

    #: CLOCK_MONOTONIC nanoseconds; the effect was not later than this,
    at_ns: int
    #: and at most so much earlier.
    resolution_ns: int
    #: How the stamp was taken.
    how: str


#: Where a link is cut: the host's own interface is set down; the switch port that its cable leads to is, so that the
#: host loses carrier; the switch drops every frame of that port, which neither side notices.
Where = Literal["host", "switch", "path"]


@dataclass(frozen=True)
class Impairment:
    """What becomes of the frames on a host's link."""

    #: Frames to the host, from it, or both.
    direction: Literal["in", "out", "both"]
    #: How many of a hundred are lost, each by chance.
    loss_percent: float = 0.0
    delay_seconds: float = 0.0

    def __str__(self) -> str:
        parts = [f"{self.loss_percent:g} % lost"] if self.loss_percent else []
        parts += [f"{self.delay_seconds * 1000:g} ms later"] if self.delay_seconds else []
        return f"{' and '.join(parts)} ({self.direction})"


class Backend(Protocol):
    """One running lab, seen from the process that uses it."""

    #: "netns" or "kind".
    kind: str
    #: Seconds for everything to run, pods included, once the manifests of a new lab are applied.
    comes_up_within: float
    #: Seconds for it to be as it was after a scenario.
    comes_back_within: float
    #: Seconds, at least and at most, until an agent that is started begins to connect to its BGP peers.
    agent_starts: tuple[float, float]
    #: The kubelet's name among the processes of a node.
    kubelet: str
    name: str
    topology: Topology
    #: The lab's own folder: logs, sockets, kubeconfig.
    folder: Path
    kubeconfig: Path
    cilium_version: str
    #: None when MetalLB does not run.
    metallb_version: str | None
    #: What was built from what, for the record that stands in every result.
    provenance: Mapping[str, Any]
    #: What in this lab is not the real thing, one sentence each.
    stand_ins: Sequence[str]
    #: Seconds from the start until each stage was done.
    stages: Mapping[str, float]
    #: lblab's own program for servers and probes, as the lab's hosts see it.
    lablet: Path

    def fits(self, request: Request) -> bool:
        """Whether another lab can be made of what this one took long to make.

        Raises:
            UserError: it cannot, and this lab is not this process's to end.
        """

    def take_over(self, request: Request) -> Backend:
        """Make another lab of what this one took long to make; this one is over then.

        Raises:
            LabError: when the other lab does not come up. Nothing is left behind.
        """

    def prepare(self, cluster: Cluster, progress: Callable[[str], None]) -> None:
        """Do what the running cluster still needs before the user's manifests."""

    def record(self) -> None:
        """Start the processes that make the timeline; returns when they record."""

    def adapt(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """An object of a manifest as this backend sends it, so that its pods are lblab's servers."""

    @property
    def announces_by_l2(self) -> bool:
        """Whether the agents run with Cilium's L2 announcements."""

    def cpu_times(self) -> dict[int, int]:
        """CPU time of each process of the lab and of the run that uses it, in clock ticks by PID."""

    def exec(
        self, host: str, argv: Sequence[str], *, stdin: str | None = None, within: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a host's network and wait for it."""

    def argv(self, host: str, argv: Sequence[str], *, interactive: bool = False) -> list[str]:
        """The command line that runs a command in a host's network from outside."""

    def socket(
        self, host: str, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
    ) -> socket.socket:
        """A socket that lives in a host's network and is used by this process: no helper in between."""

    def vty_folder(self, router: str) -> Path:
        """Where the UNIX sockets of a router's FRR daemons are (`bgpd.vty`, ...)."""

    def arp_socket(self, router: str) -> Path:
        """Where the ARP daemon of a router with FreeBSD's ARP answers."""

    def announcer_socket(self, node: str) -> Path:
        """Where a node's announcer takes commands, while it runs."""

    def hosts_by_mac(self) -> Mapping[str, str]:
        """Routers, nodes and clients by the MACs of their interfaces."""

    def processes(self) -> dict[str, ProcessState]:
        """Every daemon of the lab by its name, `<host>/<program>`."""

    def signal(self, process: str, number: int) -> int:
        """Send a signal; returns when the kernel took it, monotonic nanoseconds."""

    def start(self, process: str) -> int:
        """Start a process that has ended and wait until it is ready; returns when it was started."""

    def replace(self, process: str, version: str) -> None:
        """Let one of Cilium's processes be of another Cilium version from its next start on.

        Raises:
            UserError: when there is no such version, or it cannot be built.
        """

    def wait_ended(self, process: str, within: float) -> int:
        """Wait until a process has ended; returns when it did."""

    def node_agent(self, node: str, request: dict[str, Any]) -> Any:
        """Ask a node's agent (the kubelet's stand-in) about its pods, or for one to be killed or made unready."""

    def l2_responder(self, node: str) -> dict[str, Any]:
        """What answers ARP on a node for Cilium's L2 announcements.

        Its `entries`, each with `ip` and `ifindex`, and its `responses`, in the same order.
        """

    def l2_forget(self, node: str, entry: Mapping[str, Any]) -> None:
        """Take one of these entries away, as nobody announces it any more."""

    def set_link(self, host: str, network: str, up: bool, where: Where = "host") -> Stamp:
        """Take a host's link to a network down, or up again."""

    def set_filter(self, host: str, name: str, rules: str | None) -> Stamp:
        """Add chains to a host's packet filter (nftables, family inet) under a name, or remove them (None)."""

    def block(self, host: str, network: str, name: str, match: str | None) -> Stamp:
        """Drop what matches (nftables, family bridge) at a host's switch port, both ways, or nothing (None).

        Args:
            host: The host.
            network: Which of its links.
            name: What it is known by until it is taken back.
            match: Such as `ip daddr 192.168.130.192`.
        """

    def impair(self, host: str, network: str, what: Impairment | None) -> Stamp:
        """Lose or delay frames on a host's link, or stop doing so (None).

        Raises:
            MissingCapability: when the machine has nothing to do it with.
        """

    def set_spanning_tree(self, network: str, forward_delay: float | None) -> Stamp:
        """Let a network's switch run spanning tree, seconds for each of listening and learning, or not (None).

        Raises:
            MissingCapability: when the backend's switch has none.
        """

    def throttle(self, process: str, share: float | None) -> Stamp:
        """Let a process run only for a share of the time (0 to 1), or always again (None)."""

    def forget(self, host: str) -> Stamp:
        """Empty a host's kernel of packet filters, tracked connections and the routes of routing daemons."""

    def kill_host(self, host: str) -> Stamp:
        """End every process of a host at once (SIGKILL): its daemons and, on a node, its pods' processes."""

    def freeze(self, host: str, on: bool) -> Stamp:
        """Keep every process of a host from running, its pods' too, or let all run again."""

    def end_host(self, host: str, orderly: bool) -> Stamp:
        """Turn a host off: its processes are asked to end before, or not; starting one of them turns it on again."""

    def pod_of(self, process: str) -> str:
        """The pod that a component runs in, "namespace/name".

        Raises:
            MissingCapability: components are no pods on this backend.
        """

    def take_back(self) -> list[str]:
        """Undo what faults have left changed: links, packet filters, stopped processes; says what there was."""

    def leave(self) -> None:
        """Let the lab stay when this process ends; until then it ends with it, however it ends."""

    def close(self) -> None:
        """End the lab and remove everything it made; returns when nothing is left."""
