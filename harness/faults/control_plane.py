"""A part of the control plane is gone; sessions, routes and the datapath are to go on without it."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from harness.faults import process
from harness.faults.base import Fault, Steps
from harness.faults.parameters import NodeName, RestartAfter


@dataclass(frozen=True)
class _Gone(Fault):
    restart_after: RestartAfter = None

    @property
    def lasting(self) -> float | None:
        """Until the restart."""
        return self.restart_after


@dataclass(frozen=True)
class OperatorGone(_Gone):
    """End Cilium's operator with SIGKILL: no new addresses, no new node configurations."""

    name = "operator-gone"
    subject = "cilium-operator"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, steps.lab.operator.name, signal.SIGKILL)


@dataclass(frozen=True)
class ApiServerGone(_Gone):
    """End the Kubernetes API server with SIGKILL: every watch breaks."""

    name = "api-server-gone"
    subject = "kube-apiserver"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, steps.lab.api_server.name, signal.SIGKILL)


@dataclass(frozen=True)
class ApiServerStopped(_Gone):
    """Ask the Kubernetes API server to end with SIGTERM: it finishes what it is asked, and closes every watch."""

    name = "api-server-stop"
    subject = "kube-apiserver"

    def apply(self, steps: Steps) -> None:
        """Send SIGTERM."""
        process.end(steps, steps.lab.api_server.name, signal.SIGTERM)


@dataclass(frozen=True)
class ControllerManagerGone(_Gone):
    """End the Kubernetes controllers with SIGKILL: EndpointSlices and node conditions stay as they are."""

    name = "controller-manager-gone"
    subject = "kube-controller-manager"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, steps.lab.controller_manager.name, signal.SIGKILL)


@dataclass(frozen=True)
class _OfKubelet(Fault):
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
class KubeletStopped(_OfKubelet):
    """Ask a node's kubelet to end with SIGTERM, as `systemctl stop kubelet` does: its pods go on."""

    name = "kubelet-stop"

    def apply(self, steps: Steps) -> None:
        """Send SIGTERM."""
        process.end(steps, steps.lab.node(self.node).kubelet.name, signal.SIGTERM)


@dataclass(frozen=True)
class KubeletGone(_OfKubelet):
    """End a node's kubelet with SIGKILL: its pods go on, its heartbeats stop."""

    name = "kubelet-gone"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, steps.lab.node(self.node).kubelet.name, signal.SIGKILL)
