"""Another host uses an address that a Service has: a DHCP range that reaches into the pool, a forgotten machine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from harness.errors import LabError
from harness.faults.base import Fault, Steps
from harness.faults.parameters import HostName
from harness.faults.stamps import asked, stamped

_UNKNOWN = "00:00:00:00:00:00"


@dataclass(frozen=True)
class AddressTaken(Fault):
    """Give a host an address that somebody else has; it announces it (RFC 5227, section 2.3), and answers for it.

    When it gives the address up, nobody is told: routers go on sending to it for as long as they remember it.
    """

    host: HostName
    address: Annotated[str, "The IPv4 address."]
    name = "address-taken"

    @property
    def subject(self) -> str:
        """The host."""
        return self.host

    def apply(self, steps: Steps) -> None:
        """Add the address and announce it."""
        give_up = partial(asked, partial(self._ip, steps, "del"), "answered by iproute2")
        steps.on_undo(self.host, f"gives {self.address} up", give_up)
        self._ip(steps, "add")
        announce = partial(stamped, partial(self._announce, steps), "an ARP announcement was sent")
        steps.do(self.host, f"has {self.address}, too, and says so", announce)

    def _ip(self, steps: Steps, verb: str) -> None:
        from harness.topology import HOST_DEVICE

        done = steps.backend.exec(self.host, ["ip", "addr", verb, f"{self.address}/32", "dev", HOST_DEVICE])
        if done.returncode:
            raise LabError(f"{self.host}: {done.stderr.strip()}")

    def _announce(self, steps: Steps) -> int:
        from harness.arp.frame import ArpFrame
        from harness.arp.wire import Wire

        with Wire(steps.backend, self.host) as wire:
            return wire.send(ArpFrame("request", wire.mac, self.address, _UNKNOWN, self.address))
