"""A node, or a router's container, is stopped or paused as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from harness.faults import process
from harness.faults.base import Steps
from harness.faults.link import cut, networks
from harness.faults.parameters import Duration
from harness.faults.targets import Ended, OfNode, OfRouter


@dataclass(frozen=True)
class NodePaused(OfNode):
    """Keep every process on a node from running, as `docker pause` does: its kernel goes on, and so do packets.

    The node's addresses still answer ARP and forward; nobody on it speaks BGP, or renews a lease.
    """

    name = "node-pause"

    def apply(self, steps: Steps) -> None:
        """Stop all processes (SIGSTOP); SIGCONT undoes it."""
        steps.lab.node(self.node)
        steps.on_undo(self.node, "all processes resumed", partial(steps.backend.freeze, self.node, False))
        steps.do(self.node, "all processes stopped (SIGSTOP)", partial(steps.backend.freeze, self.node, True))


@dataclass(frozen=True)
class NodeStopped(OfNode):
    """Stop a node in order, as `docker stop` does: every process is asked to end, then the node is off.

    Nothing is drained before: what the node announces ends with its processes.
    """

    name = "node-stop"

    def apply(self, steps: Steps) -> None:
        """Stop it; starting its processes again starts it."""
        steps.lab.node(self.node)
        _off(steps, self.node, orderly=True)


@dataclass(frozen=True)
class RouterContainerRestarted(Ended, OfRouter):
    """Kill a router's container and start it again: no daemon says goodbye, the links go down, all state is gone.

    In the embedded lab the router's processes are killed, its links cut and its kernel's tables emptied.
    """

    restart_after: Annotated[Duration, "The time between."] = 0.0
    name = "router-container-restart"

    def apply(self, steps: Steps) -> None:
        """Kill it."""
        _off(steps, self.target(steps).name, orderly=False)


def _off(steps: Steps, host: str, *, orderly: bool) -> None:
    """Turn a host off until the fault is undone."""
    running = process.of_host(steps.backend, host)
    process.start_all(steps, running)
    word = "stopped" if orderly else "killed"
    steps.do(host, f"{word} as a whole", partial(steps.backend.end_host, host, orderly))
    process.wait_ended(steps, running)
    cut(steps, host, networks(steps.lab.topology, host), "host")
    process.forget(steps, host)
