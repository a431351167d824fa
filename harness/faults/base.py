"""What every fault is: parameters, a way to make it happen step by step, and a way back."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from harness.backends.base import Stamp
from harness.errors import LabError, LblabError
from harness.faults import record
from harness.timeline.event import Event

if TYPE_CHECKING:
    from harness.lab import Lab


@dataclass(frozen=True)
class Fault(ABC):
    """One fault; its fields are its parameters.

    A kind of fault is a frozen dataclass with a docstring that says what happens, and `apply`, which does it.
    """

    #: What it is called on the command line and in schedules, such as "agent-kill".
    name: ClassVar[str]

    @property
    @abstractmethod
    def subject(self) -> str:
        """What it happens to: a host, a process or an object."""

    @property
    def lasting(self) -> float | None:
        """Seconds after which it ends by itself; None: when it is undone."""
        return None

    @abstractmethod
    def apply(self, steps: Steps) -> None:
        """Make it happen."""

    def inject(self, lab: Lab, *, lasting: float | None = None) -> Injected:
        """Make it happen now.

        Args:
            lab: Where.
            lasting: Seconds after which it is undone; None: as the fault itself says.

        Raises:
            UserError: when the lab has no such node, router, ...
            MissingCapability: when the machine lacks what it needs.
            LabError: when it cannot be done. What was done before is undone.
        """
        injected = Injected(self, lab)
        try:
            self.apply(injected.steps)
        except BaseException:
            with contextlib.suppress(LblabError):  # the first failure is the one to tell
                injected.steps.undo()
            raise
        lab.faults.append(injected)
        injected.end_after(self.lasting if lasting is None else lasting)
        return injected

    def parameters(self) -> dict[str, Any]:
        """Its parameters as plain data."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return f"{self.name} {self.subject}"


class Steps:
    """Carries the steps of one fault out, stamps each, puts it on the timeline, and takes all of them back."""

    def __init__(self, fault: Fault, lab: Lab) -> None:
        self.lab = lab
        self.backend = lab.backend
        #: What has happened so far, in this order.
        self.events: list[Event] = []
        self._fault = fault
        self._back = contextlib.ExitStack()
        #: Whether anything is to be taken back at the end.
        self.undoable = False

    def do(self, subject: str, text: str, action: Callable[[], Stamp], **data: Any) -> Stamp:
        """Carry out one change and put it on the timeline."""
        stamp = action()
        facts = {"fault": self._fault.name, "parameters": self._fault.parameters(), **data}
        happened = record.event(stamp, subject, text, facts)
        self.events.append(happened)
        record.write(self.backend.folder, happened)
        return stamp

    def on_undo(self, subject: str, text: str, action: Callable[[], Stamp | None]) -> None:
        """Say what takes a change back; the last one said is the first one done.

        Args:
            subject: What it happens to.
            text: What the timeline says.
            action: Gives None when there is nothing to do any more.
        """

        def back() -> None:
            stamp = action()
            if stamp is not None:
                self.do(subject, text, lambda: stamp, undo=True)

        self._back.callback(back)
        self.undoable = True

    def undo(self) -> None:
        """Take everything back; a step that fails does not keep the others from it."""
        self._back.close()


class Injected:
    """A fault that has happened; leaving its `with` block undoes it.

    Attributes:
        fault: What happened.
        at_ns: When its effect began, CLOCK_MONOTONIC nanoseconds; not later, and at most `resolution_ns` earlier.
        how: How that stamp was taken.
    """

    def __init__(self, fault: Fault, lab: Lab) -> None:
        self.fault = fault
        self.steps = Steps(fault, lab)
        self._lab = lab
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._timer: threading.Timer | None = None
        self._failure: LblabError | None = None
        self._undone: Event | None = None
        #: Seconds after which it ends by itself, if it does.
        self.timed: float | None = None

    @property
    def events(self) -> list[Event]:
        """Everything that it changed, and what was undone so far."""
        return list(self.steps.events)

    @property
    def at_ns(self) -> int:
        """When its effect began."""
        return self.steps.events[0].at_ns

    @property
    def resolution_ns(self) -> int:
        """By how much the effect may have begun earlier."""
        return self.steps.events[0].resolution_ns

    @property
    def how(self) -> str:
        """How the stamp was taken."""
        return str(self.steps.events[0].data["how"])

    @property
    def active(self) -> bool:
        """Whether it is still to be undone."""
        return not self._ended.is_set()

    @property
    def undoable(self) -> bool:
        """Whether there is anything to undo: a process that was killed and restarts by itself leaves nothing."""
        return self.steps.undoable

    @property
    def undone_at_ns(self) -> int | None:
        """When the last of its changes was taken back; None while it lasts, or when there was nothing to take back."""
        return self._undone.at_ns if self._undone else None

    def end_after(self, seconds: float | None) -> None:
        """Undo it so many seconds after it began; None: only when told to."""
        self.timed = seconds
        if seconds is None:
            return
        self._timer = threading.Timer(max(0.0, self.at_ns / 1e9 + seconds - time.monotonic()), self._in_time)
        self._timer.daemon = True
        self._timer.start()

    def _in_time(self) -> None:
        try:
            self.undo()
        except LblabError as error:  # told to whoever waits for it, or leaves its block
            self._failure = error

    def undo(self) -> None:
        """Take it back; does nothing when that is done already.

        Raises:
            LabError: when something cannot be put back.
        """
        with self._lock:
            if self._ended.is_set():
                return
            if self._timer is not None:
                self._timer.cancel()
            before = len(self.steps.events)
            try:
                self.steps.undo()
            finally:
                self._undone = self.steps.events[-1] if len(self.steps.events) > before else None
                self._ended.set()
                if self in self._lab.faults:
                    self._lab.faults.remove(self)

    def wait_undone(self, within: float) -> None:
        """Wait until it has ended by itself.

        Raises:
            LabError: when it could not be undone, or is not yet.
        """
        if not self._ended.wait(within):
            raise LabError(f"{self.fault} still lasts after {within:g} s")
        with self._lock:
            if self._failure is not None:
                raise self._failure

    def forget(self) -> None:
        """Leave it as it is: it is not undone any more, neither in time nor at the end of a block."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._ended.set()
            if self in self._lab.faults:
                self._lab.faults.remove(self)

    def __enter__(self) -> Injected:
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()
        if self._failure is not None:
            raise self._failure

    def __repr__(self) -> str:
        return f"Injected({self.fault}, {'active' if self.active else 'undone'})"
