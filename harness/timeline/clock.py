"""From the wall clock to CLOCK_MONOTONIC, for stamps that other programs write into their logs."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Readings of which the quickest is used: the machine may be taken away between two of them.
_TRIES = 5
#: Seconds after which the offset is measured again, as the wall clock is steered (NTP slews at most 500 ppm: 0.5 ms/s).
_AGAIN_AFTER_NS = 1_000_000_000


class WallClock:
    """Converts CLOCK_REALTIME to CLOCK_MONOTONIC.

    Args:
        monotonic: Reads CLOCK_MONOTONIC, nanoseconds.
        realtime: Reads CLOCK_REALTIME, nanoseconds.

    Attributes:
        error_ns: How far off the offset may be: the time that its measurement took.
        step_ns: By how much the wall clock was last moved against the monotonic clock, as far as it was seen.
    """

    def __init__(
        self,
        monotonic: Callable[[], int] = time.monotonic_ns,
        realtime: Callable[[], int] = time.time_ns,
    ) -> None:
        self._monotonic, self._realtime = monotonic, realtime
        self._offset, self.error_ns, self._measured_at = self._measure()
        self.step_ns = 0

    def monotonic_ns(self, realtime_ns: int) -> int:
        """Convert a recent stamp of the wall clock."""
        if self._monotonic() - self._measured_at > _AGAIN_AFTER_NS:
            before = self._offset
            self._offset, self.error_ns, self._measured_at = self._measure()
            self.step_ns = self._offset - before
        return realtime_ns - self._offset

    def _measure(self) -> tuple[int, int, int]:
        """Give realtime minus monotonic, how exactly that is known, and when it was measured."""
        return min((self._look() for _ in range(_TRIES)), key=lambda found: found[1])

    def _look(self) -> tuple[int, int, int]:
        before = self._monotonic()
        wall = self._realtime()
        after = self._monotonic()
        return wall - (before + after) // 2, after - before, after
