"""A router's routing daemons end, or the whole router reboots."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Annotated

from harness.faults import process
from harness.faults.base import Steps
from harness.faults.link import cut, networks
from harness.faults.parameters import Duration
from harness.faults.targets import Ended, OfRouter


@dataclass(frozen=True)
class BgpdKilled(Ended, OfRouter):
    """End a router's bgpd with SIGKILL: its TCP connections close; zebra removes its routes."""

    name = "bgpd-kill"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, self.target(steps).daemon("bgpd").name, signal.SIGKILL)


@dataclass(frozen=True)
class BgpdRestarted(Ended, OfRouter):
    """Ask a router's bgpd to end with SIGTERM, and start it again."""

    restart_after: Annotated[Duration, "The time between."] = 0.0
    name = "bgpd-restart"

    def apply(self, steps: Steps) -> None:
        """Send SIGTERM."""
        process.end(steps, self.target(steps).daemon("bgpd").name, signal.SIGTERM)


@dataclass(frozen=True)
class RouterDaemonsRestarted(Ended, OfRouter):
    """Stop all of a router's routing daemons and start them again, as OPNsense's "Reload Service" does."""

    restart_after: Annotated[Duration, "The time between."] = 0.0
    name = "router-daemons-restart"

    def apply(self, steps: Steps) -> None:
        """Stop the daemons, the last started first."""
        running = process.of_host(steps.backend, self.target(steps).name)
        process.start_all(steps, running)
        for one in reversed(running):
            process.end(steps, one, signal.SIGTERM, start_on_undo=False)


@dataclass(frozen=True)
class RouterRebooted(OfRouter):
    """Reboot a router: its links go down, its daemons end, its kernel forgets BGP's routes; later it is back.

    In order the daemons are stopped first and say so to their peers; otherwise the links go first, as when it loses
    its power.
    """

    down_for: Annotated[Duration, "Until it is back."] = 5.0
    orderly: Annotated[bool, "Whether the daemons are stopped before the links go down."] = False
    name = "router-reboot"

    @property
    def lasting(self) -> float | None:
        """Until it is back."""
        return self.down_for

    def apply(self, steps: Steps) -> None:
        """Take it down."""
        host = self.target(steps).name
        running = process.of_host(steps.backend, host)
        process.start_all(steps, running)
        if self.orderly:
            for one in reversed(running):
                process.end(steps, one, signal.SIGTERM, start_on_undo=False)
        cut(steps, host, networks(steps.lab.topology, host), "host")
        if not self.orderly:
            process.kill_host(steps, host, running)
        process.forget(steps, host)
