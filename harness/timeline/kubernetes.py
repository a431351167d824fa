"""Changes of Services, their backends, Nodes and Pods, seen by watches of the Kubernetes API.

A watch is told of a change after the API server has stored it. While the API server is away nothing is told; what
changed meanwhile is found by listing again, and its events say how long before their stamp it may have happened.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.cilium import lease
from harness.errors import LblabError
from harness.kube import config
from harness.kube.discovery import Resource
from harness.kube.transport import Transport
from harness.kube.watch import follow
from harness.timeline import event
from harness.timeline.event import Event
from harness.timeline.punctual import RunDelay
from harness.timeline.stamp import Stamp

Obj = dict[str, Any]
Facts = dict[str, Any]

#: From a write being answered to the watch event being read, at most, once the API server and this process have a CPU;
#: measured by tests/integration/test_timeline.py.
_WATCH_NS = 10_000_000
#: Seconds between two attempts to reach an API server that is away, which nothing announces.
_AWAY_EVERY = 0.05
#: Seconds after which a watch is taken up anew. kube-apiserver ends one itself after 30 to 60 minutes.
_WATCH_FOR = 1800.0
_SOURCE = "kubernetes"

KINDS = (
    Resource("", "v1", "Service", "services", "service", ("svc",), True),
    Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "endpointslice", (), True),
    Resource("", "v1", "Node", "nodes", "node", ("no",), False),
    Resource("", "v1", "Pod", "pods", "pod", ("po",), True),
)
#: Followed where Cilium announces by L2; the agents renew them all the time.
LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases", "lease", (), True)


class ObjectWatch:
    """Remembers what was known of the objects of one kind, and says what changes. Pure."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._known: dict[str, Facts] = {}
        self._listed: set[str] | None = set()
        self._first = True

    def list_begins(self) -> None:
        """What comes until `list_ends` is all there is."""
        self._listed = set()

    def list_ends(self, stamp: Stamp) -> Iterator[Event]:
        """What was known and did not come is gone."""
        for uid in self._known.keys() - (self._listed or set()):
            yield from self.gone(uid, stamp)
        self._listed = None
        self._first = False

    def seen(self, obj: Obj, stamp: Stamp) -> Iterator[Event]:
        """An object is like this now; the first list of all is where things start, and no change."""
        uid = obj["metadata"]["uid"]
        if self._listed is not None:
            self._listed.add(uid)
        before, now = self._known.get(uid), _FACTS[self.kind](obj)
        self._known[uid] = now
        if now != before and not self._first:
            yield from _TEXTS[self.kind](self, before, now, stamp)

    def gone(self, uid: str, stamp: Stamp) -> Iterator[Event]:
        """An object was deleted."""
        before = self._known.pop(uid, None)
        if before is not None:
            yield from _TEXTS[self.kind](self, before, None, stamp)

    # -- one method for each kind ------------------------------------------------------------------------------------

    def service(self, before: Facts | None, now: Facts | None, stamp: Stamp) -> Iterator[Event]:
        """Its address, its traffic policy."""
        name = (now or before or {})["name"]
        if now is None:
            text = f"Service {name} is deleted"
        elif before is None:
            text = f"Service {name} is made: {now['type']}, externalTrafficPolicy {now['policy'] or 'none'}"
        else:
            text = f"Service {name}: {_changes(before, now)}"
        yield _event(event.SERVICE, name, text, stamp, now)

    def endpoints(self, before: Facts | None, now: Facts | None, stamp: Stamp) -> Iterator[Event]:
        """The ready backends of a Service, from all of its slices."""
        service = (now or before or {})["service"]
        if service is None or (before and now and before["ready"] == now["ready"] and before["going"] == now["going"]):
            return
        slices = [facts for facts in self._known.values() if facts["service"] == service]
        ready = sorted(backend for facts in slices for backend in facts["ready"])
        going = sorted(backend for facts in slices for backend in facts["going"])
        nodes = Counter(node or "no node" for _, node, _ in ready)
        counted = ", ".join(f"{node} {count}" for node, count in sorted(nodes.items())) or "none"
        leaving = f"; terminating: {', '.join(pod or address for address, _, pod in going)}" if going else ""
        data = {"service": service, "ready": dict(nodes), "addresses": [address for address, _, _ in ready]}
        yield _event(event.ENDPOINTS, service, f"{service} has ready backends: {counted}{leaving}", stamp, data)

    def node(self, before: Facts | None, now: Facts | None, stamp: Stamp) -> Iterator[Event]:
        """Whether it is Ready, its labels and taints."""
        name = (now or before or {})["name"]
        if now is None:
            text = f"Node {name} is deleted"
        elif before is None:
            text = f"Node {name} is made, {_ready(now)}"
        else:
            parts = [_ready(now)] if before["ready"] != now["ready"] else []
            parts += [
                f"{what} {_changes(before[what], now[what])}"
                for what in ("labels", "taints")
                if before[what] != now[what]
            ]
            if before["unschedulable"] != now["unschedulable"]:
                parts.append("is cordoned" if now["unschedulable"] else "is uncordoned")
            if not parts:
                return  # only the reason of a condition
            text = f"Node {name}: {'; '.join(parts)}"
        yield _event(event.NODE, name, text, stamp, now)

    def pod(self, before: Facts | None, now: Facts | None, stamp: Stamp) -> Iterator[Event]:
        """Whether it is ready, and where it runs."""
        name = (now or before or {})["name"]
        if now is None:
            text = f"Pod {name} is gone"
        elif before is None:
            text = f"Pod {name} is made"
        else:
            text = f"Pod {name}{' on ' + now['node'] if now['node'] else ''}: {_changes(before, now)}"
        yield _event(event.POD, name, text, stamp, now)

    def lease(self, before: Facts | None, now: Facts | None, stamp: Stamp) -> Iterator[Event]:
        """Who holds a lease of Cilium's L2 announcements; other leases of its namespace are not told."""
        facts = now or before or {}
        name, old, new = facts["name"], (before or {}).get("holder"), (now or {}).get("holder")
        if not name.startswith(f"{lease.NAMESPACE}/{lease.PREFIX}") or (now and old == new):
            return
        if now is None:
            text = f"Lease {name} is deleted"
        elif new is None:
            text = f"Lease {name} is released by {old}"
        else:
            text = f"Lease {name} is held by {new}" + (f", after {old}" if old else "")
        yield _event(event.LEASE, name, text, stamp, now)


def _event(kind: str, subject: str, text: str, stamp: Stamp, data: Facts | None) -> Event:
    return Event(stamp.at_ns, _SOURCE, kind, subject, text, stamp.resolution_ns, data or {"deleted": True})


def _service(obj: Obj) -> Facts:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ingress = (status.get("loadBalancer") or {}).get("ingress") or []
    return {
        "name": _name(obj),
        "type": spec.get("type"),
        "policy": spec.get("externalTrafficPolicy"),
        "class": spec.get("loadBalancerClass"),
        "addresses": sorted(entry["ip"] for entry in ingress if "ip" in entry),
        "deleting": "deletionTimestamp" in obj["metadata"],
    }


def _slice(obj: Obj) -> Facts:
    ready: list[tuple[str, str, str]] = []
    going: list[tuple[str, str, str]] = []
    for endpoint in obj.get("endpoints") or []:
        conditions = endpoint.get("conditions") or {}
        for address in endpoint.get("addresses") or []:
            backend = (address, endpoint.get("nodeName") or "", (endpoint.get("targetRef") or {}).get("name") or "")
            # "nil should be interpreted as true" (discovery.k8s.io/v1, EndpointConditions.ready)
            if conditions.get("ready", True) is not False:
                ready.append(backend)
            elif conditions.get("terminating"):
                going.append(backend)
    service = (obj["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
    namespace = obj["metadata"].get("namespace")
    return {
        "service": f"{namespace}/{service}" if service else None,
        "ready": sorted(ready),
        "going": sorted(going),
    }


def _node(obj: Obj) -> Facts:
    conditions = (obj.get("status") or {}).get("conditions") or []
    ready: Obj = next((c for c in conditions if c.get("type") == "Ready"), {})
    spec = obj.get("spec") or {}
    return {
        "name": _name(obj),
        "ready": ready.get("status", "Unknown"),
        "reason": ready.get("reason", ""),
        "labels": dict(obj["metadata"].get("labels") or {}),
        "taints": {taint["key"]: taint.get("effect", "") for taint in spec.get("taints") or []},
        "unschedulable": bool(spec.get("unschedulable")),
    }


def _pod(obj: Obj) -> Facts:
    status = obj.get("status") or {}
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or []}
    return {
        "name": _name(obj),
        "node": (obj.get("spec") or {}).get("nodeName") or "",
        "phase": status.get("phase"),
        "ready": conditions.get("Ready") == "True",
        "restarts": sum(c.get("restartCount", 0) for c in status.get("containerStatuses") or []),
        "deleting": "deletionTimestamp" in obj["metadata"],
    }


def _lease(obj: Obj) -> Facts:
    spec = obj.get("spec") or {}
    return {
        "name": _name(obj),
        "holder": spec.get("holderIdentity") or None,  # "" once it was released
        "transitions": spec.get("leaseTransitions", 0),
    }


_FACTS: Mapping[str, Callable[[Obj], Facts]] = {
    "Service": _service,
    "EndpointSlice": _slice,
    "Node": _node,
    "Pod": _pod,
    "Lease": _lease,
}
_TEXTS: Mapping[str, Callable[[ObjectWatch, Facts | None, Facts | None, Stamp], Iterator[Event]]] = {
    "Service": ObjectWatch.service,
    "EndpointSlice": ObjectWatch.endpoints,
    "Node": ObjectWatch.node,
    "Pod": ObjectWatch.pod,
    "Lease": ObjectWatch.lease,
}


def _name(obj: Obj) -> str:
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if namespace else str(metadata["name"])


def _ready(node: Facts) -> str:
    return "Ready" if node["ready"] == "True" else f"not Ready ({node['reason'] or node['ready']})"


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say in words what differs between two sets of facts."""
    parts = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if key not in now:
            parts.append(f"without {key}")
        elif isinstance(new, bool):
            parts.append(key if new else f"not {key}")
        else:
            parts.append(f"{key} {_shown(new)}")
    return ", ".join(parts)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


class Watcher:
    """Follows one kind in a thread of its own, also across times without an API server.

    Args:
        kubeconfig: How to reach the API server.
        resource: The kind.
        emit: Is called from the thread with events.
        enter: Is called first in the thread: moves it into the network from which the API server is reached.
        tells_gaps: Whether this one says that the API server was away; it is the same for all kinds.
        namespace: Objects of this namespace only.
    """

    def __init__(
        self,
        kubeconfig: Path,
        resource: Resource,
        emit: Callable[[list[Event]], None],
        enter: Callable[[], None],
        *,
        tells_gaps: bool = False,
        namespace: str | None = None,
    ) -> None:
        self._kubeconfig = kubeconfig
        self._resource = resource
        self._emit = emit
        self._enter = enter
        self._tells_gaps = tells_gaps
        self._namespace = namespace
        self._objects = ObjectWatch(resource.kind)
        self._pause = threading.Event()
        self._away_since: int | None = None
        self._delay: RunDelay | None = None
        threading.Thread(target=self._run, name=f"watch {resource.plural}", daemon=True).start()

    def _run(self) -> None:
        self._enter()
        self._delay = RunDelay()
        http = Transport(config.load(self._kubeconfig))
        connected = False
        while True:
            try:
                for change in follow(http, self._resource, self._namespace, {}, time.monotonic() + _WATCH_FOR):
                    connected = True
                    self._emit(list(self._change(change)))
                self._objects.list_begins()
            except LblabError:
                # away, or not ready to serve this kind yet; before the first answer nothing was missed
                if connected and self._away_since is None:
                    self._away_since = time.monotonic_ns()
                self._objects.list_begins()
                self._pause.wait(_AWAY_EVERY)

    def _change(self, change: Any) -> Iterator[Event]:
        if change is None:
            yield from self._listed()
            return
        at = int(change.at * 1e9)
        late = _WATCH_NS + (self._delay.added_ns() if self._delay else 0)
        stamp = Stamp(at, at - self._away_since if self._away_since is not None else late)
        if change.type == "DELETED":
            yield from self._objects.gone(change.object["metadata"]["uid"], stamp)
        else:
            yield from self._objects.seen(change.object, stamp)

    def _listed(self) -> Iterator[Event]:
        now = time.monotonic_ns()
        since, self._away_since = self._away_since, None
        yield from self._objects.list_ends(Stamp(now, now - since if since is not None else _WATCH_NS))
        if since is not None and self._tells_gaps:
            text = f"the API server told nothing for {(now - since) / 1e9:.3f} s"
            yield Event(now, _SOURCE, event.BLIND, "kube-apiserver", text, 0, {"from_ns": since, "to_ns": now})
