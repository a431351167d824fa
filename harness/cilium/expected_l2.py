"""Which node answers ARP for which address by Cilium's L2 announcements, read off the API objects.

The nodes that a policy selects compete for a Lease for each Service; its holder answers. Semantics: pkg/l2announcer of
the versions named here; shared/facts/cilium.md, section 7. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.cilium import lease
from harness.cilium.selectors import matches
from harness.owner import Owner
from harness.topology import HOST_DEVICE

Obj = Mapping[str, Any]

ANNOUNCER = "Cilium L2"
#: loadBalancerClass values that are announced (upsertSvc).
_CLASSES = (None, "io.cilium/l2-announcer")
#: From this minor on a Service with externalTrafficPolicy Local is announced only from nodes with a backend
#: (hasLocalBackends); before, from any node, which then has nowhere to send what it gets.
LOCAL_SINCE = (1, 20)


@dataclass
class Objects:
    """What decides, as the API server holds it."""

    #: Labels of each node whose agent announces.
    nodes: Mapping[str, Mapping[str, str]]
    services: Sequence[Obj] = ()
    #: Nodes with a ready backend, by "namespace/name" of the Service.
    backends: Mapping[str, set[str]] = field(default_factory=dict)
    policies: Sequence[Obj] = ()
    #: Holders by the Lease's name.
    holders: Mapping[str, str | None] = field(default_factory=dict)
    #: Cilium's minor.
    line: tuple[int, int] = LOCAL_SINCE


def owners(objects: Objects) -> dict[str, Owner]:
    """Who should answer for each address that a policy selects: the holder of its Service's lease."""
    return {owner.address: owner for service in objects.services for owner in _owners(service, objects)}


def _owners(service: Obj, objects: Objects) -> Iterator[Owner]:
    metadata, spec = service["metadata"], service["spec"]
    if spec.get("loadBalancerClass") not in _CLASSES:
        return
    addresses: dict[str, set[str]] = {}
    for policy in objects.policies:
        for address in _addresses(service, policy):
            addresses.setdefault(address, set()).update(_nodes(service, policy, objects))
    name = lease.name_of(metadata["namespace"], metadata["name"])
    # one lease for all addresses of a Service: every node that any policy selects competes for it
    competing: set[str] = set().union(*addresses.values())
    holder = objects.holders.get(name)
    for address, nodes in addresses.items():
        node = holder if holder in nodes else None
        why = f"holds {name}" if node else f"nobody of {', '.join(sorted(competing)) or 'no node'} holds {name}"
        yield Owner(address, ANNOUNCER, node, tuple(sorted(competing - {node})), why)


def _addresses(service: Obj, policy: Obj) -> Iterator[str]:
    metadata, wanted = service["metadata"], policy["spec"]
    labels = {
        **(metadata.get("labels") or {}),
        "io.kubernetes.service.name": metadata["name"],
        "io.kubernetes.service.namespace": metadata["namespace"],
    }
    if not matches(wanted.get("serviceSelector"), labels, absent=True):
        return
    patterns = wanted.get("interfaces") or [""]
    if not any(re.search(pattern, HOST_DEVICE) for pattern in patterns):
        return
    if wanted.get("loadBalancerIPs"):
        ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
        yield from (one["ip"] for one in ingress if one.get("ip") and ":" not in one["ip"])
    if wanted.get("externalIPs"):
        yield from (one for one in service["spec"].get("externalIPs") or () if ":" not in one)


def _nodes(service: Obj, policy: Obj, objects: Objects) -> set[str]:
    metadata = service["metadata"]
    found = {
        name
        for name, labels in objects.nodes.items()
        if matches(policy["spec"].get("nodeSelector"), labels, absent=True)
    }
    if objects.line >= LOCAL_SINCE and service["spec"].get("externalTrafficPolicy") == "Local":
        found &= objects.backends.get(f"{metadata['namespace']}/{metadata['name']}", set())
    return found
