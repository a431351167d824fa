"""Pods that are deleted, and workloads that are rolled out anew: what an operator does with kubectl."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from harness.errors import MissingCapability, UserError
from harness.faults.base import Fault, Steps
from harness.faults.parameters import Duration
from harness.faults.stamps import asked

#: What `kubectl rollout restart` writes into a pod template (kubectl, pkg/polymorphichelpers/objectrestarter.go).
_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
#: Kinds that it takes.
_KINDS = {"deployment": "Deployment", "daemonset": "DaemonSet", "statefulset": "StatefulSet"}


@dataclass(frozen=True)
class PodDeleted(Fault):
    """Delete a pod, as `kubectl delete pod` does: its processes are asked to end, and its controller makes another one.

    A component of a cluster is named as a process, such as worker1/cilium-agent; in the embedded lab it is no pod.
    """

    pod: Annotated[str, 'A pod, "namespace/name", or a component that is one: "worker1/cilium-agent".']
    grace: Annotated[Duration | None, "How long it may take to end; if left out, as the pod says."] = None
    name = "pod-delete"

    @property
    def subject(self) -> str:
        """The pod."""
        return self.pod

    def apply(self, steps: Steps) -> None:
        """Delete it; there is nothing to undo, as it is made again."""
        found = self.pod
        if self.pod.partition("/")[0] in (*steps.lab.nodes, "control-plane"):
            found = steps.backend.pod_of(self.pod)
        namespace, _, name = found.rpartition("/")
        delete = partial(steps.lab.cluster.delete_pod, name, namespace=namespace or "default", grace=self.grace)
        steps.do(self.pod, "pod deleted", partial(asked, delete), pod=found)


@dataclass(frozen=True)
class RolloutRestarted(Fault):
    """Replace all pods of a workload one after another, as `kubectl rollout restart` does."""

    workload: Annotated[str, 'Such as "daemonset/kube-system/cilium" or "deployment/web".']
    name = "rollout-restart"

    @property
    def subject(self) -> str:
        """The workload."""
        return self.workload

    def apply(self, steps: Steps) -> None:
        """Change its template; it is not taken back, as that would be another rollout."""
        from harness.cluster import NotFound  # with all that it imports: `lblab --help` knows every fault

        kind, _, rest = self.workload.partition("/")
        namespace, _, name = rest.rpartition("/")
        if kind.lower() not in _KINDS or not name:
            raise UserError(f"'{self.workload}' is no workload", hint="daemonset/kube-system/cilium, deployment/web")
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        change = {"spec": {"template": {"metadata": {"annotations": {_RESTARTED_AT: now}}}}}
        patch = partial(steps.lab.cluster.patch, _KINDS[kind.lower()], name, change, namespace=namespace or "default")
        try:
            steps.do(self.workload, "rolled out anew", partial(asked, patch))
        except NotFound:
            raise MissingCapability(
                f"this {steps.backend.kind} lab has no {kind} {rest}",
                hint="in the embedded lab Cilium and MetalLB are processes, not pods",
            ) from None
