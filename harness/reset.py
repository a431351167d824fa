"""Bringing a shared lab back to the state in which the next scenario expects it, and checking that it is back."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.cluster import Cluster
from harness.errors import LabError
from harness.observe import listed
from harness.wait import until

if TYPE_CHECKING:
    from harness.lab import Lab

Obj = dict[str, Any]
Key = tuple[str, str, str]

#: Kinds that scenarios write; in the order in which they are put back. Those that a version does not serve are skipped.
_KINDS = (
    "secrets",
    "ciliumloadbalancerippools.cilium.io",
    "ciliuml2announcementpolicies.cilium.io",
    "ciliumbgpadvertisements.cilium.io",
    "ciliumbgppeerconfigs.cilium.io",
    "ciliumbgpnodeconfigoverrides.cilium.io",
    "ciliumbgpclusterconfigs.cilium.io",
    "ciliumbgppeeringpolicies.cilium.io",
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "services",
)
#: And those of a lab that runs MetalLB.
_METALLB_KINDS = tuple(
    f"{kind}.metallb.io"
    for kind in ("ipaddresspools", "communities", "bfdprofiles", "bgppeers", "l2advertisements", "bgpadvertisements")
)
#: Seconds without an end of a process after which none is due any more: a leader gives up when it could not renew its
#: lease for 10 s (client-go's and Cilium's default renew deadline), and looks every 2 s.
_RENEWED_WITHIN = 12.0
#: Secrets and Services that the control plane makes for itself.
_FOREIGN = {("services", "default", "kubernetes")}
#: Namespaces in which Kubernetes' own kinds are the cluster's: its parts, Cilium's and MetalLB's where they are pods.
_SYSTEM = frozenset({"kube-system", "kube-public", "local-path-storage", "cilium-secrets", "metallb-system"})


@dataclass(frozen=True)
class Baseline:
    """A state of the lab: its objects, its nodes' labels and taints, its processes, its routers."""

    objects: dict[Key, Obj]
    nodes: dict[str, Obj]
    processes: frozenset[str]
    #: Next hops by (router, prefix), BGP's and the kernel's.
    routes: dict[tuple[str, str], tuple[frozenset[str], frozenset[str]]]
    configs: dict[str, str]

    @classmethod
    def take(cls, lab: Lab) -> Baseline:
        """Remember the lab as it is."""
        return cls(
            objects=_objects(lab),
            nodes={node["metadata"]["name"]: _node(node) for node in lab.cluster.list("Node")},
            processes=frozenset(name for name, state in lab.backend.processes().items() if state.pid),
            routes=_routes(lab),
            configs={name: router.running_config() for name, router in lab.routers.items()},
        )

    def restore(self, lab: Lab) -> list[str]:
        """Put back what has changed, then wait until the whole chain is as it was.

        Returns:
            What had to be put back.

        Raises:
            LabError: when a router's configuration was left changed: only a new lab is clean again.
            WaitTimeout: when routes or packets do not come back.
        """
        done = [f"stopped {name}" for name in self._stop_extra(lab)]
        done += [f"started {name}" for name in self._start_missing(lab)]
        for name, router in lab.routers.items():
            if router.running_config() != self.configs[name]:
                raise LabError(f"{name}'s running configuration was left changed")
        done += self._restore_objects(lab)
        done += self._restore_nodes(lab.cluster)
        done += replace_restarted(lab)
        if lab.metallb_version:
            done += lab.l2.rejoin()
        if lab.announces_by_l2 or lab.metallb_version:
            done += lab.l2.forget_leftovers()
            until(
                "routers to send where they should",
                lab.l2.correct,
                lambda left: not left,
                within=lab.backend.comes_back_within,
            )
        lab.converge(within=lab.backend.comes_back_within)
        until(
            "the routes to be as before",
            lambda: _routes(lab),
            lambda routes: routes == self.routes,
            within=lab.backend.comes_back_within,
        )
        return done

    def settle(self, lab: Lab) -> list[str]:
        """Wait until no process of the lab has ended for a while, and put back what that has changed.

        A controller that could not renew its lease ends itself, seconds after the API server is back.
        """

        def running() -> dict[str, int | None]:
            return {name: state.pid for name, state in lab.backend.processes().items() if name in self.processes}

        seen, since = running(), time.monotonic()

        def quiet() -> float:
            nonlocal seen, since
            now = running()
            if now != seen:
                seen, since = now, time.monotonic()
            return time.monotonic() - since

        until(
            "every process of the lab to stay",
            quiet,
            lambda seconds: seconds >= _RENEWED_WITHIN and all(seen.values()),
            within=lab.backend.comes_back_within,
            every=0.5,
            show=lambda seconds: f"{', '.join(name for name, pid in seen.items() if not pid) or 'all'} {seconds:.0f} s",
        )
        return self.restore(lab)

    def _stop_extra(self, lab: Lab) -> list[str]:
        """End what a scenario has started and left running, such as an announcer."""
        extra = [
            name
            for name, state in lab.backend.processes().items()
            if name not in self.processes and state.pid is not None
        ]
        for name in extra:
            lab.backend.signal(name, signal.SIGKILL)
            lab.backend.wait_ended(name, lab.backend.comes_back_within)
        return extra

    def _start_missing(self, lab: Lab) -> list[str]:
        missing = [
            name for name, state in lab.backend.processes().items() if name in self.processes and state.pid is None
        ]
        for name in missing:
            lab.backend.start(name)
        if missing:
            lab.cluster.wait_ready(within=lab.backend.comes_back_within)
        return missing

    def _restore_objects(self, lab: Lab) -> list[str]:
        done = []
        cluster, now = lab.cluster, _objects(lab)
        for (kind, namespace, name), obj in reversed(now.items()):
            if (kind, namespace, name) not in self.objects:
                cluster.delete(kind, name, namespace=namespace or None)
                done.append(f"deleted {obj['kind']} {name}")
        for key, obj in self.objects.items():
            if key not in now:
                cluster.create(obj)
                done.append(f"made {obj['kind']} {key[2]} again")
            elif now[key] != obj:
                cluster.replace(obj)
                done.append(f"restored {obj['kind']} {key[2]}")
        return done

    def _restore_nodes(self, cluster: Cluster) -> list[str]:
        done = []
        for node in cluster.list("Node"):
            name, now = node["metadata"]["name"], _node(node)
            before = self.nodes.get(name, now)
            if now == before:
                continue
            labels = {key: before["labels"].get(key) for key in {*before["labels"], *now["labels"]}}
            change = {"metadata": {"labels": labels}, "spec": {"unschedulable": before["unschedulable"]}}
            cluster.patch("Node", name, change)
            done.append(f"restored Node {name}")
        return done


def replace_restarted(lab: Lab) -> list[str]:
    """Replace the pods that were killed: the kubelet delays the next restart of a pod with a past by 10 s or more."""
    done = []
    for name in lab.nodes:
        asked = partial(_pods, lab, name)
        for pod in (
            until(
                f"{name}'s agent to answer",
                asked,
                lambda found: found is not None,
                within=lab.backend.comes_back_within,
            )
            or ()
        ):
            if pod["restarts"] == 0 or pod["terminating"]:
                continue
            found = lab.cluster.get("Pod", pod["name"], namespace=pod["namespace"])
            if found["metadata"].get("ownerReferences"):  # nobody would make another one
                lab.cluster.delete("Pod", pod["name"], namespace=pod["namespace"])
                done.append(f"replaced pod {pod['name']}")
    return done


def _pods(lab: Lab, node: str) -> list[Obj] | None:
    try:
        found: list[Obj] = lab.backend.node_agent(node, {"op": "pods"})["pods"]
    except LabError:  # it has just been started
        return None
    return found


def clear(lab: Lab) -> list[str]:
    """Delete every object that a user or a scenario has made, the last kind first; says what there was."""
    done = []
    for (kind, namespace, name), obj in reversed(_objects(lab).items()):
        lab.cluster.delete(kind, name, namespace=namespace or None)
        done.append(f"{obj['kind']} {name}")
    return done


def _objects(lab: Lab) -> dict[Key, Obj]:
    found: dict[Key, Obj] = {}
    for kind in (*(_METALLB_KINDS if lab.metallb_version else ()), *_KINDS):
        for obj in listed(lab.cluster, kind):
            metadata = obj["metadata"]
            key = (kind, metadata.get("namespace", ""), metadata["name"])
            if key not in _FOREIGN and not (kind.partition(".")[2] in ("", "apps") and key[1] in _SYSTEM):
                found[key] = _meant(obj)
    return found


def _meant(obj: Obj) -> Obj:
    """An object as its author meant it: without what the API server and the controllers write."""
    metadata = obj["metadata"]
    kept: Obj = {key: metadata[key] for key in ("name", "namespace", "labels") if metadata.get(key)}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if not k.startswith("deployment.")}
    if annotations:
        kept["annotations"] = annotations
    rest = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    return {**rest, "metadata": kept}


def _node(node: Obj) -> Obj:
    return {
        "labels": node["metadata"].get("labels") or {},
        "unschedulable": node["spec"].get("unschedulable"),
    }


def _routes(lab: Lab) -> dict[tuple[str, str], tuple[frozenset[str], frozenset[str]]]:
    nodes = {address for node in lab.nodes.values() for address in node.addresses}
    found = {}
    for name, router in lab.routers.items():
        for family in ("ipv4", "ipv6"):
            for prefix, route in router.bgp.routes(family).items():
                # what one router tells another is its best path, which may be another one after a reset
                direct = any(path.peer in nodes for path in route.paths)
                hops = frozenset(router.bgp.next_hops(prefix, stale=False)) if direct else frozenset()
                found[name, prefix] = (hops, frozenset(router.kernel_next_hops(prefix)) if direct else frozenset())
    return found
