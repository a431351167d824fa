"""When MetalLB has come to rest after a move: the state from which a measurement may begin."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harness.timeline import event
from harness.wait import until

if TYPE_CHECKING:
    from harness.lab import Lab

#: Seconds from a restart until the speaker has joined the others and taken its addresses back: it reads the API, waits
#: for its node's event to join, and the others reconcile.
BACK_WITHIN = 20.0
#: Seconds; longer than a series of announcements (4.4 s) and a suspicion (4 s) last (facts/l2_and_lag.md, 1.2 and 1.4).
QUIET = 5.0


def settled(lab: Lab, address: str, leader: str) -> None:
    """Wait until nothing of an earlier move is left: no suspicion that runs, no series of announcements.

    A speaker that has just announced an address begins no new series for it within 5 s (MetalLB, announcer.go), and one
    whose memberlist is still upset moves it at any moment.
    """
    lab.converge()

    def echoes() -> list[str]:
        recent = lab.timeline.events(time.monotonic_ns() - int(QUIET * 1e9))
        told = [each.text for each in recent.of(event.ARP_ANNOUNCED, address=address)]
        logged = [each.text for each in recent.of(event.LOG) if "Suspect " in each.text or "NodeLeave" in each.text]
        return told + logged

    until("memberlist and announcements to be quiet", echoes, lambda found: not found, within=60, every=0.1)
    lab.converge()
    lab.l2.wait_owner(address, leader, within=BACK_WITHIN)
