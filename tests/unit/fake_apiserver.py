"""A small API server for unit tests: discovery, objects in memory, server-side apply, watches, refusals as told."""

from __future__ import annotations

import json
import queue
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Obj = dict[str, Any]
#: (group, version, kind, plural, singular, short names, namespaced)
KINDS: list[tuple[Any, ...]] = [
    ("", "v1", "Service", "services", "service", ["svc"], True),
    ("", "v1", "Pod", "pods", "pod", ["po"], True),
    ("", "v1", "Event", "events", "event", ["ev"], True),
    ("", "v1", "Node", "nodes", "node", ["no"], False),
    ("", "v1", "Namespace", "namespaces", "namespace", ["ns"], False),
    ("apps", "v1", "Deployment", "deployments", "deployment", ["deploy"], True),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "endpointslice", [], True),
]
Refuse = Callable[[str, str, Obj], tuple[int, Obj] | None]


class FakeApiServer:
    """Objects in memory behind HTTP on loopback."""

    def __init__(self) -> None:
        self.kinds = list(KINDS)
        self.objects: dict[str, Obj] = {}
        self.requests: list[tuple[str, str, dict[str, str], Obj]] = []
        self.warnings: list[str] = []
        self.refuse: Refuse = lambda method, path, body: None
        self.keep_deleted = False
        self._version = 100
        self._history: list[tuple[int, str, str, Obj]] = []
        self._lock = threading.RLock()
        #: How many watches have been opened so far.
        self.watches = 0
        self._watchers: list[tuple[str, str, queue.Queue[Obj | None]]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                fake.serve(self)

            do_GET = do_PATCH = do_DELETE = handle_one

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self.end_watches()
        self._server.shutdown()
        self._server.server_close()

    def kubeconfig(self, folder: Path) -> Path:
        path = folder / "kubeconfig"
        name = {"name": "fake"}
        document = {
            "current-context": "fake",
            "contexts": [{**name, "context": {"cluster": "fake", "user": "fake"}}],
            "clusters": [{**name, "cluster": {"server": self.url}}],
            "users": [{**name, "user": {"token": "secret"}}],
        }
        path.write_text(json.dumps(document))
        return path

    def put(self, path: str, body: Obj) -> Obj:
        """Create or change an object and tell the watchers."""
        with self._lock:
            self._version += 1
            old = self.objects.get(path)
            uid = old["metadata"]["uid"] if old else f"uid-{self._version}"
            metadata = {**body.get("metadata", {}), "uid": uid, "resourceVersion": str(self._version)}
            metadata.setdefault("name", path.rsplit("/", 1)[1])
            self.objects[path] = {**body, "metadata": metadata}
            self._tell(path, "MODIFIED" if old else "ADDED", self.objects[path])
            return self.objects[path]

    def remove(self, path: str) -> None:
        with self._lock:
            self._version += 1
            self._tell(path, "DELETED", self.objects.pop(path))

    def end_watches(self, error: Obj | None = None) -> None:
        """End every watch, as a server does after some minutes; with an ERROR event if one is given."""
        with self._lock:
            for _, _, events in self._watchers:
                if error is not None:
                    events.put({"type": "ERROR", "object": error})
                events.put(None)

    def _tell(self, path: str, kind: str, body: Obj) -> None:
        self._history.append((self._version, path, kind, body))
        for collection, name, events in self._watchers:
            if path.rsplit("/", 1)[0] == collection and name in ("", path.rsplit("/", 1)[1]):
                events.put({"type": kind, "object": body})

    def serve(self, http: BaseHTTPRequestHandler) -> None:
        url = urllib.parse.urlsplit(http.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        length = int(http.headers.get("content-length") or 0)
        body = json.loads(http.rfile.read(length) or b"{}")
        self.requests.append((http.command, url.path, query, body))
        if (refused := self.refuse(http.command, url.path, body)) is not None:
            self._answer(http, refused[0], refused[1])
        elif query.get("watch"):
            self._watch(http, url.path, query)
        else:
            self._answer(http, *self._route(http, url.path, query, body))

    def _route(self, http: BaseHTTPRequestHandler, path: str, query: dict[str, str], body: Obj) -> tuple[int, Any]:
        if path == "/readyz":
            return 200, "ok"
        if path == "/version":
            return 200, {"gitVersion": "v1.34.4"}
        if path in ("/api", "/apis"):
            assert "apidiscovery" in http.headers["accept"]
            return 200, self._discovery(core=path == "/api")
        with self._lock:
            if path.rsplit("/", 1)[-1] in {kind[3] for kind in self.kinds}:
                items = [o for p, o in sorted(self.objects.items()) if _matches(p, o, path, query)]
                return 200, {"items": items, "metadata": {"resourceVersion": str(self._version)}}
            base = path.removesuffix("/scale")
            if http.command == "PATCH" and http.headers["content-type"] == "application/apply-patch+yaml":
                return 200 if path in self.objects else 201, self.put(path, body)
            if base not in self.objects:
                return 404, {"message": f"{path} not found", "reason": "NotFound"}
            if http.command == "PATCH":
                return 200, self.put(base, _merge(self.objects[base], body))
            if http.command == "DELETE":
                found = self.objects[base]
                if not self.keep_deleted:
                    self.remove(base)
                    return 200, {"kind": "Status", "details": {"uid": found["metadata"]["uid"]}}
                found["metadata"]["deletionTimestamp"] = "now"
                return 200, found
            return 200, self.objects[base]

    def _discovery(self, *, core: bool) -> Obj:
        groups: dict[str, dict[str, list[Obj]]] = {}
        for group, version, kind, plural, singular, short, namespaced in self.kinds:
            if (group == "") == core:
                resource = {"resource": plural, "responseKind": {"kind": kind}, "singularResource": singular}
                scope = {"scope": "Namespaced" if namespaced else "Cluster", "shortNames": short}
                groups.setdefault(group, {}).setdefault(version, []).append({**resource, **scope})
        items = [
            {"metadata": {"name": g}, "versions": [{"version": v, "resources": r} for v, r in versions.items()]}
            for g, versions in groups.items()
        ]
        return {"kind": "APIGroupDiscoveryList", "items": items}

    def _answer(self, http: BaseHTTPRequestHandler, status: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        http.send_response(status)
        for warning in self.warnings:
            http.send_header("Warning", f'299 - "{warning}"')
        http.send_header("Content-Length", str(len(data)))
        http.end_headers()
        http.wfile.write(data)

    def _watch(self, http: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> None:
        name = query.get("fieldSelector", "").removeprefix("metadata.name=")
        events: queue.Queue[Obj | None] = queue.Queue()
        since = int(query["resourceVersion"])
        with self._lock:
            for version, changed, kind, body in self._history:
                if version > since and _matches(changed, body, path, query):
                    events.put({"type": kind, "object": body})
            watcher = (path, name, events)
            self._watchers.append(watcher)
            self.watches += 1
        http.send_response(200)
        http.send_header("Transfer-Encoding", "chunked")
        http.end_headers()
        try:
            while (event := events.get()) is not None:
                line = json.dumps(event).encode() + b"\n"
                http.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            http.wfile.write(b"0\r\n\r\n")
        except OSError:
            http.close_connection = True
        with self._lock:
            self._watchers.remove(watcher)


def _matches(path: str, body: Obj, collection: str, query: dict[str, str]) -> bool:
    folder, name = path.rsplit("/", 1)
    if folder != collection:
        plural = collection.rsplit("/", 1)[1]
        whole = collection.rsplit("/", 1)[0] + "/namespaces/"
        if not (folder.startswith(whole) and folder.endswith(f"/{plural}")):
            return False
    selector = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)
    labels = body["metadata"].get("labels", {})
    fields = dict(part.split("=", 1) for part in query.get("fieldSelector", "").split(",") if part)
    wanted_name = fields.pop("metadata.name", name)
    about = body.get("involvedObject", {})
    wanted = {key.removeprefix("involvedObject."): value for key, value in fields.items()}
    return (
        name == wanted_name
        and all(labels.get(k) == v for k, v in selector.items())
        and all(about.get(k) == v for k, v in wanted.items())
    )


def _merge(old: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged
