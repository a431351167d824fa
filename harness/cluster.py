"""The Kubernetes API as lblab uses it, the same for both backends: apply, delete, wait, watch.

One `Cluster` may be used from many threads. Waits follow watch events; nothing polls. An object is a plain dict, as in
its manifest. Kinds are named as people name them: "Service", "services", "svc" or "ciliumnodes.cilium.io".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.kube import explain
from harness.kube.discovery import Resource
from harness.kube.explain import Obj
from harness.kube.reader import DISCOVERY_EVERY, Endpoint, Reader, condition, gone
from harness.kube.sources import Manifests, sources
from harness.kube.transport import ApiAway, ApiError, NotFound
from harness.kube.watch import Event, show_remains, wait_for
from harness.manifests import Manifest

__all__ = ["ApiAway", "ApiError", "Applied", "Cluster", "Endpoint", "Event", "NotFound", "Obj", "condition", "gone"]

#: Who owns the fields that lblab applies (server-side apply's field manager).
FIELD_MANAGER = "lblab"
#: Seconds in which a kind that is not served yet may turn up: a CustomResourceDefinition is in the discovery within a
#: second of being Established; an operator that has just started takes 2.4 s to register Cilium's (design.md).
KIND_WITHIN = 5.0


@dataclass(frozen=True)
class Applied:
    """What became of one object that was applied.

    Attributes:
        kind: Its kind.
        namespace: Its namespace, None for a kind without one.
        name: Its name.
        created: True when it did not exist before.
        warnings: The API server's warnings about it, such as a deprecated apiVersion.
        object: The object as the API server holds it now.
    """

    kind: str
    namespace: str | None
    name: str
    created: bool
    warnings: tuple[str, ...]
    object: Obj

    def __str__(self) -> str:
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name}"


class Cluster(Reader):
    """One Kubernetes API server, as whoever the kubeconfig says: everything that `Reader` reads, and writing.

    Args:
        kubeconfig: The kubeconfig file; its current context is used.
        namespace: Where objects go that name no namespace.
        cilium_version: The Cilium version of this cluster: what it does not serve is refused before it is sent.
        adapt: Makes of an object that is applied the one that is sent.
    """

    def __init__(
        self,
        kubeconfig: Path,
        *,
        namespace: str = "default",
        cilium_version: str | None = None,
        adapt: Callable[[Mapping[str, Any]], Obj] = dict,
    ) -> None:
        super().__init__(kubeconfig, namespace=namespace, cilium_version=cilium_version)
        self._adapt = adapt

    def apply(self, what: Manifests, *, within: float = KIND_WITHIN) -> list[Applied]:
        """Apply objects on the server's side, unmodified and in order; namespaces and CRDs go first.

        Args:
            what: A file or folder of manifests, YAML text, one object or several.
            within: Seconds for a kind that is not served yet to turn up, and for a passing refusal to pass (a CRD
                that is not ready, a namespace that is still being deleted).

        Raises:
            UserError: A kind or field is not served or an object is refused; with file and line.
            ApiAway: The API server does not answer.
        """
        deadline = time.monotonic() + within
        objects = sources(what)
        early = ("Namespace", "CustomResourceDefinition")
        self._check_cilium(objects)
        objects.sort(key=lambda manifest: manifest.kind not in early)
        return [self._apply(manifest, deadline) for manifest in objects]

    def patch(
        self, kind: str, name: str, change: Mapping[str, Any], *, namespace: str | None = None, sub: str | None = None
    ) -> Obj:
        """Change an object by a JSON merge patch (RFC 7386: None removes a field, a list is replaced as a whole).

        Args:
            kind: Its kind.
            name: Its name.
            change: The patch.
            namespace: Its namespace, if not the default one.
            sub: A subresource, such as status.
        """
        path = self.resource(kind).path(namespace or self.namespace, name, sub)
        changed: Obj = self._http.request("PATCH", path, body=change, content="application/merge-patch+json").json()
        return changed

    def label(
        self,
        kind: str,
        name: str,
        labels: Mapping[str, str | None] | None = None,
        *,
        namespace: str | None = None,
        **more: str | None,
    ) -> Obj:
        """Set labels of an object; None removes one."""
        change = {**(labels or {}), **more}
        return self.patch(kind, name, {"metadata": {"labels": change}}, namespace=namespace)

    def scale(self, kind: str, name: str, replicas: int, *, namespace: str | None = None) -> Obj:
        """Set how many replicas a Deployment (or another scalable object) shall have."""
        return self.patch(kind, name, {"spec": {"replicas": replicas}}, namespace=namespace, sub="scale")

    def create(self, obj: Mapping[str, Any]) -> Obj:
        """Create an object that is not there.

        Raises:
            ApiError: It is there, or the API server refuses it.
        """
        path = self.resource(str(obj["kind"])).path(obj["metadata"].get("namespace"))
        made: Obj = self._http.request("POST", path, body=dict(obj)).json()
        return made

    def would_create(self, obj: Mapping[str, Any]) -> None:
        """Ask whether an object would be taken, webhooks included, without making it.

        Raises:
            ApiError: It would not; or a webhook does not answer.
        """
        path = self.resource(str(obj["kind"])).path(obj["metadata"].get("namespace"))
        self._http.request("POST", path, query={"dryRun": "All"}, body=dict(obj))

    def replace(self, obj: Mapping[str, Any]) -> Obj:
        """Make an object's content exactly this, whoever wrote its fields; its status and finalizers stay.

        Raises:
            NotFound: It is not there.
        """
        metadata = obj["metadata"]
        path = self.resource(str(obj["kind"])).path(metadata.get("namespace"), metadata["name"])
        now = self._http.request("GET", path).json()
        kept = {key: value for key, value in now["metadata"].items() if key not in ("labels", "annotations")}
        body = {**obj, "metadata": {**kept, **metadata}, "status": now.get("status", {})}
        replaced: Obj = self._http.request("PUT", path, body=body).json()
        return replaced

    def evict(self, pod: str, *, namespace: str | None = None) -> None:
        """Evict a pod, as `kubectl drain` does: refused with status 429 while a PodDisruptionBudget forbids it."""
        space = namespace or self.namespace
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": space}}
        self._http.request("POST", self.resource("pods").path(space, pod, "eviction"), body=body)

    def delete_pod(self, name: str, *, namespace: str | None = None, grace: float | None = None) -> None:
        """Ask for a pod to be deleted; it may take its grace period to be gone.

        Args:
            name: Its name.
            namespace: Its namespace, if not the default one.
            grace: Seconds that it may take, None: as the pod says; 0 removes the object at once.
        """
        options = {} if grace is None else {"gracePeriodSeconds": round(grace)}
        self._http.request("DELETE", self.resource("pods").path(namespace or self.namespace, name), body=options)

    def delete(
        self,
        what: Manifests,
        name: str | None = None,
        *,
        namespace: str | None = None,
        foreground: bool = False,
        wait: bool = True,
        within: float = 30.0,
    ) -> list[str]:
        """Delete objects, the last first, and wait until they are really gone.

        Args:
            what: What `apply` takes; or a kind, together with `name`.
            name: The object's name, when `what` is a kind.
            namespace: Its namespace, if not the default one.
            foreground: Delete what it owns before it.
            wait: Wait until the objects are gone.
            within: Seconds for all of it.

        Returns:
            What was there to delete ("Service default/test-lb"); an object that was not there is no error.

        Raises:
            WaitTimeout: Something is still there, with its finalizers.
        """
        deadline = time.monotonic() + within
        if name is not None:
            if not isinstance(what, str):
                raise UserError("to delete by name, say a kind and a name")
            targets = [(self.resource(what), namespace, name)]
        else:
            targets = [target for manifest in reversed(sources(what)) if (target := self._target(manifest)) is not None]
        options = {"propagationPolicy": "Foreground" if foreground else "Background"}
        deleted: list[tuple[Resource, str | None, str, str]] = []
        for resource, space, called in targets:
            space = (space or self.namespace) if resource.namespaced else None
            try:
                answer = self._http.request("DELETE", resource.path(space, called), body=options).json()
            except NotFound:
                continue
            uid = answer.get("metadata", {}).get("uid") or answer.get("details", {}).get("uid")
            deleted.append((resource, space, called, uid))
        for resource, space, called, uid in deleted if wait else ():

            def accept(found: Obj | None, uid: str = uid) -> bool:
                return found is None or found["metadata"]["uid"] != uid

            wait_for(
                self._http,
                resource,
                space,
                called,
                accept,
                deadline=deadline,
                what=f"{resource.kind} {called} to be gone",
                show=show_remains,
            )
        return [f"{r.kind} {f'{space}/' if space else ''}{called}" for r, space, called, _ in deleted]

    def _check_cilium(self, objects: Sequence[Manifest]) -> None:
        """Refuse what this Cilium version does not serve, and say which do: its kinds do not come by waiting."""
        if self.cilium_version is not None:
            from harness.cilium import api, semver

            api.check(objects, semver.parse(self.cilium_version))

    def _target(self, manifest: Manifest) -> tuple[Resource, str | None, str] | None:
        """Find what an object of a manifest is on the server; None when its kind is not served."""
        resource = self._discover(lambda: self._discovery.of(manifest.api_version, manifest.kind), time.monotonic())
        if resource is None:
            return None
        return resource, (manifest.object.get("metadata") or {}).get("namespace"), manifest.name

    def _apply(self, manifest: Manifest, deadline: float) -> Applied:
        api_version, kind = manifest.api_version, manifest.kind
        metadata = manifest.object.get("metadata") or {}
        if not (name := metadata.get("name")):
            raise manifest.error(f"{kind} has no metadata.name", "metadata")
        resource = self._discover(lambda: self._discovery.of(api_version, kind), deadline)
        if resource is None:
            raise explain.unserved(manifest, self._discovery.all())
        space = (metadata.get("namespace") or self.namespace) if resource.namespaced else None
        pause = threading.Event()
        while True:
            try:
                reply = self._http.request(
                    "PATCH",
                    resource.path(space, name),
                    query={"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"},
                    body=self._adapt(manifest.object),
                    content="application/apply-patch+yaml",
                )
            except ApiError as error:
                if not _passing(error) or time.monotonic() >= deadline:
                    raise explain.refused(error, manifest) from error
                if isinstance(error, NotFound):  # a kind may also be gone since it was discovered
                    self._discovery.refresh()
                    if self._discovery.of(api_version, kind) is None:
                        raise explain.unserved(manifest, self._discovery.all()) from error
                pause.wait(DISCOVERY_EVERY)
                continue
            return Applied(kind, space, name, reply.status == 201, reply.warnings, reply.json())


def _passing(error: ApiError) -> bool:
    """Tell whether a refusal at apply may pass by itself within moments.

    A CRD that is served but whose schema server-side apply does not know yet (404, or 500 "no corresponding type"), a
    namespace still being deleted (403), one whose ServiceAccount is not made yet (403, for a Pod), a server that is
    starting or busy (429, 503), a write that raced with another (409).
    """
    if error.status in (404, 409, 429, 503):
        return error.detail.find("namespaces ") != 0  # a namespace that is missing does not come by itself
    marks = ("no corresponding type", "being terminated", "error looking up service account", "not yet ready to handle")
    return error.status in (403, 500) and any(mark in error.detail for mark in marks)
