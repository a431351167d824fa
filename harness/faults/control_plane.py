"""A part of the control plane is gone; sessions, routes and the datapath are to go on without it."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from harness.faults import process
from harness.faults.base import Steps
from harness.faults.targets import Ended, OfNode


@dataclass(frozen=True)
class OperatorGone(Ended):
    """End Cilium's operator with SIGKILL: no new addresses, no new node configurations."""

    name = "operator-gone"
    subject = "cilium-operator"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, steps.lab.operator.name, signal.SIGKILL)


@dataclass(frozen=True)
class ApiServerGone(Ended):
    """End the Kubernetes API server with SIGKILL: every watch breaks."""

    name = "api-server-gone"
    subject = "kube-apiserver"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, steps.lab.api_server.name, signal.SIGKILL)


@dataclass(frozen=True)
class ApiServerStopped(Ended):
    """Ask the Kubernetes API server to end with SIGTERM: it finishes what it is asked, and closes every watch."""

    name = "api-server-stop"
    subject = "kube-apiserver"

    def apply(self, steps: Steps) -> None:
        """Send SIGTERM."""
        process.end(steps, steps.lab.api_server.name, signal.SIGTERM)


@dataclass(frozen=True)
class ControllerManagerGone(Ended):
    """End the Kubernetes controllers with SIGKILL: EndpointSlices and node conditions stay as they are."""

    name = "controller-manager-gone"
    subject = "kube-controller-manager"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, steps.lab.controller_manager.name, signal.SIGKILL)


@dataclass(frozen=True)
class KubeletStopped(Ended, OfNode):
    """Ask a node's kubelet to end with SIGTERM, as `systemctl stop kubelet` does: its pods go on."""

    name = "kubelet-stop"

    def apply(self, steps: Steps) -> None:
        """Send SIGTERM."""
        process.end(steps, steps.lab.node(self.node).kubelet.name, signal.SIGTERM)


@dataclass(frozen=True)
class KubeletGone(Ended, OfNode):
    """End a node's kubelet with SIGKILL: its pods go on, its heartbeats stop."""

    name = "kubelet-gone"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, steps.lab.node(self.node).kubelet.name, signal.SIGKILL)
