"""lblab's own announcer on a node: answers ARP as MetalLB's speaker does, where times are scaled or answers come late.

Each node has one, which runs only while a scenario wants it: `with lab.node("worker1").announcer as announcer: ...`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.backends.base import Backend
from harness.process import Process
from harness.traffic import control

#: Seconds for it to end when it is asked to; it takes milliseconds.
_ENDS_WITHIN = 10.0


@dataclass(frozen=True)
class Announced:
    """What an announcer has done for one address.

    Attributes:
        active: Whether it announces it now.
        requests: Requests that it heard while it announced it.
        answered: Replies that it sent.
        gratuitous: Frames of gratuitous ARP that it sent.
    """

    active: bool
    requests: int
    answered: int
    gratuitous: int


class Announcer:
    """The announcer of one node. What changes gives the moment, CLOCK_MONOTONIC in nanoseconds."""

    def __init__(self, backend: Backend, node: str) -> None:
        self._backend = backend
        self.node = node
        self.process = Process(backend, f"{node}/announce")
        self._socket = backend.announcer_socket(node)

    def announce(self, address: str, *, gratuitous: bool = True) -> int:
        """Begin to answer for an address.

        Args:
            address: Of IPv4.
            gratuitous: Whether it says so: five rounds of a request and a reply, 1.1 s apart. An address that is
                announced already gets them again.
        """
        return self._do(f"{'announce' if gratuitous else 'quiet'} {address}")

    def withdraw(self, address: str) -> int:
        """Stop answering for an address, without a word."""
        return self._do(f"withdraw {address}")

    def mute(self, address: str) -> int:
        """Leave requests for an address unanswered; gratuitous ARP is still sent."""
        return self._do(f"mute {address}")

    def unmute(self, address: str) -> int:
        """Answer requests again."""
        return self._do(f"unmute {address}")

    def delay(self, address: str, seconds: float) -> int:
        """Answer requests for an address so many seconds late, which are not scaled."""
        return self._do(f"delay {address} {seconds * 1e9:.0f}ns")

    def stall(self, every: float, length: float) -> int:
        """Do nothing at the end of each interval, as a process that has used up its CPU quota; seconds, not scaled."""
        return self._do(f"stall {every * 1e9:.0f}ns {length * 1e9:.0f}ns")

    def elect(self, members: Iterable[str], addresses: Iterable[str]) -> int:
        """Announce those of the addresses whose leader among the members is this node, as after each join or leave."""
        return self._do(f"elect {','.join(members)} {','.join(addresses)}")

    def addresses(self) -> Mapping[str, Announced]:
        """What it has done so far, by address."""
        told = control.ask(self._socket, "state")["addresses"]
        fields = ("active", "requests", "answered", "gratuitous")
        return {address: Announced(**{field: each[field] for field in fields}) for address, each in told.items()}

    def __enter__(self) -> Announcer:
        self._backend.start(self.process.name)  # not by the process: its start would count as a fault's end
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.running:
            self._backend.signal(self.process.name, signal.SIGTERM)
            self._backend.wait_ended(self.process.name, _ENDS_WITHIN)

    def _do(self, command: str) -> int:
        return int(control.ask(self._socket, command)["now_ns"])

    def __repr__(self) -> str:
        return f"Announcer({self.node!r})"
