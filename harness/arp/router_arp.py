"""Who has an address, as a router's ARP table says: the kernel's own, or that of lblab's daemon with FreeBSD's ARP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from harness.backends.base import Backend
from harness.routing.kernel import Neighbour
from harness.timeline import event
from harness.timeline.event import Event
from harness.timeline.live import LiveTimeline
from harness.traffic import control


@dataclass(frozen=True)
class ArpEntry:
    """An entry of a router's ARP table.

    Attributes:
        address: The address.
        state: Linux: as `ip neigh` prints it. FreeBSD: INCOMPLETE, REACHABLE or VERIFY.
        mac: None while it is not resolved.
        host: The host of the lab that has this MAC; None when it is nobody's.
        heard_ns: FreeBSD: when an ARP packet was last heard from the address, CLOCK_MONOTONIC; the kernel does not say.
    """

    address: str
    state: str
    mac: str | None
    host: str | None
    heard_ns: int | None = None


@dataclass(frozen=True)
class ArpCounters:
    """What has become of one address on a router with FreeBSD's ARP, since its daemon was started.

    Attributes:
        requests: Broadcast by the router.
        heard: ARP packets from the address, by the host that they named.
        replies: Of them replies to the router.
        learned: How often it became reachable.
        moves: How often its MAC changed.
        expiries: How often it was deleted because nobody answered, or nobody used it.
        timeouts: How often it was deleted unresolved.
        unreachable: Packets whose senders were told that the host is down.
        dropped: Packets that were held in vain.
        ignored: ARP packets that created no entry.
    """

    requests: int = 0
    heard: Mapping[str, int] | None = None
    replies: Mapping[str, int] | None = None
    learned: int = 0
    moves: int = 0
    expiries: int = 0
    timeouts: int = 0
    unreachable: int = 0
    dropped: int = 0
    ignored: int = 0


class RouterArp(Protocol):
    """A router's ARP table."""

    #: "linux" or "freebsd".
    kind: str

    def entry(self, address: str) -> ArpEntry | None:
        """The entry of an address; None when there is none."""

    def moves(self, address: str) -> int:
        """How often the address has gone from one MAC to another."""

    def expiries(self, address: str) -> int:
        """How often the entry of the address ran out."""


class LinuxArp:
    """The kernel's own neighbour table; what has been is read from the timeline."""

    kind = "linux"

    def __init__(self, backend: Backend, router: str, table: Callable[[], Mapping[str, Neighbour]]) -> None:
        self._backend = backend
        self._router = router
        self._table = table

    def entry(self, address: str) -> ArpEntry | None:
        """The entry of an address; None when there is none."""
        found = self._table().get(address)
        if found is None:
            return None
        return ArpEntry(address, found.state, found.mac, self._backend.hosts_by_mac().get(found.mac or ""))

    def moves(self, address: str) -> int:
        """How often the address has gone from one MAC to another."""
        return len(self._changes(address, lambda mac, before, _: bool(mac and before and mac != before)))

    def expiries(self, address: str) -> int:
        """How often the kernel has given an address up that it had known."""
        return len(self._changes(address, lambda _, before, state: bool(before) and state in ("FAILED", None)))

    def _changes(self, address: str, wanted: Callable[[Any, Any, Any], bool]) -> list[Event]:
        told = LiveTimeline(self._backend.folder).events().of(event.NEIGHBOUR, subject=self._router, address=address)
        return [
            each
            for each in told
            if wanted(each.data["mac"], (each.data["before"] or {}).get("mac"), each.data["state"])
        ]


class FreebsdArp:
    """The table of lblab's ARP daemon, which answers on a socket."""

    kind = "freebsd"

    def __init__(self, backend: Backend, router: str) -> None:
        self._backend = backend
        self._socket = backend.arp_socket(router)

    def entry(self, address: str) -> ArpEntry | None:
        """The entry of an address; None when there is none."""
        found = self._state()["entries"].get(address)
        if found is None:
            return None
        host = self._backend.hosts_by_mac().get(found["mac"] or "")
        return ArpEntry(address, found["state"], found["mac"], host, found["heard_ns"] or None)

    def counters(self, address: str) -> ArpCounters:
        """Everything that the daemon has counted for an address."""
        told = self._state()["counters"].get(address)
        if told is None:
            return ArpCounters(heard={}, replies={})
        hosts = self._backend.hosts_by_mac()
        by_host = {
            key: {hosts.get(mac, mac): number for mac, number in told[key].items()} for key in ("heard", "replies")
        }
        return ArpCounters(**{**told, **by_host})

    def moves(self, address: str) -> int:
        """How often the address has gone from one MAC to another."""
        return self.counters(address).moves

    def expiries(self, address: str) -> int:
        """How often the entry of the address was deleted after nobody had answered, or used it."""
        return self.counters(address).expiries

    def delete(self, address: str = "all") -> int:
        """Delete an entry, or all, as `arp -d` does; gives how many there were."""
        return int(control.ask(self._socket, f"delete {address}")["deleted"])

    def _state(self) -> dict[str, Any]:
        return control.ask(self._socket, "state")
