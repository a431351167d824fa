"""Which kinds an API server serves, and under which path."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from harness.errors import LabError
from harness.kube.transport import Transport

#: The whole discovery in one document for /api and one for /apis: stable since Kubernetes 1.30, beta since 1.27.
_AGGREGATED = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)


@dataclass(frozen=True)
class Resource:
    """One kind as the API server serves it.

    Attributes:
        group: API group, empty for the core group.
        version: API version, such as v2alpha1.
        kind: Kind, such as CiliumNode.
        plural: Its name in paths, such as ciliumnodes.
        singular: Its singular name (may be empty).
        short_names: Abbreviations, such as svc.
        namespaced: Whether its objects live in namespaces.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    namespaced: bool

    @property
    def api_version(self) -> str:
        """The apiVersion of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        """Return the path of the collection, or of one object, or of one of its subresources."""
        parts = ["", "apis", self.group, self.version] if self.group else ["", "api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, sub) if part]
        return "/".join(parts)

    def is_called(self, word: str) -> bool:
        """Tell whether a person may mean it: Kind, plural, singular or short name in any case, or plural.group."""
        lower = word.lower()
        if lower in (f"{self.plural}.{self.group}", f"{self.kind.lower()}.{self.group}"):
            return True
        return lower in (self.kind.lower(), self.plural, self.singular, *self.short_names)


class Discovery:
    """The kinds of one API server, read once and again whenever something unknown is asked for."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._resources: tuple[Resource, ...] = ()

    def of(self, api_version: str, kind: str) -> Resource | None:
        """Find the kind of an object, without asking the server again."""
        return next((r for r in self._resources if r.kind == kind and r.api_version == api_version), None)

    def find(self, word: str) -> Resource | None:
        """Find a kind by a name that people use, without asking the server again; the core group comes first."""
        return next((r for r in self._resources if r.is_called(word)), None)

    def all(self) -> tuple[Resource, ...]:
        """Return every kind known, the core group first, versions of a group in the server's order of preference."""
        return self._resources

    def refresh(self) -> None:
        """Ask the API server."""
        found: list[Resource] = []
        for path in ("/api", "/apis"):
            document = self._transport.request("GET", path, accept=_AGGREGATED).json()
            if document.get("kind") != "APIGroupDiscoveryList":
                raise LabError("the API server has no aggregated discovery; lblab needs Kubernetes 1.27 or later")
            found += [resource for group in document["items"] for resource in _resources(group)]
        with self._lock:
            self._resources = tuple(found)


def _resources(group: dict[str, Any]) -> list[Resource]:
    name = group.get("metadata", {}).get("name", "")
    return [
        Resource(
            group=name,
            version=version["version"],
            kind=resource["responseKind"]["kind"],
            plural=resource["resource"],
            singular=resource.get("singularResource", ""),
            short_names=tuple(resource.get("shortNames", ())),
            namespaced=resource["scope"] == "Namespaced",
        )
        for version in group.get("versions", [])
        for resource in version.get("resources", [])
        # A kind without objects of its own (only subresources) has no kind to answer with.
        if resource.get("responseKind", {}).get("kind")
    ]
