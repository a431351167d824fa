"""A Service of type LoadBalancer in a scenario's hands."""

from __future__ import annotations

from typing import Any

from harness.cilium import lease
from harness.cluster import Cluster, Endpoint, NotFound
from harness.wait import until

#: Seconds for LB-IPAM to give an address; 0.3 s when the pool is there (design.md).
_ADDRESS_WITHIN = 15.0


class Service:
    """One Service; it need not exist yet."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        namespace, _, self.name = name.rpartition("/")
        self.namespace = namespace or "default"

    @property
    def object(self) -> dict[str, Any]:
        """The object as the API server holds it now.

        Raises:
            NotFound: when it does not exist.
        """
        return self._cluster.get("Service", self.name, namespace=self.namespace)

    @property
    def exists(self) -> bool:
        """Whether there is such a Service."""
        return self._cluster.exists("Service", self.name, namespace=self.namespace)

    @property
    def addresses(self) -> list[str]:
        """The addresses that were given to it so far (status.loadBalancer.ingress)."""
        try:
            return addresses_of(self.object)
        except NotFound:
            return []

    @property
    def address(self) -> str:
        """Its first address; waits until it has one.

        Raises:
            WaitTimeout: when no address comes, with what the Service's conditions say.
        """
        found = self.wait(lambda service: bool(addresses_of(service)), "to have an address", within=_ADDRESS_WITHIN)
        return addresses_of(found)[0]

    @property
    def prefix(self) -> str:
        """Its address as the route that announces it: /32 or /128."""
        address = self.address
        return f"{address}/{128 if ':' in address else 32}"

    def condition(self, kind: str) -> dict[str, Any] | None:
        """One of its conditions, such as cilium.io/IPAMRequestSatisfied."""
        conditions = self.object.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), None)

    def ready_backends(self) -> list[Endpoint]:
        """Its ready backends."""
        return self._cluster.ready_endpoints(self.name, namespace=self.namespace)

    def lease_holder(self) -> str | None:
        """The node that holds its lease of Cilium's L2 announcements; None: nobody does, or there is no lease."""
        name = lease.name_of(self.namespace, self.name)
        try:
            found = self._cluster.get("leases.coordination.k8s.io", name, namespace=lease.NAMESPACE)
        except NotFound:
            return None
        return found["spec"].get("holderIdentity") or None  # "" when it was released

    def wait_lease_holder(self, *nodes: str, within: float = 15.0) -> str:
        """Wait until one of these nodes, or with none given any node, holds its lease; gives which.

        Raises:
            WaitTimeout: with who held it, and since when.
        """

        def accept(holder: str | None) -> bool:
            return holder in nodes if nodes else holder is not None

        def shown(holder: str | None) -> str:
            return holder or "nobody"

        found = until(
            f"the lease of {self.namespace}/{self.name} to be held by {' or '.join(nodes) or 'a node'}",
            self.lease_holder,
            accept,
            within=within,
            show=shown,
        )
        return str(found)

    def wait(self, accept: Any, what: str, *, within: float = 10.0) -> dict[str, Any]:
        """Wait on watch events until the Service is as wanted."""
        found = self._cluster.wait(
            "Service",
            self.name,
            lambda service: service is not None and accept(service),
            within=within,
            namespace=self.namespace,
            what=f"Service {self.namespace}/{self.name} {what}",
        )
        return found or {}

    def url(self, port: int | None = None) -> str:
        """Its HTTP address."""
        address = self.address
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}{f':{port}' if port else ''}/"

    def __repr__(self) -> str:
        return f"Service({self.namespace}/{self.name})"


def addresses_of(service: dict[str, Any]) -> list[str]:
    """The addresses in a Service object's status."""
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [entry["ip"] for entry in ingress if entry.get("ip")]
