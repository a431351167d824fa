"""HTTP to one API server: pooled connections, deadlines that hold, errors as the API states them.

Why the standard library's client (measured on 2 cores against a loopback TLS server, medians of 300 calls): 0.2 ms a
call and nothing to import; httpx 0.5 ms and 50-100 ms of import; kr8s' sync layer 1.6 ms (p95 5 ms), one event loop
thread that all callers share, and 0.4 s for import and first use. A socket of our own also gives a watch an exact
deadline.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.errors import LabError
from harness.kube.config import KubeConfig

#: Seconds that one request may take. kube-apiserver ends a request itself after 60 s (its --request-timeout); a lab's
#: answers in milliseconds, and one that is silent for 10 s is as good as away.
REQUEST_WITHIN = 10.0
#: Seconds before a server that is busy is asked again. kube-apiserver's Retry-After is whole seconds, and the storage
#: of a new CRD or a restarted server is ready in tenths.
_BUSY_PAUSE = 0.05


class ApiAway(LabError, ConnectionError):
    """The API server does not answer. As a ConnectionError it counts as "not yet" in `harness.wait.until`."""


class ApiError(LabError):
    """The API server answered with an error.

    Args:
        status: The HTTP status code.
        body: The `Status` object that came with it (empty if there was none).
        asked: Method and path, for the sentence.
    """

    def __init__(self, status: int, body: Mapping[str, Any], asked: str) -> None:
        self.status = status
        self.reason = str(body.get("reason", ""))
        self.detail = str(body.get("message", "")) or http.client.responses.get(status, "")
        details = body.get("details") or {}
        #: (field path, message) of each thing that was wrong with the object.
        self.causes = [(str(c.get("field", "")), str(c.get("message", ""))) for c in details.get("causes") or []]
        super().__init__(f"the API server answered {asked} with {status}: {self.detail}")


class NotFound(ApiError):
    """There is no such object (or no such kind)."""


class ApiBusy(ApiError, ConnectionError):
    """The server asks to come again later (429), as while a new CRD's storage is made: "not yet" for a wait."""


@dataclass(frozen=True)
class Reply:
    """A good answer: status, body and the API's warnings (deprecations)."""

    status: int
    body: bytes
    warnings: tuple[str, ...]

    def json(self) -> Any:
        """Return the body as decoded JSON."""
        return json.loads(self.body)


class Transport:
    """Requests to one API server; safe to use from many threads, each request has a connection to itself."""

    def __init__(self, config: KubeConfig) -> None:
        self._config = config
        url = urllib.parse.urlsplit(config.server)
        if url.hostname is None:
            raise LabError(f"the API server's URL {config.server!r} has no host")
        self._host, self._port = url.hostname, url.port
        self._prefix = url.path.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "lblab"}
        if config.token:
            self._headers["Authorization"] = f"Bearer {config.token}"
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = "application/json",
        accept: str | None = None,
        within: float = REQUEST_WITHIN,
    ) -> Reply:
        """Send one request and read its answer.

        Args:
            method: HTTP method. All that lblab sends may be repeated, so a request that died with a kept-alive
                connection is sent again on a new one.
            path: Absolute path on the server.
            query: Query parameters.
            body: Sent as JSON when not None.
            content: Content type of the body.
            accept: Accept header, if not JSON.
            within: Seconds until the answer must be complete in each step (connect, send, first byte, each read).

        Raises:
            ApiAway: No connection, no answer, or none in time.
            NotFound: Status 404.
            ApiError: Any other status from 400 on.
        """
        deadline = time.monotonic() + within
        while True:
            try:
                return self._once(method, self._target(path, query), body, content, accept, within)
            except ApiBusy:
                # as client-go does; the server means it: it will answer soon
                if time.monotonic() > deadline:
                    raise
                threading.Event().wait(_BUSY_PAUSE)

    def _once(self, method: str, target: str, body: object, content: str, accept: str | None, within: float) -> Reply:
        headers = dict(self._headers)
        if accept is not None:
            headers["Accept"] = accept
        data = None
        if body is not None:
            data = json.dumps(body, separators=(",", ":"), default=str).encode()
            headers["Content-Type"] = content
        for fresh in (False, True):
            connection, reused = self._take(within, fresh=fresh)
            try:
                connection.request(method, target, data, headers)
                response = connection.getresponse()
                reply = Reply(response.status, response.read(), _warnings(response))
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if reused and not isinstance(error, TimeoutError):
                    continue
                raise self._away(error) from error
            self._give_back(connection, response)
            if reply.status >= 400:
                raise api_error(reply.status, reply.body, f"{method} {target}")
            return reply
        raise AssertionError("a fresh connection either answers or raises")

    @contextmanager
    def stream(self, path: str, query: Mapping[str, str], *, deadline: float) -> Iterator[Iterator[dict[str, Any]]]:
        """Open a watch: an iterator of JSON documents, one a line, that ends when the server ends it.

        Args:
            path: Absolute path on the server.
            query: Query parameters.
            deadline: Moment on the monotonic clock after which reading raises TimeoutError.

        Raises:
            ApiAway: The server cannot be reached, or goes away while it is being read.
            ApiError: The server refuses the watch.
        """
        target = self._target(path, query)
        connection, _ = self._take(max(deadline - time.monotonic(), 0.001), fresh=True)
        try:
            try:
                connection.request("GET", target, None, self._headers)
                sock = connection.sock  # http.client forgets it when the server says "Connection: close"
                response = connection.getresponse()
            except TimeoutError:
                raise
            except (OSError, http.client.HTTPException) as error:
                raise self._away(error) from error
            if response.status >= 400:
                raise api_error(response.status, response.read(), f"GET {target}")
            yield self._lines(sock, response, deadline)
        finally:
            connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _lines(
        self, sock: socket.socket, response: http.client.HTTPResponse, deadline: float
    ) -> Iterator[dict[str, Any]]:
        rest = b""
        while True:
            # A TLS record may already be buffered, so the deadline is set on the socket rather than asked of select.
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            try:
                chunk = response.read1(65536)
            except TimeoutError:
                raise
            except (OSError, http.client.HTTPException) as error:
                raise self._away(error) from error
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    yield json.loads(line)

    def _take(self, within: float, *, fresh: bool) -> tuple[http.client.HTTPConnection, bool]:
        if not fresh:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is not None and connection.sock is not None:
                connection.sock.settimeout(within)
                return connection, True
        if self._config.tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=within), False
        return http.client.HTTPSConnection(self._host, self._port, timeout=within, context=self._config.tls), False

    def _give_back(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        if response.will_close:
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)

    def _target(self, path: str, query: Mapping[str, str] | None) -> str:
        return self._prefix + path + ("?" + urllib.parse.urlencode(query) if query else "")

    def _away(self, error: Exception) -> ApiAway:
        return ApiAway(f"the API server at {self._config.server} does not answer: {type(error).__name__}: {error}")


def api_error(status: int, body: bytes, asked: str) -> ApiError:
    """Make the exception for an error answer."""
    try:
        document = json.loads(body)
    except ValueError:
        document = {"message": body.decode(errors="replace").strip()}
    if not isinstance(document, dict):
        document = {"message": str(document)}
    return {404: NotFound, 429: ApiBusy}.get(status, ApiError)(status, document, asked)


def _warnings(response: http.client.HTTPResponse) -> tuple[str, ...]:
    """Read the `Warning: 299 - "text"` headers (RFC 7234, 5.5), as Kubernetes sends them."""
    found = []
    for header in response.headers.get_all("Warning") or []:
        _, _, quoted = header.partition('"')
        found.append(quoted.rstrip().removesuffix('"').replace('\\"', '"') or header)
    return tuple(found)
