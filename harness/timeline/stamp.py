"""When something was seen, and how long before that it may have happened."""

from __future__ import annotations

import time
from typing import NamedTuple


class Stamp(NamedTuple):
    """A moment of observation.

    Attributes:
        at_ns: Nanoseconds of CLOCK_MONOTONIC.
        resolution_ns: What is observed happened at most so long before.
    """

    at_ns: int
    resolution_ns: int

    @classmethod
    def now(cls, since_ns: int) -> Stamp:
        """Take a stamp of what has just been read, and did not happen before a moment."""
        at_ns = time.monotonic_ns()
        return cls(at_ns, at_ns - since_ns)
