"""What faults change in a lab's wiring, from within its lab host; every change is remembered until it is taken back.

The memory is the lab host's, not the test process's: a fault whose owner was killed is still found and undone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from harness.backends.base import Impairment
from harness.backends.netns import impairment, kernel_ops
from harness.backends.netns.namespaces import NETNS_FOLDER, in_netns
from harness.backends.netns.network import IFA_F_NODAD
from harness.backends.netns.rpc import Operation
from harness.backends.netns.spec import FABRIC, HostSpec, Interface, Route
from harness.backends.netns.throttle import Throttle
from harness.errors import WaitTimeout
from harness.wait import until

#: Every packet filter of a fault is a table of its own whose name begins so.
TABLE = "lblab_fault_"
#: Rounds in which a host's processes are looked for again: one that forks while it is killed is found in the next.
_KILL_ROUNDS = 20
#: Seconds for the kernel to end processes that were killed; it takes some 20 ms for Cilium's agent.
_ENDED_WITHIN = 10.0
#: Seconds that processes have when they are asked to end: `docker stop` waits 10 s.
_ENDS_IN_ORDER_WITHIN = 10.0

Stamp = dict[str, object]


class Changes:
    """Carries changes out, and takes back those that are left."""

    def __init__(self, spec: HostSpec, pid_of: Callable[[str], int | None] = lambda _: None) -> None:
        self._spec = spec
        self._pid_of = pid_of
        self._throttles: dict[str, Throttle] = {}
        #: Networks whose switches run spanning tree.
        self._spanning: set[str] = set()
        self._lock = threading.Lock()
        self._back: dict[str, Callable[[], Any]] = {}

    def operations(self) -> dict[str, Operation]:
        """The operations that the lab host answers."""
        return {
            "link": lambda r: (self.link(r["host"], r["network"], r["up"], r["where"]), None),
            "filter": lambda r: (self.filter(r["host"], r["name"], r["rules"]), None),
            "block": lambda r: (self.block(r["host"], r["network"], r["name"], r["match"]), None),
            "impair": lambda r: (self.impair(r["host"], r["network"], r["what"]), None),
            "spanning_tree": lambda r: (self.spanning_tree(r["network"], r["forward_delay"]), None),
            "forget": lambda r: (self.forget(r["host"]), None),
            "kill_host": lambda r: (self.kill_host(r["host"]), None),
            "freeze": lambda r: (self.freeze(r["host"], r["on"]), None),
            "end_host": lambda r: (self.end_host(r["host"], r["orderly"]), None),
            "throttle": lambda r: (self.throttle(r["name"], r["share"]), None),
            "take_back": lambda _: (self.take_back(), None),
        }

    # -- links ------------------------------------------------------------------------------------------------------

    def link(self, host: str, network: str, up: bool, where: str) -> Stamp:
        """Take a host's link to a network down, or up again.

        Args:
            host: The node, router or client.
            network: Which of its links.
            up: Whether frames pass.
            where: "host": its own interface; "switch": the port that its cable leads to, so that it loses carrier;
                "path": the switch drops every frame of the port, which neither side notices.
        """
        interface = self._interface(host, network)
        what, port = f"{host}'s link to {network} down at the {where}", interface.switch_port
        how = "RTM_SETLINK answered: port state"
        # with spanning tree on the kernel leaves a port's state to nobody else (net/bridge/br_netlink.c, EBUSY)
        stated = where == "path" or (not up and network not in self._spanning)
        if stated:
            # An interface takes up to some milliseconds to go down on a busy machine, a port's state a fraction of
            # one: the switch stops first, so that the moment is known. It forwards again when the carrier is back.
            interval = in_netns(FABRIC, lambda: kernel_ops.set_forwarding(port, up))
        if where == "switch":
            later = in_netns(FABRIC, lambda: kernel_ops.set_up(port, up))
        elif where == "host":
            later = in_netns(host, lambda: self._set_up(interface, up))
        if not stated:
            interval, how = later, "RTM_SETLINK answered: interface"
        self._remember(what, None if up else lambda: self.link(host, network, True, where))
        return interval.stamp(how)

    def _set_up(self, interface: Interface, up: bool) -> kernel_ops.Interval:
        interval = kernel_ops.set_up(interface.device, up)
        # The kernel drops static routes, and IPv6 addresses, with the link. Whoever configured the host would bring
        # them back when it comes up, and traffic passes only then.
        six = [address for address in interface.addresses if ":" in address]
        routes = [route for route in self._spec.routes if route.namespace == interface.namespace]
        if up and (six or routes):
            _configure(interface.device, six, routes)
            interval.after = time.monotonic_ns()
        return interval

    def _interface(self, host: str, network: str) -> Interface:
        for interface in self._spec.interfaces:
            if (interface.namespace, interface.network) == (host, network):
                return interface
        raise KeyError(f"{host} has no link to {network}")

    # -- packets ----------------------------------------------------------------------------------------------------

    def filter(self, host: str, name: str, rules: str | None) -> Stamp:
        """Add chains to a host's packet filter, in a table of their own, or remove that table (None)."""
        table = f"inet {TABLE}{name}"
        # made anew in one transaction: rules of the same name are replaced, not added to
        commands = f"add table {table}; delete table {table};"
        if rules is not None:
            commands += f" table {table} {{ {rules} }}"
        interval = in_netns(host, lambda: kernel_ops.nft(commands))
        self._remember(
            f"{host}'s packet filter {name}", None if rules is None else lambda: self.filter(host, name, None)
        )
        return interval.stamp("nftables transaction")

    def block(self, host: str, network: str, name: str, match: str | None) -> Stamp:
        """Drop what matches at a host's switch port, to and from the host, or let it pass again (None).

        A node's own packet filter comes too late where eBPF on its interface has forwarded the packet before.
        """
        port = self._interface(host, network).switch_port
        table = f"bridge {TABLE}{name}_{host}_{network}".replace("-", "_")
        commands = f"add table {table}; delete table {table};"
        if match is not None:
            drop = f'oifname "{port}" {match} drop; iifname "{port}" {match} drop;'
            commands += f" table {table} {{ chain port {{ type filter hook forward priority 0; {drop} }}; }}"
        interval = in_netns(FABRIC, lambda: kernel_ops.nft(commands))
        back = None if match is None else lambda: self.block(host, network, name, None)
        self._remember(f"{host}'s port to {network}: {name}", back)
        return interval.stamp("nftables transaction")

    def impair(self, host: str, network: str, what: dict[str, Any] | None) -> Stamp:
        """Lose or delay frames on a host's link, or stop doing so (None)."""
        interface = self._interface(host, network)
        wanted = None if what is None else Impairment(**what)
        interval, how = impairment.impair(interface, wanted)
        back = None if wanted is None else lambda: self.impair(host, network, None)
        self._remember(f"{host}'s link to {network} impaired", back)
        return interval.stamp(how)

    def spanning_tree(self, network: str, forward_delay: float | None) -> Stamp:
        """Let a network's bridge run spanning tree (IEEE 802.1D), or not (None): ports then forward at once again.

        Args:
            network: Its name is the bridge's.
            forward_delay: Seconds that a port listens, and again that it learns, before it forwards; at least 2.
        """
        interval = in_netns(FABRIC, lambda: kernel_ops.set_spanning_tree(network, forward_delay))
        (self._spanning.discard if forward_delay is None else self._spanning.add)(network)
        back = None if forward_delay is None else lambda: self.spanning_tree(network, None)
        self._remember(f"{network}'s switch with spanning tree", back)
        return interval.stamp("RTM_NEWLINK answered: bridge")

    def forget(self, host: str) -> Stamp:
        """Lose what a host's kernel loses when it starts anew; who put it there puts it there again."""
        interval = in_netns(host, kernel_ops.forget)
        with self._lock:
            self._back = {what: back for what, back in self._back.items() if not what.startswith(_filter_of(host, ""))}
        return interval.stamp("nftables and netlink answered")

    # -- processes --------------------------------------------------------------------------------------------------

    def kill_host(self, host: str) -> Stamp:
        """End every process of a host at once (SIGKILL): its daemons and, on a node, the pods' processes."""
        with kernel_ops.timed() as interval:
            killed: set[int] = set()
            for _ in range(_KILL_ROUNDS):
                found = self._processes(host) - killed
                if not found:
                    break
                for pid in found:
                    with contextlib.suppress(ProcessLookupError):  # it has just ended
                        os.kill(pid, signal.SIGKILL)
                killed |= found
        until(
            f"the processes of {host} to end",
            lambda: self._processes(host) & killed,
            lambda left: not left,
            within=_ENDED_WITHIN,
            every=0.002,
        )
        return {**interval.stamp("SIGKILL taken by the kernel"), "processes": len(killed)}

    def freeze(self, host: str, on: bool) -> Stamp:
        """Keep every process of a host from running (SIGSTOP), or let all run again (SIGCONT)."""
        number = signal.SIGSTOP if on else signal.SIGCONT
        with kernel_ops.timed() as interval:
            reached: set[int] = set()
            for _ in range(_KILL_ROUNDS):
                found = self._all(host) - reached
                if not found:
                    break
                for pid in found:
                    with contextlib.suppress(ProcessLookupError):  # it has just ended
                        os.kill(pid, number)
                reached |= found
        self._remember(f"{host}'s processes stopped", None if not on else lambda: self.freeze(host, False))
        return interval.stamp(f"{number.name} taken by the kernel")

    def end_host(self, host: str, orderly: bool) -> Stamp:
        """Turn a host off; what is orderly is asked to end (SIGTERM) before it is killed."""
        with kernel_ops.timed() as interval:
            if orderly:
                for pid in self._processes(host):
                    with contextlib.suppress(ProcessLookupError):  # it has just ended
                        os.kill(pid, signal.SIGTERM)
        if orderly:
            with contextlib.suppress(WaitTimeout):  # who does not heed it is killed
                until(
                    f"{host} to end in order",
                    lambda: self._processes(host),
                    lambda left: not left,
                    within=_ENDS_IN_ORDER_WITHIN,
                    every=0.01,
                )
            self.kill_host(host)
            return interval.stamp("SIGTERM taken by the kernel")
        return self.kill_host(host)

    def throttle(self, name: str, share: float | None) -> Stamp:
        """Let a process run only for a share of the time, or always again (None)."""
        with kernel_ops.timed() as interval:
            if (before := self._throttles.pop(name, None)) is not None:
                before.end()
            if share is not None:
                self._throttles[name] = Throttle(lambda: self._pid_of(name), share)
        self._remember(f"{name} throttled", None if share is None else lambda: self.throttle(name, None))
        return interval.stamp("SIGSTOP and SIGCONT in turns")

    def _processes(self, host: str) -> set[int]:
        """The processes of a host, its pods' among them."""
        return processes_in(self._namespaces(host))

    def _all(self, host: str) -> set[int]:
        """The processes of a host as they are to be stopped together."""
        return self._processes(host)

    def _stoppable(self) -> Iterable[int]:
        """The processes that a fault may have stopped: all that this lab host sees."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]

    def _namespaces(self, host: str) -> set[int]:
        """Inodes of a host's network namespace and, on a node, of its pods' (architecture.md: node-agent)."""
        pods = Path(self._spec.folder, "nodes", host, "pods").glob("*/netns")
        found = set()
        for path in (NETNS_FOLDER / host, *pods):
            with contextlib.suppress(FileNotFoundError):  # a pod that has just gone
                found.add(path.stat().st_ino)
        return found

    # -- taking back ------------------------------------------------------------------------------------------------

    def _remember(self, what: str, back: Callable[[], Any] | None) -> None:
        with self._lock:
            if back is None:
                self._back.pop(what, None)
            else:
                self._back[what] = back

    def take_back(self) -> list[str]:
        """Undo every change that is left, the last first; gives what there was."""
        with self._lock:
            left = list(reversed(self._back.items()))
        for _, back in left:
            back()
        return [what for what, _ in left] + _resume(self._stoppable())


def _filter_of(host: str, name: str) -> str:
    return f"{host}'s packet filter {name}"


def _configure(device: str, addresses: list[str], routes: list[Route]) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        index = ip.link_lookup(ifname=device)[0]
        for address in addresses:
            host, _, length = address.partition("/")
            ip.addr("replace", index=index, address=host, prefixlen=int(length), flags=IFA_F_NODAD)
        for route in routes:
            ip.route("replace", dst=route.destination, gateway=route.gateway)


def processes_in(namespaces: set[int]) -> set[int]:
    """The processes in some network namespaces, by the inodes of these."""
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or entry.name == "1":
            continue
        with contextlib.suppress(OSError):  # it has just ended
            if (entry / "ns" / "net").stat().st_ino in namespaces:
                found.add(int(entry.name))
    return found


def _resume(pids: Iterable[int]) -> list[str]:
    """Let each of these processes go on that was stopped (SIGSTOP); gives their names."""
    resumed = []
    for pid in pids:
        with contextlib.suppress(OSError):  # it has just ended
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
            if rest.split()[0] == "T":
                os.kill(pid, signal.SIGCONT)
                resumed.append(f"{name} was stopped")
    return resumed
