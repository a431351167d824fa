"""A process that runs only for a share of the time: SIGSTOP and SIGCONT in turns.

A control group's quota would need a group that is made, and left behind by whoever is killed, on the machine itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable

#: Seconds of a turn: the period of Linux's CFS bandwidth control (cpu.max), which Kubernetes uses for CPU limits.
PERIOD = 0.1


class Throttle:
    """Stops and continues a process until it is ended.

    Args:
        pid: Gives the process's PID; None while it does not run.
        share: For how much of each turn it runs, 0 to 1.
    """

    def __init__(self, pid: Callable[[], int | None], share: float) -> None:
        self._pid = pid
        self._share = share
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._turns, daemon=True, name="throttle")
        self._thread.start()

    def end(self) -> None:
        """Let the process run again; returns when it does."""
        self._end.set()
        self._thread.join()

    def _turns(self) -> None:
        while not self._end.is_set():
            self._send(signal.SIGSTOP)
            self._end.wait(PERIOD * (1 - self._share))
            self._send(signal.SIGCONT)
            self._end.wait(PERIOD * self._share)

    def _send(self, number: signal.Signals) -> None:
        pid = self._pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, number)
