"""Cilium's agent on one node ends or hangs; the node's datapath and pods go on."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from harness.faults import process
from harness.faults.base import Steps
from harness.faults.targets import Ended, OfNode


@dataclass(frozen=True)
class AgentKilled(Ended, OfNode):
    """End a node's Cilium agent with SIGKILL: its TCP connections close, no NOTIFICATION is sent."""

    name = "agent-kill"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, steps.lab.node(self.node).agent.name, signal.SIGKILL)


@dataclass(frozen=True)
class AgentStopped(Ended, OfNode):
    """Ask a node's Cilium agent to end with SIGTERM, as a rollout does."""

    name = "agent-stop"

    def apply(self, steps: Steps) -> None:
        """Send SIGTERM."""
        process.end(steps, steps.lab.node(self.node).agent.name, signal.SIGTERM)


@dataclass(frozen=True)
class AgentStalled(OfNode):
    """Keep a node's Cilium agent from running (SIGSTOP): its connections stay open and nobody answers on them."""

    name = "agent-stall"

    def apply(self, steps: Steps) -> None:
        """Send SIGSTOP; SIGCONT undoes it."""
        process.stall(steps, steps.lab.node(self.node).agent.name)
