"""Where the lab host of a kind lab acts: the network namespaces and containers of the lab's hosts, by their names.

Every host is a container that somebody else made. The lab host sees it by the PID of its first process, binds its
network namespace to its name, and from then on everything that acts on namespaces by name acts on it, too.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from harness.backends.netns import namespaces
from harness.backends.netns.namespaces import NETNS_FOLDER, in_netns
from harness.backends.netns.spec import Process
from harness.topology import HOST_DEVICE

#: What becomes of the interface by which Docker reaches a node: the topology's own is named as on any other host.
MANAGEMENT_DEVICE = "mgmt"

# <linux/sched.h>
_CLONE_FS = 0x00000200
_CONTAINER_NAMESPACES = (
    ("ipc", namespaces.CLONE_NEWIPC),
    ("uts", namespaces.CLONE_NEWUTS),
    ("net", namespaces.CLONE_NEWNET),
    ("pid", namespaces.CLONE_NEWPID),
    # last: from then on paths are the container's
    ("mnt", namespaces.CLONE_NEWNS),
)


def bind(host: str, pid: int) -> None:
    """Give a container's network namespace its host's name, in place of one that it may have had before."""
    target = NETNS_FOLDER / host
    NETNS_FOLDER.mkdir(parents=True, exist_ok=True)
    if target.exists():
        unbind(host)
    target.touch()
    namespaces.bind(Path(f"/proc/{pid}/ns/net"), target)


def unbind(host: str) -> None:
    """Take the name from a namespace; the kernel removes it with its last process."""
    target = NETNS_FOLDER / host
    if target.exists():
        namespaces.unmount(target)
        target.unlink()


def name_management(host: str) -> None:
    """Rename the interface that Docker has given a node."""
    in_netns(host, _rename)


def _rename() -> None:
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        found = ip.link_lookup(ifname=HOST_DEVICE)
        if not found or ip.link_lookup(ifname=MANAGEMENT_DEVICE):
            return
        index = found[0]
        six = [
            (dict(one["attrs"])["IFA_ADDRESS"], one["prefixlen"])
            for one in ip.get_addr(index=index, family=socket.AF_INET6, scope=0)
        ]
        # older kernels rename no link that is up; its default route goes with it, and the topology's takes its place
        ip.link("set", index=index, state="down")
        ip.link("set", index=index, ifname=MANAGEMENT_DEVICE)
        ip.link("set", index=index, state="up")
        for address, length in six:
            ip.addr("replace", index=index, address=address, prefixlen=length)


class Containers:
    """The first processes of the lab's containers, by the names of their hosts."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}

    def __setitem__(self, host: str, pid: int) -> None:
        self._first[host] = pid

    def __getitem__(self, host: str) -> int:
        return self._first[host]

    def __contains__(self, host: object) -> bool:
        return host in self._first

    def __delitem__(self, host: str) -> None:
        del self._first[host]

    def items(self) -> list[tuple[str, int]]:
        """Hosts and first processes."""
        return list(self._first.items())

    def enter(self, process: Process, work: Callable[[], int]) -> int:
        """Run something where a process is to run: in its host's network, or in all of its container."""
        if not process.contained:
            return in_netns(process.namespace, work)
        return _in_container(self._first[process.namespace], work)


def _in_container(pid: int, work: Callable[[], int]) -> int:
    """Run something in a container, as `docker exec` does, in a thread of its own so that nothing else moves.

    A process that is started there is in the container's PID namespace, and ends with the container.
    """
    result: list[int] = []
    failure: list[BaseException] = []

    def run() -> None:
        flags = os.O_RDONLY | os.O_CLOEXEC
        files = [(os.open(f"/proc/{pid}/ns/{name}", flags), kind) for name, kind in _CONTAINER_NAMESPACES]
        try:
            namespaces.unshare(_CLONE_FS)  # a thread that shares its root with others may not change it
            for file, kind in files:
                namespaces.setns_to(file, kind)
            result.append(work())
        except BaseException as error:  # carried over to the caller's thread, which raises it
            failure.append(error)
        finally:
            for file, _ in files:
                os.close(file)

    thread = threading.Thread(target=run, name=f"container-{pid}")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
