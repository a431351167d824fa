"""The lab host of a kind lab: the process that wires the containers, runs the lab's own daemons and carries out faults.

`python -m harness.backends.kind.host FOLDER` is the first process of a privileged container with the machine's PIDs and
the machine's files, but with network and mount namespaces of its own. There it makes the switches; hosts join as their
containers start. The container is one of those that the lab's reaper removes; nothing else has to be undone, as the
switches, the links and the names of the namespaces live in the container's own namespaces.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal

from harness.backends.kind import bpfmap, places, podservers
from harness.backends.kind.changes import KindChanges
from harness.backends.kind.found import Found
from harness.backends.kind.places import Containers
from harness.backends.kind.podlogs import PodLogs
from harness.backends.netns import namespaces, network
from harness.backends.netns.host import SOCKET_FILE, SPEC_FILE
from harness.backends.netns.processes import Supervisor
from harness.backends.netns.rpc import Operation, Server
from harness.backends.netns.spec import FABRIC, LOG_FOLDER, HostSpec
from harness.timeline import journal

#: What a host's container is: a node of the cluster, or one that lblab has made.
Kind = Literal["node", "other"]


class Host:
    """The lab host's state: the lab's hosts, its own processes and those that it has found."""

    def __init__(self, spec: HostSpec) -> None:
        self._spec = spec
        self._folder = Path(spec.folder)
        self._nodes, self._others = Containers(), Containers()
        events = journal.Journal(self._folder / journal.FILE)
        self._supervisor = Supervisor(
            spec.processes, self._folder / LOG_FOLDER, None, events.write, enter=self._others.enter
        )
        self._found = Found(self._nodes.items, events.write)
        self._logs = PodLogs(self._nodes.items, self._supervisor.log)
        self._changes = KindChanges(spec, self._pid, self._nodes, self._others, self._found)
        self._joining = threading.Lock()

    def operations(self) -> dict[str, Operation]:
        """Everything that the test process may ask for."""
        return {
            "hosts": lambda _: (self.hosts(), None),
            "join": lambda r: (self.join(r["name"], r["pid"], r["kind"]), None),
            "boot": lambda _: (self.boot(), None),
            "clear": lambda _: (self.clear(), None),
            "rewire": lambda _: (self.rewire(), None),
            "socket": lambda r: (None, self._socket(r)),
            "processes": lambda _: ([*self._supervisor.table(), *self._found.table(self._supervisor.log)], None),
            "start": lambda r: (self._of(r["name"]).start(r["name"]), None),
            "signal": lambda r: (self._of(r["name"]).signal(r["name"], r["signal"]), None),
            "wait_ended": lambda r: (self._of(r["name"]).wait_ended(r["name"], r["within"]), None),
            "there": lambda r: (self._found.there(r["name"]), None),
            "restart": lambda r: (self.restart(r["name"]), None),
            "pod_pid": lambda r: (podservers.pid_of(self._nodes[r["node"]], r["pod"]), None),
            "kill_pod": lambda r: (podservers.kill(self._nodes[r["node"]], r["pod"]), None),
            "l2_entries": lambda r: (bpfmap.entries(self._root(r["node"])), None),
            "l2_forget": lambda r: (bpfmap.forget(self._root(r["node"]), r["ip"], r["ifindex"]), None),
            **self._changes.operations(),
        }

    def hosts(self) -> dict[str, int]:
        """The first process of each host's container."""
        return dict([*self._nodes.items(), *self._others.items()])

    def join(self, name: str, pid: int, kind: Kind) -> dict[str, int]:
        """Make a container one of the lab's hosts: wire it as the topology says.

        Args:
            name: The host.
            pid: The PID of the container's first process.
            kind: Whether it is a node.
        """
        with self._joining:
            places.bind(name, pid)
            if kind == "node":
                places.name_management(name)
            network.plug(self._spec, name)
            if kind == "node":
                self._found.release(name)
            (self._nodes if kind == "node" else self._others)[name] = pid
            return {"at_ns": time.monotonic_ns()}

    def boot(self) -> float:
        """Start the routers' daemons; returns when they are ready, with the seconds that it took."""
        start = time.monotonic()
        self._supervisor.boot()
        self._supervisor.wait_booted()
        return time.monotonic() - start

    def clear(self) -> list[str]:
        """End the lab host's own processes and forget the hosts that are no nodes: another wiring follows."""
        self._changes.take_back()
        self._supervisor.become(())
        gone = [host for host, _ in self._others.items()]
        for host in gone:
            del self._others[host]
            places.unbind(host)
        return gone

    def rewire(self) -> list[str]:
        """Take the wiring that is written down now; the nodes stay where they are."""
        after = HostSpec.load(self._folder / SPEC_FILE)
        nodes = [node for node, _ in self._nodes.items()]
        network.rewire(self._spec, after, nodes)
        self._spec = after
        self._changes.replace(after)
        self._supervisor.become(after.processes)
        return nodes

    def restart(self, name: str) -> dict[str, int]:
        """End one of the lab host's own processes, if it runs, and start it again."""
        if self._supervisor.pid(name) is not None:
            self._supervisor.signal(name, signal.SIGKILL)
            self._supervisor.wait_ended(name, 5.0)
        return self._supervisor.start(name)

    def reap_forever(self) -> None:
        """Collect every process of its own that ends."""
        self._supervisor.reap_forever()

    def _root(self, node: str) -> Path:
        """A node's files."""
        return Path(f"/proc/{self._nodes[node]}/root")

    def _pid(self, name: str) -> int | None:
        return self._of(name).pid(name)

    def _of(self, name: str) -> Supervisor | Found:
        """Who knows a process of that name."""
        return self._supervisor if self._supervisor.knows(name) else self._found

    def _socket(self, request: dict[str, Any]) -> int:
        def make() -> int:
            return socket.socket(request["family"], request["type"], request["protocol"]).detach()

        return namespaces.in_netns(request["namespace"], make)


def main() -> int:
    """Run the lab host until its container is removed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    # what it writes belongs to root, the lab to its user: the folder keeps others out
    os.umask(0)
    log = os.open(folder / LOG_FOLDER / "host.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    spec = HostSpec.load(folder / SPEC_FILE)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # names of namespaces are the lab's own, and nobody else sees them
    namespaces.mount("tmpfs", Path("/run"), "tmpfs", data="mode=0755")
    namespaces.create_netns(FABRIC)
    network.make_switches(spec)
    host = Host(spec)
    Server(folder / SOCKET_FILE, host.operations())
    host.reap_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
