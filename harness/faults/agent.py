"""Cilium's agent on one node ends or hangs; the node's datapath and pods go on."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from harness.faults import process
from harness.faults.base import Fault, Steps
from harness.faults.parameters import NodeName, RestartAfter


@dataclass(frozen=True)
class _AgentEnded(Fault):
    node: NodeName
    restart_after: RestartAfter = None

    @property
    def subject(self) -> str:
        """The node."""
        return self.node

    @property
    def lasting(self) -> float | None:
        """Until the restart."""
        return self.restart_after


@dataclass(frozen=True)
class AgentKilled(_AgentEnded):
    """End a node's Cilium agent with SIGKILL: its TCP connections close, no NOTIFICATION is sent."""

    name = "agent-kill"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, steps.lab.node(self.node).agent.name, signal.SIGKILL)


@dataclass(frozen=True)
class AgentStopped(_AgentEnded):
    """Ask a node's Cilium agent to end with SIGTERM, as a rollout does."""

    name = "agent-stop"

    def apply(self, steps: Steps) -> None:
        """Send SIGTERM."""
        process.end(steps, steps.lab.node(self.node).agent.name, signal.SIGTERM)


@dataclass(frozen=True)
class AgentStalled(Fault):
    """Keep a node's Cilium agent from running (SIGSTOP): its connections stay open and nobody answers on them."""

    node: NodeName
    name = "agent-stall"

    @property
    def subject(self) -> str:
        """The node."""
        return self.node

    def apply(self, steps: Steps) -> None:
        """Send SIGSTOP; SIGCONT undoes it."""
        process.stall(steps, steps.lab.node(self.node).agent.name)
