"""What kinds of fault have in common: what they happen to, and that what has ended is started again after a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.faults.base import Fault, Steps
from harness.faults.parameters import NodeName, RestartAfter, RouterName

if TYPE_CHECKING:
    from harness.router import Router


@dataclass(frozen=True)
class OfNode(Fault):
    """It happens to a node."""

    node: NodeName

    @property
    def subject(self) -> str:
        """The node."""
        return self.node


@dataclass(frozen=True)
class OfRouter(Fault):
    """It happens to a router."""

    router: RouterName = None

    @property
    def subject(self) -> str:
        """The router."""
        return self.router or "router"

    def target(self, steps: Steps) -> Router:
        """The router that is meant."""
        return steps.lab.router(self.router)


@dataclass(frozen=True)
class Ended(Fault):
    """Something ends and is started again: the first base of its kind, so that the time comes behind what it is of."""

    restart_after: RestartAfter = None

    @property
    def lasting(self) -> float | None:
        """Until the restart."""
        return self.restart_after
