"""A link loses or delays packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from harness.backends.base import Impairment
from harness.faults.base import Fault, Steps
from harness.faults.link import networks
from harness.faults.parameters import Duration, HostName, NetworkName

Direction = Annotated[Literal["in", "out", "both"], "Packets to the host, from it, or both."]


@dataclass(frozen=True)
class _Impaired(Fault):
    host: HostName

    @property
    def subject(self) -> str:
        """The host."""
        return self.host


@dataclass(frozen=True)
class PacketLoss(_Impaired):
    """Lose a share of the frames on a host's link, each one by chance."""

    percent: Annotated[float, "How many of a hundred frames are lost."]
    network: NetworkName = None
    direction: Direction = "both"
    name = "packet-loss"

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 < self.percent <= 100:
            raise ValueError(f"percent is above 0 and at most 100, not {self.percent:g}")

    def apply(self, steps: Steps) -> None:
        """Impair each link that is meant."""
        impair(steps, self.host, self.network, Impairment(self.direction, loss_percent=self.percent))


@dataclass(frozen=True)
class PacketDelay(_Impaired):
    """Delay the frames on a host's link."""

    delay: Annotated[Duration, "By how much."]
    network: NetworkName = None
    direction: Direction = "both"
    name = "packet-delay"

    def __post_init__(self) -> None:
        """Check the delay."""
        if self.delay <= 0:
            raise ValueError("delay is above 0")

    def apply(self, steps: Steps) -> None:
        """Impair each link that is meant."""
        impair(steps, self.host, self.network, Impairment(self.direction, delay_seconds=self.delay))


def impair(steps: Steps, host: str, network: str | None, wanted: Impairment) -> None:
    """Impair a host's links until the fault is undone."""
    for one in networks(steps.lab.topology, host, network):
        _impair_link(steps, host, one, wanted)


def _impair_link(steps: Steps, host: str, network: str, wanted: Impairment) -> None:
    steps.on_undo(host, f"link to {network} whole again", lambda: steps.backend.impair(host, network, None))
    steps.do(host, f"link to {network}: {wanted}", lambda: steps.backend.impair(host, network, wanted))
