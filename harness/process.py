"""A daemon of the lab in a scenario's hands."""

from __future__ import annotations

import signal
from pathlib import Path

from harness.backends.base import Backend, ProcessState, Stamp
from harness.faults import record

#: Seconds in which a daemon ends after a signal that asks it to; a kubelet's grace period is 30 s.
_ENDS_WITHIN = 30.0
#: How late a lab host's stamp may be: it reads the clock when kill(2), some 0.01 ms, or posix_spawn(3), 1 to 2 ms,
#: returns.
STAMP_RESOLUTION_NS = 2_000_000


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
        return self._happened(self._backend.signal(self.name, signal.SIGSTOP), "stalled (SIGSTOP)")

    def resume(self) -> int:
        """Let a stalled process run again (SIGCONT)."""
        return self._happened(self._backend.signal(self.name, signal.SIGCONT), "resumed (SIGCONT)", undo=True)

    def start(self) -> int:
        """Start it again; returns when it was started."""
        return self._happened(self._backend.start(self.name), "started", undo=True)

    def _end(self, number: signal.Signals) -> int:
        word = "killed" if number == signal.SIGKILL else "stopped"
        self._happened(self._backend.signal(self.name, number), f"{word} ({number.name})")
        return self._backend.wait_ended(self.name, _ENDS_WITHIN)

    def _happened(self, at_ns: int, text: str, *, undo: bool = False) -> int:
        """Put what was done to the process on the timeline: it counts as a fault, or as the end of one."""
        stamp = Stamp(at_ns, STAMP_RESOLUTION_NS, "stamped by the lab host")
        record.write(self._backend.folder, record.event(stamp, self.name, text, {"undo": True} if undo else None))
        return at_ns

    def __repr__(self) -> str:
        return f"Process({self.name!r})"
