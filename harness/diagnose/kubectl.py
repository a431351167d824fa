"""What `kubectl get -o json` or `-o yaml` of leases, events, pods and nodes tells. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from harness.cilium import lease as cilium_lease
from harness.diagnose.observed import SECOND, Observations, Sees, Sign, What

Object = Mapping[str, Any]
#: Kubernetes stamps to the second; an event is written after what it tells.
_WIDE = SECOND
#: Reasons of events that say that a container is ended (kubelet), and MetalLB's own of its leader.
_ENDS = ("Killing", "Unhealthy", "BackOff", "OOMKilling", "Evicted")
_LEADER = "nodeAssigned"


def observe(objects: Iterable[Object], source: str) -> Observations:
    """Take the evidence of Kubernetes' objects.

    Args:
        objects: Single objects, or lists of them.
        source: The file.
    """
    found = Observations([source])
    kinds: dict[str, int] = {}
    for each in _flat(objects):
        kind = str(each.get("kind", ""))
        kinds[kind] = kinds.get(kind, 0) + 1
        if kind in _SIGNS:
            found.signs += _SIGNS[kind](each, source)
        if kind == "Node":
            for address in (each.get("status") or {}).get("addresses") or []:
                if address.get("type") == "InternalIP":
                    found.node_addresses[str(address.get("address"))] = _name(each)
    found.signs.sort(key=lambda sign: sign.at)
    if any(sign.what is What.LEASE for sign in found.signs) or _leases(objects):
        found.sees.add(Sees.LEASES)
    if any("speaker" in _name(each) for each in _flat(objects) if each.get("kind") == "Pod"):
        found.sees.add(Sees.METALLB)
    if not kinds.keys() & {*_SIGNS, "Node"}:
        names = ", ".join(sorted(filter(None, kinds))) or "nothing"
        found.problems.append(f"{source}: leases, events, pods or nodes would tell something; it has {names}")
    return found


def _flat(objects: Iterable[Object]) -> Iterator[Object]:
    for each in objects:
        if isinstance(each, Mapping):
            if isinstance(each.get("items"), list):
                yield from _flat(each["items"])
            else:
                yield each


def _leases(objects: Iterable[Object]) -> bool:
    return any(each.get("kind") == "Lease" and cilium_lease.PREFIX in _name(each) for each in _flat(objects))


def _name(each: Object) -> str:
    return str((each.get("metadata") or {}).get("name", ""))


def _at(value: object) -> int | None:
    """Read a time of Kubernetes' (RFC 3339), nanoseconds since 1970."""
    if isinstance(value, datetime):
        return round(value.timestamp() * SECOND)
    if not isinstance(value, str):
        return None
    try:
        return round(datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp() * SECOND)
    except ValueError:
        return None


def _lease(each: Object, source: str) -> Iterator[Sign]:
    """The lease's last change of hands; the first holder of all is none."""
    spec = each.get("spec") or {}
    at = _at(spec.get("acquireTime"))
    if at is None or not _name(each).startswith(cilium_lease.PREFIX) or not spec.get("leaseTransitions"):
        return
    holder = str(spec.get("holderIdentity") or "")
    text = f"Lease {_name(each)} is held by {holder} since then ({spec['leaseTransitions']} changes in all)"
    yield Sign(at, What.LEASE, _name(each), holder, text=text, source=source, wide=_WIDE)


def _event(each: Object, source: str) -> Iterator[Sign]:
    reason, about = str(each.get("reason", "")), each.get("involvedObject") or each.get("regarding") or {}
    at = _at(each.get("eventTime")) or _at(each.get("lastTimestamp")) or _at(each.get("firstTimestamp"))
    if at is None:
        return
    name, message = str(about.get("name", "")), str(each.get("message") or each.get("note") or "")
    text = f"Event of {about.get('kind', '')} {name}: {reason}, {message}"
    if reason == _LEADER:
        yield Sign(at, What.LEADER, name, message, text=text, source=source, wide=_WIDE)
    elif reason in _ENDS and about.get("kind") == "Pod":
        yield Sign(at, What.ENDED, name, text=text, source=source, wide=_WIDE)
    elif reason == "NodeNotReady":
        yield Sign(at, What.NODE_DOWN, name, name, text=text, source=source, wide=_WIDE)
    elif reason == "NodeReady":
        yield Sign(at, What.NODE_UP, name, name, text=text, source=source, wide=_WIDE)


def _pod(each: Object, source: str) -> Iterator[Sign]:
    """The last end of each container."""
    node = str((each.get("spec") or {}).get("nodeName", ""))
    for container in (each.get("status") or {}).get("containerStatuses") or []:
        ended = (container.get("lastState") or {}).get("terminated") or {}
        at = _at(ended.get("finishedAt"))
        if at is not None:
            why = ended.get("reason") or f"exit code {ended.get('exitCode')}"
            text = f"Pod {_name(each)} on {node}: container {container.get('name')} ended ({why})"
            yield Sign(at, What.ENDED, _name(each), node, text=text, source=source, wide=_WIDE)


def _node(each: Object, source: str) -> Iterator[Sign]:
    """The last change of its readiness."""
    for condition in (each.get("status") or {}).get("conditions") or []:
        at = _at(condition.get("lastTransitionTime"))
        if condition.get("type") == "Ready" and at is not None:
            ready = condition.get("status") == "True"
            text = f"Node {_name(each)} is {'Ready' if ready else 'not Ready'} since then"
            yield Sign(at, What.NODE_UP if ready else What.NODE_DOWN, _name(each), _name(each), "", text, source, _WIDE)


_SIGNS: Mapping[str, Callable[[Object, str], Iterator[Sign]]] = {
    "Lease": _lease,
    "Event": _event,
    "Pod": _pod,
    "Node": _node,
}
