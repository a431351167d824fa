"""MetalLB's speaker on one node ends or hangs; the node's datapath and pods go on."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from harness.errors import UserError
from harness.faults import process
from harness.faults.base import Steps
from harness.faults.targets import Ended, OfNode


def speaker_of(steps: Steps, node: str) -> str:
    """The process of a node's speaker.

    Raises:
        UserError: the lab runs none there.
    """
    name = steps.lab.node(node).speaker.name
    if name not in steps.backend.processes():
        hint = f"speakers run on: {', '.join(steps.lab.topology.speakers())}" if steps.lab.metallb_version else None
        raise UserError(f"no MetalLB speaker runs on {node} in this lab", hint=hint)
    return name


@dataclass(frozen=True)
class SpeakerKilled(Ended, OfNode):
    """End a node's MetalLB speaker with SIGKILL: the others find out by their failure detector."""

    name = "speaker-kill"

    def apply(self, steps: Steps) -> None:
        """Send SIGKILL."""
        process.end(steps, speaker_of(steps, self.node), signal.SIGKILL)


@dataclass(frozen=True)
class SpeakerStopped(Ended, OfNode):
    """Ask a node's MetalLB speaker to end with SIGTERM, as a rollout does: it tells the others that it leaves."""

    name = "speaker-stop"

    def apply(self, steps: Steps) -> None:
        """Send SIGTERM."""
        process.end(steps, speaker_of(steps, self.node), signal.SIGTERM)


@dataclass(frozen=True)
class SpeakerStalled(OfNode):
    """Keep a node's MetalLB speaker from running (SIGSTOP), always or but for a share of the time.

    With `cpu_percent` it is stopped and continued in turns, ten times a second, as a CPU limit does to a container that
    has used its quota up. Unlike a quota, this also holds a process up that needs less than its share.
    """

    cpu_percent: Annotated[float, "For how many of a hundred milliseconds it runs; 0 stops it altogether."] = 0.0
    name = "speaker-stall"

    def __post_init__(self) -> None:
        """Check the share."""
        if not 0 <= self.cpu_percent < 100:
            raise ValueError(f"cpu-percent is at least 0 and below 100, not {self.cpu_percent:g}")

    def apply(self, steps: Steps) -> None:
        """Stop it, or stop and continue it in turns."""
        name = speaker_of(steps, self.node)
        if not self.cpu_percent:
            process.stall(steps, name)
            return
        process.known(steps.backend, name)
        steps.on_undo(name, "runs all the time again", partial(steps.backend.throttle, name, None))
        text = f"runs {self.cpu_percent:g} % of the time (SIGSTOP and SIGCONT in turns)"
        steps.do(name, text, partial(steps.backend.throttle, name, self.cpu_percent / 100))
