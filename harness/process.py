"""A daemon of the lab in a scenario's hands."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from harness.backends.base import Backend, ProcessState
from harness.faults import record
from harness.faults.stamps import stamped

#: Seconds in which a daemon ends after a signal that asks it to; a kubelet's grace period is 30 s.
_ENDS_WITHIN = 30.0


class Process:
    """One daemon, such as `worker1/cilium-agent`. All times are CLOCK_MONOTONIC nanoseconds."""

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend = backend
        self.name = name

    @property
    def state(self) -> ProcessState:
        """How the process is now."""
        return self._backend.processes()[self.name]

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.state.pid is not None

    def log(self) -> str:
        """Everything that it has written so far."""
        path: Path = self.state.log
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self) -> int:
        """End it at once (SIGKILL); returns when it was gone."""
        return self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and wait until it has; returns when it was gone."""
        return self._end(signal.SIGTERM)

    def stall(self) -> int:
        """Stop it from running without ending it (SIGSTOP); returns when the kernel took it."""
        return self._signal(signal.SIGSTOP, "stalled")

    def resume(self) -> int:
        """Let a stalled process run again (SIGCONT)."""
        return self._signal(signal.SIGCONT, "resumed", undo=True)

    def start(self) -> int:
        """Start it again; returns when it was started."""
        return self._do(lambda: self._backend.start(self.name), "started", undo=True)

    def _end(self, number: signal.Signals) -> int:
        self._signal(number, "killed" if number == signal.SIGKILL else "stopped")
        return self._backend.wait_ended(self.name, _ENDS_WITHIN)

    def _signal(self, number: signal.Signals, word: str, *, undo: bool = False) -> int:
        return self._do(lambda: self._backend.signal(self.name, number), f"{word} ({number.name})", undo=undo)

    def _do(self, action: Callable[[], int], text: str, *, undo: bool = False) -> int:
        """Do something to the process and put it on the timeline: it counts as a fault, or as the end of one."""
        stamp = stamped(action)
        record.write(self._backend.folder, record.event(stamp, self.name, text, {"undo": True} if undo else None))
        return stamp.at_ns

    def __repr__(self) -> str:
        return f"Process({self.name!r})"
