"""The leases by which Cilium's L2 announcers decide who answers for a Service: their names (pkg/l2announcer)."""

from __future__ import annotations

#: Where they are: Cilium's own namespace (leaseNamespace).
NAMESPACE = "kube-system"
#: How they begin (leasePrefix).
PREFIX = "cilium-l2announce-"


def name_of(namespace: str, service: str) -> str:
    """The name of a Service's Lease (newLeaseLock)."""
    return f"{PREFIX}{namespace}-{service}"
