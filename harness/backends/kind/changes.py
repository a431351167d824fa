"""What faults change in a kind lab: as in an embedded one, but for what a host's processes are."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

from harness.backends.kind import proc
from harness.backends.kind.found import Found
from harness.backends.kind.places import Containers
from harness.backends.netns.changes import Changes, Stamp
from harness.backends.netns.kernel_ops import Interval, timed
from harness.backends.netns.spec import HostSpec
from harness.wait import until

#: What asks the first process of a node, systemd, to halt (systemd(1); the STOPSIGNAL of kind's node image).
_POWER_OFF = signal.SIGRTMIN + 3
#: Seconds for a node to be off: systemd ends every unit, containerd and its pods among them.
_OFF_WITHIN = 120.0


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

    def _all(self, host: str) -> set[int]:
        if host in self._nodes:
            return proc.descendants([self._nodes[host]]) - self._found.held()
        return self._processes(host)

    def end_host(self, host: str, orderly: bool) -> Stamp:
        """Turn a host off: a node as `docker stop` or `docker kill` does, any other by its first process."""
        if host not in self._nodes:
            super().end_host(host, orderly)
        first = (self._nodes if host in self._nodes else self._others)[host]
        number = _POWER_OFF if orderly and host in self._nodes else signal.SIGKILL
        with timed() as interval:
            os.kill(first, number)
        until(f"{host} to be off", lambda: proc.lives(first), lambda on: not on, within=_OFF_WITHIN, every=0.01)
        return interval.stamp(f"signal {number} taken by the kernel")

    def _off(self, host: str) -> bool:
        """Whether a host's container has ended, and its network with it."""
        first = self._nodes if host in self._nodes else self._others
        return host in first and not proc.lives(first[host])

    def _stoppable(self) -> Iterable[int]:
        # the lab host sees every process of the machine: only the lab's own may be touched
        roots = [os.getpid(), *(pid for _, pid in (*self._nodes.items(), *self._others.items()))]
        return proc.descendants(roots) - self._found.held()

    def forget(self, host: str) -> Stamp:
        """Lose what a host's kernel loses when it starts anew; a node's has gone with its last process."""
        if self._off(host):
            return Interval().stamp("gone with its network namespace")
        return super().forget(host)

    def link(self, host: str, network: str, up: bool, where: str) -> dict[str, Any]:
        """Take a host's link down, or up again; a node that is off comes back with its links up."""
        if self._off(host):
            self._remember(f"{host}'s link to {network} down at the {where}", None)
            return Interval().stamp("the host is off; its links come up with it")
        return super().link(host, network, up, where)
