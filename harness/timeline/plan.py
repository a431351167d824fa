"""What a recorder is told: whom to follow, and where to write it down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: Its name within a lab's folder, and that of the recorder's socket.
FILE, SOCKET_FILE = "timeline.json", "timeline.sock"


@dataclass(frozen=True)
class HostPlan:
    """A host whose kernel is followed.

    Attributes:
        routes: Whether its routes matter.
        ports: What its links are called in events, by device.
        strangers: Whether neighbours matter that are no hosts of the lab. Where FreeBSD's ARP is stood in for, its
            daemon tells of them, and what the kernel says is only what the daemon has told it.
    """

    routes: bool = False
    strangers: bool = True
    ports: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RouterPlan:
    """A router whose bgpd is followed.

    Attributes:
        vty: The folder of its vty sockets.
        bmp_port: Where bgpd is told to connect on 127.0.0.1 in the router's network; None when this FRR has no BMP: its
            state is then asked for over and over.
    """

    vty: str
    bmp_port: int | None


@dataclass(frozen=True)
class RecorderPlan:
    """Everything that a recorder needs to know.

    Attributes:
        journal: The file that events are appended to.
        socket: A UNIX socket on which the recorder answers when it has written what there was.
        names: Hosts by address.
        hosts: Hosts whose kernels are followed.
        routers: Routers whose bgpd is followed.
        kubeconfig: How the API server is reached from `kube_host`; None without Kubernetes.
        kube_host: The host in whose network that kubeconfig holds.
        leases: Whether Cilium's leases of L2-announced services are followed.
        logs: The folder of the logs.
        log_files: The process of each log that matters, by file name.
        macs: Hosts by hardware address.
    """

    journal: str
    socket: str
    names: Mapping[str, str]
    hosts: Mapping[str, HostPlan]
    routers: Mapping[str, RouterPlan]
    kubeconfig: str | None
    kube_host: str | None
    logs: str | None
    log_files: Mapping[str, str] = field(default_factory=dict)
    macs: Mapping[str, str] = field(default_factory=dict)
    leases: bool = False

    def save(self, path: Path) -> None:
        """Write it down for the recorder."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> RecorderPlan:
        """Read it back."""
        raw: dict[str, Any] = json.loads(path.read_text())
        raw["hosts"] = {name: HostPlan(**host) for name, host in raw["hosts"].items()}
        raw["routers"] = {name: RouterPlan(**router) for name, router in raw["routers"].items()}
        return cls(**raw)
