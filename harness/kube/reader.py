"""Reading the Kubernetes API: objects, endpoints, events, watches and waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.kube import config, explain
from harness.kube.discovery import Discovery, Resource
from harness.kube.explain import Obj
from harness.kube.transport import ApiError, NotFound, Transport
from harness.kube.watch import Accept, Event, follow, show_state, wait_for
from harness.wait import until

#: Seconds between two looks at the discovery, which nothing announces.
DISCOVERY_EVERY = 0.1
_ALL = ""

Objects = list[Obj]


@dataclass(frozen=True, order=True)
class Endpoint:
    """A ready backend of a Service: its pod, the node it runs on, and its address."""

    pod: str | None
    node: str | None
    ip: str


class Reader:
    """The reading half of a cluster.

    Args:
        kubeconfig: The kubeconfig file; its current context is used.
        namespace: Where objects go that name no namespace.
        cilium_version: The Cilium version of this cluster: what it does not serve is refused before it is sent.
    """

    def __init__(self, kubeconfig: Path, *, namespace: str = "default", cilium_version: str | None = None) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self.cilium_version = cilium_version
        self._http = Transport(config.load(kubeconfig))
        self._discovery = Discovery(self._http)

    def close(self) -> None:
        """Close idle connections; the cluster may still be used."""
        self._http.close()

    # -- the server itself ------------------------------------------------------------------------------------------

    def wait_ready(self, within: float = 30.0) -> None:
        """Wait until /readyz says ok.

        Raises:
            WaitTimeout: with the checks that were not ok.
        """

        def look() -> str:
            try:
                return self._http.request("GET", "/readyz", accept="*/*", within=2.0).body.decode()
            except ApiError as error:
                return error.detail

        until("the API server to be ready", look, lambda text: text == "ok", within=within, show=_not_ok)

    def version(self) -> str:
        """Return the server's Kubernetes version, such as v1.34.4."""
        return str(self._http.request("GET", "/version").json()["gitVersion"])

    def kinds(self) -> tuple[Resource, ...]:
        """Ask which kinds are served now."""
        self._discovery.refresh()
        return self._discovery.all()

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, kind: str, name: str, *, namespace: str | None = None) -> Obj:
        """Read one object.

        Raises:
            NotFound: There is none of that name.
        """
        found: Obj = self._http.request("GET", self.resource(kind).path(namespace or self.namespace, name)).json()
        return found

    def exists(self, kind: str, name: str, *, namespace: str | None = None) -> bool:
        """Tell whether there is such an object (a kind that is not served has none)."""
        resource = self._find(kind)
        if resource is None:
            return False
        try:
            self._http.request("GET", resource.path(namespace or self.namespace, name))
        except NotFound:
            return False
        return True

    def ready_endpoints(self, service: str, *, namespace: str | None = None) -> list[Endpoint]:
        """Return the ready backends of a Service, from its EndpointSlices, sorted.

        Args:
            service: Its name; or namespace/name.
            namespace: Its namespace, if not the default one.
        """
        space, _, name = service.rpartition("/")
        slices = self.list(
            "endpointslices.discovery.k8s.io",
            namespace=namespace or space or None,
            labels={"kubernetes.io/service-name": name},
        )
        return sorted(
            {
                Endpoint(pod=(endpoint.get("targetRef") or {}).get("name"), node=endpoint.get("nodeName"), ip=address)
                for piece in slices
                for endpoint in piece.get("endpoints") or []
                # "nil should be interpreted as true" (discovery.k8s.io/v1, EndpointConditions.ready).
                if (endpoint.get("conditions") or {}).get("ready", True)
                for address in endpoint["addresses"]
            },
            key=lambda e: (e.pod or "", e.node or "", e.ip),
        )

    def events(self, kind: str | None = None, name: str | None = None, *, namespace: str | None = None) -> Objects:
        """Return the Kubernetes events about an object (or all), the oldest first.

        Args:
            kind: Kind of the object, exactly as in its manifest.
            name: Its name.
            namespace: Its namespace; None for all namespaces.
        """
        about = {"involvedObject.kind": kind, "involvedObject.name": name}
        fields = {key: value for key, value in about.items() if value is not None}
        found = self.list("events", namespace=_ALL if namespace is None else namespace, fields=fields)
        return sorted(found, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")

    def watch(
        self,
        kind: str,
        *,
        name: str | None = None,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        within: float,
    ) -> Iterator[Event]:
        """Follow a kind: what is there now as ADDED, then every change.

        Args:
            kind: The kind.
            name: Only the object of this name.
            namespace: Its namespace; the default one if None, "" for all.
            labels: Only objects with these labels.
            within: Seconds until the iteration ends by itself.

        Raises:
            ApiAway: The API server went away.
        """
        resource = self.resource(kind)
        space = self.namespace if namespace is None else namespace
        query = _selectors(labels, {"metadata.name": name} if name else None)
        deadline = time.monotonic() + within
        yield from (event for event in follow(self._http, resource, space or None, query, deadline) if event)

    def wait(
        self,
        kind: str,
        name: str,
        accept: Accept,
        *,
        within: float,
        namespace: str | None = None,
        what: str | None = None,
    ) -> Obj | None:
        """Wait on watch events until an object is as wanted.

        Args:
            kind: Its kind.
            name: Its name.
            accept: Decides; is given the object, or None when there is none.
            within: Deadline in seconds. An API server that goes away meanwhile is waited for.
            namespace: Its namespace, if not the default one.
            what: What is waited for, as it stands in the error.

        Returns:
            The object when it was accepted.

        Raises:
            WaitTimeout: with the last state seen.
        """
        resource = self.resource(kind)
        space = (namespace or self.namespace) if resource.namespaced else None
        what = what or f"{resource.kind} {name} to be as wanted"
        deadline = time.monotonic() + within
        return wait_for(self._http, resource, space, name, accept, deadline=deadline, what=what, show=show_state)

    def resource(self, kind: str, *, within: float = 0.0) -> Resource:
        """Find out how a kind is served.

        Args:
            kind: Its name, as people write it.
            within: Seconds in which it may turn up.

        Raises:
            UserError: It is not served.
        """
        found = self._find(kind, within)
        if found is None:
            hint = explain.alike(kind, self._discovery.all())
            raise UserError(f"nothing here serves a kind named {kind!r}", hint=hint)
        return found

    def _find(self, word: str, within: float = 0.0) -> Resource | None:
        return self._discover(lambda: self._discovery.find(word), time.monotonic() + within)

    def _discover(self, look: Callable[[], Resource | None], deadline: float) -> Resource | None:
        """Look a kind up; ask the server again until it is there or the deadline has passed."""
        pause = threading.Event()
        while True:
            if (found := look()) is not None:
                return found
            self._discovery.refresh()
            if (found := look()) is not None or time.monotonic() >= deadline:
                return found
            pause.wait(DISCOVERY_EVERY)

    def list(
        self,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Objects:
        """Return the objects of a kind.

        Args:
            kind: The kind.
            namespace: Their namespace; the default one if None, "" for all.
            labels: Only those with these labels.
            fields: Only those with these fields, such as spec.nodeName for pods.
        """
        resource = self.resource(kind)
        space = self.namespace if namespace is None else namespace
        answer = self._http.request("GET", resource.path(space or None), query=_selectors(labels, fields)).json()
        # A list's items do not repeat what the list says of itself.
        return [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in answer["items"]]


def condition(type: str, status: str = "True") -> Accept:
    """Make an `accept` for `Cluster.wait`: the object has this condition in its status."""

    def accept(found: Obj | None) -> bool:
        conditions = ((found or {}).get("status") or {}).get("conditions") or []
        return any(c["type"] == type and c["status"] == status for c in conditions)

    return accept


def gone(found: Obj | None) -> bool:
    """Accept, for `Cluster.wait`, that there is no such object."""
    return found is None


def _not_ok(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.endswith(" ok")]
    return "; ".join(lines)[:300]


def _selectors(labels: Mapping[str, str] | None, fields: Mapping[str, str] | None) -> dict[str, str]:
    query = {}
    if labels:
        query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
    if fields:
        query["fieldSelector"] = ",".join(f"{key}={value}" for key, value in fields.items())
    return query
