"""What a lab needs of a backend: hosts, processes, sockets and files; the same for network namespaces and for kind."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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


class Backend(Protocol):
    """One running lab, seen from the process that uses it."""

    #: "netns" or "kind".
    kind: str
    name: str
    topology: Topology
    #: The lab's own folder: logs, sockets, kubeconfig.
    folder: Path
    kubeconfig: Path
    cilium_version: str
    #: What was built from what, for the record that stands in every result.
    provenance: Mapping[str, Any]
    #: What in this lab is not the real thing, one sentence each.
    stand_ins: Sequence[str]
    #: Seconds from the start until each stage was done.
    stages: Mapping[str, float]

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

    def processes(self) -> dict[str, ProcessState]:
        """Every daemon of the lab by its name, `<host>/<program>`."""

    def signal(self, process: str, number: int) -> int:
        """Send a signal; returns when the kernel took it, monotonic nanoseconds."""

    def start(self, process: str) -> int:
        """Start a process that has ended and wait until it is ready; returns when it was started."""

    def wait_ended(self, process: str, within: float) -> int:
        """Wait until a process has ended; returns when it did."""

    def node_agent(self, node: str, request: dict[str, Any]) -> Any:
        """Ask a node's agent (the kubelet's stand-in) about its pods, or for one to be killed or made unready."""

    def close(self) -> None:
        """End the lab and remove everything it made; returns when nothing is left."""
