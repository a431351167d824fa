"""What a lab host is told: namespaces, links, routes and processes, as plain data that goes over as JSON.

The lab host knows nothing of Kubernetes, Cilium or FRR; `plan.py` says what they are, this says how it is written down.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: The namespace that holds every network's bridge: the switches of the lab.
FABRIC = "fabric"
#: Of the daemons' logs, within the lab's folder.
LOG_FOLDER = "logs"


@dataclass(frozen=True)
class Interface:
    """One host's port on a network: a veth pair between the host and the network's bridge."""

    namespace: str
    device: str
    network: str
    #: With prefix length: "192.168.130.1/24".
    addresses: tuple[str, ...]
    mac: str
    #: The other end's name, in the fabric; at most 15 characters (IFNAMSIZ).
    switch_port: str


@dataclass(frozen=True)
class Route:
    """A static route of one host."""

    namespace: str
    destination: str
    gateway: str


@dataclass(frozen=True)
class Mount:
    """A file system of memory ("tmpfs"), a file or folder bound over another ("bind"), or a "shadow".

    A shadow is a folder that shows what the machine's has at any time, but for some entries.
    """

    kind: str
    target: str
    source: str | None = None
    #: Shadow: the entries that are the lab's own, and where they are.
    over: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """How a process shows that others may rely on it."""

    #: A UNIX socket (path) that accepts connections.
    unix: str | None = None
    #: It is an API server that serves on 127.0.0.1 in its namespace, and this path answers 200: "6443/readyz".
    api: str | None = None
    #: Bearer token for it.
    token: str | None = None
    #: A text that appears in the process's log.
    log: str | None = None
    #: Seconds until the start counts as failed.
    within: float = 60.0


@dataclass(frozen=True)
class Process:
    """A daemon of the lab."""

    #: "<host>/<program>", as a person names it.
    name: str
    namespace: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    #: Processes that must be ready before this one is started.
    after: tuple[str, ...] = ()
    ready: Ready | None = None
    #: Started with the lab; otherwise when the backend asks for it.
    at_boot: bool = True
    #: Hand the inherited listening socket of the API server over as this descriptor.
    api_fd: int | None = None
    #: FRR: configuration given to the daemon's vty each time it has started, for daemons that take no file.
    vty_lines: tuple[str, ...] = ()
    #: It runs in the container that its host is, with that container's files.
    contained: bool = False


@dataclass(frozen=True)
class HostSpec:
    """Everything that a lab host makes."""

    name: str
    folder: str
    #: Network namespaces and the sysctls set in each.
    namespaces: dict[str, dict[str, str]]
    networks: tuple[str, ...]
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]
    processes: tuple[Process, ...]
    #: Made in the lab's mount namespace, in this order.
    mounts: tuple[Mount, ...] = ()
    #: Folders made after the mounts.
    folders: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write the specification for the lab host."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> HostSpec:
        """Read a specification back."""
        raw: dict[str, Any] = json.loads(path.read_text())
        return cls(
            name=raw["name"],
            folder=raw["folder"],
            namespaces=raw["namespaces"],
            networks=tuple(raw["networks"]),
            interfaces=tuple(Interface(**{**i, "addresses": tuple(i["addresses"])}) for i in raw["interfaces"]),
            routes=tuple(Route(**r) for r in raw["routes"]),
            processes=tuple(_process(p) for p in raw["processes"]),
            mounts=tuple(Mount(**m) for m in raw["mounts"]),
            folders=tuple(raw["folders"]),
        )


def _process(raw: dict[str, Any]) -> Process:
    ready = Ready(**raw["ready"]) if raw["ready"] else None
    lists = {key: tuple(raw[key]) for key in ("argv", "after", "vty_lines")}
    return Process(**{**raw, **lists, "ready": ready})
