"""What faults change in a kind lab: as in an embedded one, but for what a host's processes are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from harness.backends.kind import proc
from harness.backends.kind.found import Found
from harness.backends.kind.places import Containers
from harness.backends.netns.changes import Changes, Stamp
from harness.backends.netns.kernel_ops import Interval
from harness.backends.netns.spec import HostSpec


class KindChanges(Changes):
    """Carries changes out in containers, and takes back those that are left.

    Args:
        spec: The lab.
        pid_of: Gives the PID of a process of the lab by its name.
        nodes: The containers of the nodes: they end with their first process.
        others: The containers of routers and clients: their first process only keeps them.
        found: The nodes' components.
    """

    def __init__(
        self,
        spec: HostSpec,
        pid_of: Callable[[str], int | None],
        nodes: Containers,
        others: Containers,
        found: Found,
    ) -> None:
        super().__init__(spec, pid_of)
        self._nodes = nodes
        self._others = others
        self._found = found

    def replace(self, spec: HostSpec) -> None:
        """From now on be about another wiring; the faults of the one before are over."""
        self._spec = spec

    def _processes(self, host: str) -> set[int]:
        if host in self._nodes:
            # the kernel ends everything in its PID namespace with it, pods included
            first = self._nodes[host]
            return {first} if proc.lives(first) else set()
        kept = {self._others[host]} if host in self._others else set()
        return super()._processes(host) - kept

    def _stoppable(self) -> Iterable[int]:
        # the lab host sees every process of the machine: only the lab's own may be touched
        roots = [os.getpid(), *(pid for _, pid in (*self._nodes.items(), *self._others.items()))]
        return proc.descendants(roots) - self._found.held()

    def forget(self, host: str) -> Stamp:
        """Lose what a host's kernel loses when it starts anew; a node's has gone with its last process."""
        if host in self._nodes and not proc.lives(self._nodes[host]):
            return Interval().stamp("gone with its network namespace")
        return super().forget(host)

    def link(self, host: str, network: str, up: bool, where: str) -> dict[str, Any]:
        """Take a host's link down, or up again; a node that is off comes back with its links up."""
        if up and host in self._nodes and not proc.lives(self._nodes[host]):
            self._remember(f"{host}'s link to {network} down at the {where}", None)
            return Interval().stamp("the node is off; its links come up with it")
        return super().link(host, network, up, where)
