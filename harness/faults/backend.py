"""Pods behind a Service die, are not ready, or move; nothing happens to the node or to what announces the address."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from harness.errors import LabError
from harness.faults.base import Fault, Steps
from harness.faults.parameters import ServiceName
from harness.faults.stamps import BY_NODE, asked
from harness.wait import until

if TYPE_CHECKING:
    from harness.lab import Lab

#: Seconds for an evicted pod to stop being a ready backend; the kubelet and the endpoint controller take below 1 s.
_GONE_WITHIN = 30.0

OnNode = Annotated[str | None, "Only its backends on this node; all of them if left out."]


@dataclass(frozen=True)
class _OfBackends(Fault):
    service: ServiceName

    @property
    def subject(self) -> str:
        """The Service."""
        return self.service

    def backends(self, lab: Lab, node: str | None) -> list[tuple[str, str]]:
        """The nodes and pods ("namespace/name") that are meant.

        Raises:
            LabError: when there are none.
        """
        if node is not None:
            lab.node(node)
        service = lab.service(self.service)
        found = [
            (backend.node, f"{service.namespace}/{backend.pod}")
            for backend in service.ready_backends()
            if backend.node is not None and backend.pod is not None and node in (None, backend.node)
        ]
        if not found:
            where = "" if node is None else f" on {node}"
            raise LabError(f"{service.namespace}/{service.name} has no ready backend{where}")
        return found


@dataclass(frozen=True)
class BackendKilled(_OfBackends):
    """End the processes of a Service's backends with SIGKILL; the kubelet starts them again."""

    node: OnNode = None
    pod: Annotated[str | None, "Only this pod of theirs; all of them if left out."] = None
    name = "backend-kill"

    def apply(self, steps: Steps) -> None:
        """Have each node's agent kill its pods' processes."""
        found = self.backends(steps.lab, self.node)
        meant = [(node, pod) for node, pod in found if self.pod in (None, pod.partition("/")[2])]
        if not meant:
            raise LabError(f"{self.pod} is no ready backend of {self.service}")
        for node, pod in meant:
            kill = partial(steps.backend.node_agent, node, {"op": "kill", "pod": pod})
            steps.do(pod, f"killed (SIGKILL) on {node}", partial(asked, kill, BY_NODE))


@dataclass(frozen=True)
class BackendUnready(_OfBackends):
    """Let a Service's backends fail their readiness; they go on answering who still asks them.

    The kubelet notices after its probe's periodSeconds times failureThreshold: 30 s if the pod does not say.
    """

    node: OnNode = None
    name = "backend-unready"

    def apply(self, steps: Steps) -> None:
        """Turn the servers' readiness off, and on again."""
        for name, pod in self.backends(steps.lab, self.node):
            self._turn(steps, name, pod)

    def _turn(self, steps: Steps, name: str, pod: str) -> None:
        node, how = steps.lab.node(name), BY_NODE
        steps.on_undo(pod, f"ready again on {name}", lambda: asked(lambda: node.set_ready(pod, True), how))
        steps.do(pod, f"not ready on {name}", lambda: asked(lambda: node.set_ready(pod, False), how))


@dataclass(frozen=True)
class BackendMoved(_OfBackends):
    """Evict a Service's backends from a node; their controller makes new ones where the scheduler finds room."""

    node: Annotated[str, "The node that they leave."]
    name = "backend-move"

    def apply(self, steps: Steps) -> None:
        """Cordon the node, evict the pods, and wait until none of them is a ready backend any more."""
        leaving = {pod for _, pod in self.backends(steps.lab, self.node)}
        node, service = steps.lab.node(self.node), steps.lab.service(self.service)
        steps.on_undo(self.node, "uncordoned", lambda: asked(lambda: node.cordon(False)))
        steps.do(self.node, "cordoned", lambda: asked(node.cordon))
        for pod in sorted(leaving):
            evict = partial(steps.lab.cluster.evict, pod.partition("/")[2], namespace=service.namespace)
            steps.do(pod, f"evicted from {self.node}", partial(asked, evict))
        until(
            f"the backends of {self.service} to leave {self.node}",
            lambda: [backend.node for backend in service.ready_backends()],
            lambda nodes: self.node not in nodes,
            within=_GONE_WITHIN,
            every=0.05,
        )
