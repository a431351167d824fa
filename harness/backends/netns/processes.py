"""The daemons of one lab: started in their namespaces, reaped by PID 1, stamped when they start and end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.backends.netns import readiness
from harness.backends.netns.namespaces import in_netns
from harness.backends.netns.spec import Process, Ready
from harness.routing.vty import Vty
from harness.timeline import event
from harness.timeline.event import Event
from harness.timeline.punctual import RunDelay

#: Seconds between two looks at a daemon that is starting.
_LOOK_EVERY = 0.01
#: From the end of a process until PID 1, once it has a CPU, has taken its stamp; stated with the stamp.
_REAPED_NS = 1_000_000
#: Seconds for the kernel to end a process that is killed to be replaced.
_REPLACED_WITHIN = 10.0
#: Lines of a daemon's log that are quoted when it fails.
_QUOTED_LINES = 12


class StartFailed(Exception):
    """A daemon ended, or was not ready in time; says which, and its last log lines."""


@dataclass
class _State:
    process: Process
    pid: int | None = None
    started_ns: int | None = None
    ended_ns: int | None = None
    #: As os.waitstatus_to_exitcode has it: negative for a signal.
    exit_code: int | None = None
    ready_ns: int | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


class Supervisor:
    """Starts, signals and reaps the processes of a lab; made by PID 1.

    Args:
        processes: What there is to run.
        logs: The folder for their output.
        api_fd: The listening socket through which the API server is reached from outside.
        tell: Is given an event for every start, signal and end.
        enter: Runs something where a process is to run; by default in its network namespace.
    """

    def __init__(
        self,
        processes: tuple[Process, ...],
        logs: Path,
        api_fd: int | None,
        tell: Callable[[Event], None] = lambda _: None,
        enter: Callable[[Process, Callable[[], int]], int] = lambda process, work: in_netns(process.namespace, work),
    ) -> None:
        self._enter = enter
        self._states = {p.name: _State(p) for p in processes}
        self._by_pid: dict[int, _State] = {}
        self._lock = threading.Lock()
        self._logs = logs
        self._api_fd = api_fd
        self._tell = tell
        self._failure: StartFailed | None = None
        self._spawned = threading.Event()

    # -- start ------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start everything, each process as soon as what it needs is ready; returns at once."""
        for state in self._states.values():
            if not state.process.at_boot:
                continue
            threading.Thread(target=self._boot_one, args=(state,), daemon=True, name=state.process.name).start()

    def wait_booted(self) -> None:
        """Wait until every process is ready.

        Raises:
            StartFailed: with the first failure.
        """
        for state in self._states.values():
            if state.process.at_boot:
                state.ready.wait()
            if self._failure:
                raise self._failure

    def _boot_one(self, state: _State) -> None:
        try:
            for name in state.process.after:
                self._states[name].ready.wait()
                if self._failure:
                    return
            self.start(state.process.name)
        except (StartFailed, OSError) as error:
            if self._failure is None:
                self._failure = (
                    error if isinstance(error, StartFailed) else StartFailed(f"{state.process.name}: {error}")
                )
            for other in self._states.values():
                other.ready.set()

    def start(self, name: str) -> dict[str, int]:
        """Start a process that is not running and wait until it is ready.

        Returns:
            Its PID (in the lab) and when it was started, monotonic nanoseconds.
        """
        state = self._state(name)
        with self._lock:
            if state.pid is not None:
                raise StartFailed(f"{name} is already running")
            state.ready.clear()
            state.ended.clear()
            state.exit_code = state.ended_ns = None
            log = self.log(name)
            offset = log.stat().st_size if log.exists() else 0
            asked_ns = time.monotonic_ns()
            state.pid = self._open(state.process, log)
            state.started_ns = time.monotonic_ns()
            self._by_pid[state.pid] = state
            self._spawned.set()
            pid = state.pid
        self._told(event.STARTED, name, "is started", state.started_ns, state.started_ns - asked_ns, pid=pid)
        if state.process.ready:
            self._wait_ready(state, state.process.ready, offset)
        if state.process.vty_lines:
            vty_socket = Path(state.process.ready.unix if state.process.ready and state.process.ready.unix else "")
            Vty(vty_socket.parent).configure(name.rpartition("/")[2], state.process.vty_lines)
        state.ready_ns = time.monotonic_ns()
        state.ready.set()
        if state.process.ready:
            self._told(event.READY, name, "is ready", state.ready_ns, int(_LOOK_EVERY * 1e9))
        return {"pid": pid, "at_ns": state.started_ns}

    def _open(self, process: Process, log: Path) -> int:
        # opened here: within a container the lab's folder may not be there
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            return self._enter(process, lambda: self._spawn(process, output))
        finally:
            os.close(output)

    def _spawn(self, process: Process, output: int) -> int:
        actions: list[tuple[object, ...]] = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ]
        if process.api_fd is not None and self._api_fd is not None:
            actions.append((os.POSIX_SPAWN_DUP2, self._api_fd, process.api_fd))
        return os.posix_spawn(
            process.argv[0],
            process.argv,
            {**os.environ, **process.env},
            file_actions=actions,
            setpgroup=0,
            setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGPIPE],
        )

    def _wait_ready(self, state: _State, ready: Ready, log_offset: int) -> None:
        deadline = time.monotonic() + ready.within
        name = state.process.name
        while not self._is_ready(state.process, ready, log_offset):
            if state.ended.wait(_LOOK_EVERY):
                raise StartFailed(f"{name} ended with {state.exit_code} while starting\n{self.tail(name)}")
            if time.monotonic() > deadline:
                raise StartFailed(f"{name} was not ready after {ready.within:g} s\n{self.tail(name)}")

    def _is_ready(self, process: Process, ready: Ready, log_offset: int) -> bool:
        if ready.unix and not readiness.answers(ready.unix):
            return False
        if ready.api:
            where, token = ready.api, ready.token
            if not in_netns(process.namespace, lambda: readiness.api_serves(where, token)):
                return False
        if ready.log:
            log = self.log(process.name)
            with log.open("rb") as file:
                file.seek(log_offset)
                if ready.log.encode() not in file.read():
                    return False
        return True

    def become(self, processes: tuple[Process, ...]) -> None:
        """End everything that runs, and from now on be about other processes."""
        for name, state in self._states.items():
            if state.pid is not None:
                self.signal(name, signal.SIGKILL)
                self.wait_ended(name, _REPLACED_WITHIN)
        self._states = {p.name: _State(p) for p in processes}
        self._failure = None

    # -- life and death ---------------------------------------------------------------------------------------------

    def signal(self, name: str, number: int) -> dict[str, int]:
        """Send a signal to a running process; the stamp is taken when the kernel has accepted it."""
        state = self._state(name)
        with self._lock:
            if state.pid is None:
                raise StartFailed(f"{name} is not running")
            before = time.monotonic_ns()
            os.kill(state.pid, number)
            now = time.monotonic_ns()
            pid = state.pid
        named = signal_name(number)
        self._told(event.SIGNALLED, name, f"is sent {named}", now, now - before, signal=named)
        return {"pid": pid, "at_ns": now}

    def replace(self, name: str, program: str) -> None:
        """Take another program in a process's place when it is started next, with the same arguments."""
        state = self._state(name)
        with self._lock:
            state.process = replace(state.process, argv=(program, *state.process.argv[1:]))

    def wait_ended(self, name: str, within: float) -> dict[str, int | None]:
        """Wait until a process has ended."""
        state = self._state(name)
        if not state.ended.wait(within) and state.pid is not None:
            raise StartFailed(f"{name} still runs {within:g} s later\n{self.tail(name)}")
        return {"at_ns": state.ended_ns, "exit_code": state.exit_code}

    def reap_forever(self) -> None:
        """PID 1's duty: collect every process that ends, the lab's own and orphans."""
        delay = RunDelay()
        while True:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                self._spawned.wait()
                self._spawned.clear()
                continue
            now = time.monotonic_ns()
            late = delay.added_ns() + _REAPED_NS
            with self._lock:
                state = self._by_pid.pop(pid, None)
                if state is not None:
                    state.pid, state.ended_ns = None, now
                    state.exit_code = os.waitstatus_to_exitcode(status)
                    state.ended.set()
            if state is not None:
                code = os.waitstatus_to_exitcode(status)
                how = f"ends with exit code {code}" if code >= 0 else f"is ended by {signal_name(-code)}"
                self._told(event.ENDED, state.process.name, how, now, late, exit_code=code)

    def knows(self, name: str) -> bool:
        """Whether there is a process of that name."""
        return name in self._states

    def pid(self, name: str) -> int | None:
        """The PID of a process within the lab; None when it does not run."""
        return self._state(name).pid

    # -- reading ----------------------------------------------------------------------------------------------------

    def table(self) -> list[dict[str, object]]:
        """Every process of the lab and how it is."""
        return [
            {
                "name": s.process.name,
                "namespace": s.process.namespace,
                "pid": s.pid,
                "started_ns": s.started_ns,
                "ready_ns": s.ready_ns,
                "ended_ns": s.ended_ns,
                "exit_code": s.exit_code,
                "log": str(self.log(s.process.name)),
            }
            for s in self._states.values()
        ]

    def log(self, name: str) -> Path:
        """Where a process writes its output."""
        return self._logs / (name.replace("/", "-") + ".log")

    def tail(self, name: str) -> str:
        """The last lines of a process's log."""
        log = self.log(name)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join(lines[-_QUOTED_LINES:])

    def _told(self, kind: str, name: str, what: str, at_ns: int, resolution_ns: int, **data: object) -> None:
        self._tell(Event(at_ns, "supervisor", kind, name, f"{name} {what}", resolution_ns, data))

    def _state(self, name: str) -> _State:
        if name not in self._states:
            raise StartFailed(f"there is no process {name}; there are {', '.join(sorted(self._states))}")
        return self._states[name]


def signal_name(number: int) -> str:
    """A signal's name."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
