"""When something was seen, and how long before that it may have happened."""

from __future__ import annotations

from typing import NamedTuple


class Stamp(NamedTuple):
    """A moment of observation.

    Attributes:
        at_ns: Nanoseconds of CLOCK_MONOTONIC.
        resolution_ns: What is observed happened at most so long before.
    """

    at_ns: int
    resolution_ns: int
