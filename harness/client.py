"""A client behind the router: it asks the service's address and says who answered, and when."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from harness.backends.base import Backend
from harness.topology import Topology

#: Seconds that a request may take before it counts as lost; a lost SYN is sent again after 1 s (RFC 6298).
_REQUEST_WITHIN = 0.9


@dataclass(frozen=True)
class Answer:
    """An HTTP answer of one of lblab's pods."""

    status: int
    #: Node and pod that answered, and the client address that the pod saw; None from a foreign server.
    node: str | None
    pod: str | None
    client: str | None
    #: Seconds from connect to the last byte.
    seconds: float
    body: str


class Client:
    """One client host."""

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend = backend
        self._topology: Topology = backend.topology
        self.name = name

    def http(self, url: str, *, within: float = _REQUEST_WITHIN, source_port: int = 0) -> Answer:
        """Ask once, over a connection of its own.

        Args:
            url: Such as "http://192.168.142.1/".
            within: Seconds for connecting and for each read.
            source_port: A fixed source port; 0 lets the kernel choose, so that requests spread over ECMP next hops.

        Raises:
            OSError: when nobody answers, refuses or resets; the errno says which.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        started = time.monotonic()
        with self._backend.socket(self.name, family, socket.SOCK_STREAM) as sock:
            sock.settimeout(within)
            if source_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("", source_port))
            sock.connect((host, port))
            connection = http.client.HTTPConnection(host, port)
            connection.sock = sock
            connection.request("GET", parts.path or "/", headers={"Connection": "close", "Accept": "application/json"})
            response = connection.getresponse()
            body = response.read().decode(errors="replace")
        facts = _facts(body)
        return Answer(
            status=response.status,
            node=facts.get("node"),
            pod=facts.get("pod"),
            client=facts.get("client"),
            seconds=time.monotonic() - started,
            body=body,
        )

    def answers(self, url: str, count: int) -> list[Answer]:
        """Ask several times, each from a port of its own.

        Raises:
            OSError: as soon as one request fails.
        """
        return [self.http(url) for _ in range(count)]

    def udp(self, address: str, port: int, payload: bytes, *, within: float = _REQUEST_WITHIN) -> bytes:
        """Send one datagram and wait for the answer to it."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self._backend.socket(self.name, family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(within)
            sock.connect((address, port))
            sock.send(payload)
            return sock.recv(65535)

    def exec(self, argv: Sequence[str], *, within: float = 30) -> subprocess.CompletedProcess[str]:
        """Run a command on the client."""
        return self._backend.exec(self.name, argv, within=within)

    def __repr__(self) -> str:
        return f"Client({self.name!r})"


def _facts(body: str) -> dict[str, Any]:
    try:
        facts = json.loads(body)
    except json.JSONDecodeError:
        return {}
    return facts if isinstance(facts, dict) else {}
