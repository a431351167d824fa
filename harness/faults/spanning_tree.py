"""A switch runs spanning tree: a port that comes up forwards only after it has listened and learnt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from harness.errors import UserError
from harness.faults.base import Fault, Steps
from harness.faults.parameters import Duration

#: IEEE 802.1D-2004, table 17-1: forward delay 15 s by default; Linux takes no less than 2 s (BR_MIN_FORWARD_DELAY).
FORWARD_DELAY, LEAST_FORWARD_DELAY = 15.0, 2.0


@dataclass(frozen=True)
class SpanningTree(Fault):
    """Turn spanning tree on at a network's switch: all its ports begin to listen, as does each one that flaps.

    Nothing passes the switch until they forward, after twice the forward delay.
    """

    network: Annotated[str, "A network."]
    forward_delay: Annotated[Duration, "How long a port listens, and again how long it learns."] = FORWARD_DELAY
    name = "spanning-tree"

    def __post_init__(self) -> None:
        """Check the delay."""
        if self.forward_delay < LEAST_FORWARD_DELAY:
            raise ValueError(f"forward-delay is at least {LEAST_FORWARD_DELAY:g} s, not {self.forward_delay:g}")

    @property
    def subject(self) -> str:
        """The network."""
        return self.network

    def apply(self, steps: Steps) -> None:
        """Turn it on."""
        known = steps.lab.topology.networks
        if self.network not in known:
            raise UserError(f"there is no network '{self.network}'", hint=f"there are: {', '.join(known)}")
        switch = partial(steps.backend.set_spanning_tree, self.network)
        steps.on_undo(self.network, "the switch forwards at once again", partial(switch, None))
        text = f"the switch runs spanning tree, forward delay {self.forward_delay:g} s"
        steps.do(self.network, text, partial(switch, self.forward_delay))
