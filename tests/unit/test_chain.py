"""The links of the chain that are read off API objects alone."""

from __future__ import annotations

from typing import Any

import pytest

from harness import chain
from harness.cilium.expected import Objects
from harness.objects import deployment, service
from harness.observe import Snapshot


def _seen(ready: int, known: int, **selector: str) -> Snapshot:
    """A Deployment of two pods and a Service in front of it; both answer on IPv4 and IPv6."""
    web: dict[str, Any] = deployment("web", replicas=2)
    web["metadata"] |= {"namespace": "default", "generation": 1}
    web["status"] = {"observedGeneration": 1, "readyReplicas": ready, "replicas": 2, "updatedReplicas": 2}
    front = service("front", app="web")
    front["metadata"]["namespace"] = "default"
    front["spec"]["selector"] |= selector
    backends = [(f"web-{n}", "worker1", ip) for n in range(known) for ip in (f"10.0.0.{n}", f"fd00::{n}")]
    return Snapshot({}, [front], {"default/front": list(backends)}, [web], Objects(nodes={}))


@pytest.mark.parametrize(
    ("seen", "broken"),
    [
        (_seen(2, 2), None),
        (_seen(1, 1), "backend of Deployment default/web: 1 of 2 pods ready, 2 there"),
        (_seen(2, 0), "backend of Service default/front: 0 of 2 ready pods in its EndpointSlices"),
        (_seen(2, 1), "backend of Service default/front: 1 of 2 ready pods in its EndpointSlices"),
        (_seen(2, 0, tier="db"), None),
    ],
    ids=["in step", "a pod is not ready", "no pod is known", "one pod is not known", "not its pods"],
)
def test_ready_pods_are_to_be_known(seen: Snapshot, broken: str | None) -> None:
    link = chain.Chain(tuple(chain._backends(seen))).broken
    assert (str(link) if link else None) == broken
