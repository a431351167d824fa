"""The components that a kind cluster runs itself: found in /proc, signalled, watched until they end, kept down.

The kubelet starts a container again as soon as it has ended, and systemd the kubelet. A fault that keeps a component
down for a while lets them do so, and stops (SIGSTOP) the new process before it has done anything, within some
milliseconds of its start; `start` lets it run. Nothing else on the node is touched: holding the kubelet back would
cost the node its lease, holding containerd back its readiness. For the lab a process so held does not run.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.backends.kind import components, proc
from harness.backends.netns.processes import StartFailed, signal_name
from harness.timeline import event
from harness.timeline.event import Event
from harness.timeline.punctual import RunDelay

#: Seconds between two looks at the nodes: always, and while something has to be caught as it starts.
_LOOK_EVERY, _CATCH_EVERY = 0.5, 0.01
#: From the end of a process until the watching thread, once it has a CPU, has taken its stamp; stated with the stamp.
_NOTICED_NS = 1_000_000
#: Seconds for whoever starts a component to start it again; a kubelet takes 1 to 3 s, more after several crashes.
_STARTED_WITHIN = 90.0
#: Signals that are meant to end a process.
_ENDING = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT)

Tell = Callable[[Event], None]


@dataclass
class _State:
    name: str
    pid: int | None = None
    started_ns: int | None = None
    ended_ns: int | None = None
    #: Whether it is to stay down, and the process that was started meanwhile.
    down: bool = False
    held: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)


class Found:
    """Finds, signals and watches the components of the nodes.

    Args:
        nodes: Gives each node's name and the PID of its container's first process.
        tell: Is given an event for every start, signal and end.
    """

    def __init__(self, nodes: Callable[[], list[tuple[str, int]]], tell: Tell = lambda _: None) -> None:
        self._nodes = nodes
        self._tell = tell
        self._lock = threading.RLock()
        self._states: dict[str, _State] = {}
        self._known: dict[int, str] = {}
        self._looks = proc.Nodes()
        self._hurry = threading.Event()
        self._ends = selectors.DefaultSelector()
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._wake, False)
        self._ends.register(self._wake, selectors.EVENT_READ)
        threading.Thread(target=self._look_forever, daemon=True, name="found").start()
        threading.Thread(target=self._watch_ends, daemon=True, name="found-ends").start()

    # -- looking ----------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look through all nodes now."""
        with self._lock:
            for node, first in self._nodes():
                for seen, parent in self._looks.parts(first):
                    if seen.pid in self._known:
                        continue
                    name = components.name_of(node, seen, parent)
                    if name is not None:
                        self._appeared(name, seen.pid)

    def _look_forever(self) -> None:
        while True:
            self._hurry.wait(_CATCH_EVERY if any(map(_awaited, list(self._states.values()))) else _LOOK_EVERY)
            self._hurry.clear()
            with contextlib.suppress(OSError):  # a node that has just ended
                self.look()

    def _appeared(self, name: str, pid: int) -> None:
        state = self._states.setdefault(name, _State(name))
        if state.pid is not None or state.held is not None:
            return  # the one before it, of a pod that is being replaced, is still there; looked at again when it is not
        try:
            if state.down:
                os.kill(pid, signal.SIGSTOP)
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        self._known[pid] = name
        self._ends.register(watched, selectors.EVENT_READ, (state, pid))
        os.write(self._woken, b".")
        if state.down:
            state.held = pid
        else:
            self._runs(state, pid, proc.started_ns(pid))

    def _runs(self, state: _State, pid: int, when: tuple[int, int] | None) -> None:
        at, resolution = when or (time.monotonic_ns(), int(_LOOK_EVERY * 1e9))
        state.pid, state.started_ns, state.held = pid, at, None
        state.ended.clear()
        state.started.set()
        self._tell(Event(at, "nodes", event.STARTED, state.name, f"{state.name} is started", resolution, {"pid": pid}))

    # -- ends -------------------------------------------------------------------------------------------------------

    def _watch_ends(self) -> None:
        delay = RunDelay()
        while True:
            ready = self._ends.select()
            now = time.monotonic_ns()
            late = delay.added_ns() + _NOTICED_NS
            for key, _ in ready:
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                    continue
                self._ends.unregister(key.fileobj)
                os.close(key.fd)
                state, pid = key.data
                self._ended(state, pid, now, late)

    def _ended(self, state: _State, pid: int, now: int, late: int) -> None:
        with self._lock:
            self._known.pop(pid, None)
            self._looks.forget(pid)
            if state.held == pid:
                state.held = None
                return
            if state.pid != pid:
                return
            state.pid, state.ended_ns = None, now
            state.started.clear()
            state.ended.set()
        self._hurry.set()
        self._tell(Event(now, "nodes", event.ENDED, state.name, f"{state.name} ends", late, {"pid": pid}))

    # -- acting -----------------------------------------------------------------------------------------------------

    def knows(self, name: str) -> bool:
        """Whether there is, or has been, a component of that name."""
        return name in self._states

    def signal(self, name: str, number: int) -> dict[str, int]:
        """Send a signal to a running component; one that ends it keeps it down until `start`."""
        state = self._state(name)
        with self._lock:
            pid = state.pid
            if pid is None:
                raise StartFailed(f"{name} is not running")
            if number in _ENDING:
                state.down = True
            before = time.monotonic_ns()
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                raise StartFailed(f"{name} has just ended") from None
            now = time.monotonic_ns()
        self._hurry.set()
        named = signal_name(number)
        text = f"{name} is sent {named}"
        self._tell(Event(now, "nodes", event.SIGNALLED, name, text, now - before, {"signal": named}))
        return {"pid": pid, "at_ns": now}

    def wait_ended(self, name: str, within: float) -> dict[str, int | None]:
        """Wait until a component has ended."""
        state = self._state(name)
        if not state.ended.wait(within) and state.pid is not None:
            raise StartFailed(f"{name} still runs {within:g} s later")
        return {"at_ns": state.ended_ns, "exit_code": None}

    def start(self, name: str) -> dict[str, int]:
        """Let a component that was kept down run again; returns when it does."""
        state = self._state(name)
        with self._lock:
            if state.pid is not None:
                raise StartFailed(f"{name} is already running")
            state.down = False
            held = state.held
            if held is not None:
                before = time.monotonic_ns()
                os.kill(held, signal.SIGCONT)
                now = time.monotonic_ns()
                self._runs(state, held, (now, now - before))
        if not state.started.wait(_STARTED_WITHIN):
            raise StartFailed(f"nobody has started {name} again within {_STARTED_WITHIN:g} s")
        return {"pid": state.pid or 0, "at_ns": state.started_ns or 0}

    def release(self, node: str) -> None:
        """Keep nothing down any more on a node that starts anew."""
        with self._lock:
            for name, state in self._states.items():
                if name.partition("/")[0] == node:
                    state.down, state.held = False, None

    def pid(self, name: str) -> int | None:
        """The PID of a component; None when it does not run."""
        return self._state(name).pid

    def there(self, name: str) -> bool:
        """Whether a component runs, or has been started and is held."""
        state = self._state(name)
        return state.pid is not None or state.held is not None

    def held(self) -> set[int]:
        """The processes that are held."""
        return {state.held for state in self._states.values() if state.held is not None}

    def table(self, logs: Callable[[str], Path]) -> list[dict[str, object]]:
        """Every component and how it is."""
        self.look()
        return [
            {
                "name": state.name,
                "namespace": state.name.partition("/")[0],
                "pid": state.pid,
                "started_ns": state.started_ns,
                "ready_ns": None,
                "ended_ns": state.ended_ns,
                "exit_code": None,
                "log": str(logs(state.name)),
            }
            for state in self._states.values()
        ]

    def _state(self, name: str) -> _State:
        if name not in self._states:
            self.look()
        if name not in self._states:
            raise StartFailed(f"there is no process {name}; there are {', '.join(sorted(self._states))}")
        return self._states[name]


def _awaited(state: _State) -> bool:
    """Whether a component has to be seen soon after it starts."""
    if state.down:
        return state.held is None
    recently = state.ended_ns is not None and time.monotonic_ns() - state.ended_ns < _STARTED_WITHIN * 1e9
    return state.pid is None and recently
