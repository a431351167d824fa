"""Steps that faults of processes share: a signal that is stamped by the lab host, and the start afterwards."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from functools import partial

from harness.backends.base import Backend, Stamp
from harness.errors import LabError
from harness.faults.base import Steps
from harness.faults.stamps import stamped

#: Seconds for a process to end after SIGTERM; a kubelet's grace period is 30 s.
_ENDS_WITHIN = 30.0


def end(steps: Steps, process: str, number: signal.Signals, *, start_on_undo: bool = True) -> None:
    """End a process with a signal and wait until it is gone; the stamp is the signal's."""
    backend = steps.backend
    known(backend, process)
    if start_on_undo:
        steps.on_undo(process, "started", lambda: start(backend, process))
    steps.do(process, f"{_DONE[number]} ({number.name})", lambda: send(backend, process, number))
    backend.wait_ended(process, _ENDS_WITHIN)


_DONE = {signal.SIGKILL: "killed", signal.SIGTERM: "stopped", signal.SIGSTOP: "stalled", signal.SIGCONT: "resumed"}


def send(backend: Backend, process: str, number: signal.Signals) -> Stamp:
    """Send a signal."""
    return stamped(lambda: backend.signal(process, number))


def start(backend: Backend, process: str) -> Stamp | None:
    """Start a process and wait until it is ready; None when it runs already."""
    if backend.processes()[process].pid is not None:
        return None
    return stamped(lambda: backend.start(process))


def start_all(steps: Steps, processes: Sequence[str]) -> None:
    """On undo, start those of these processes that do not run, in this order."""
    for process in reversed(processes):
        steps.on_undo(process, "started", partial(start, steps.backend, process))


def kill_host(steps: Steps, host: str, running: Sequence[str]) -> None:
    """End every process of a host at once, and wait until the lab knows that its daemons are gone."""
    steps.do(host, "all processes killed", lambda: steps.backend.kill_host(host))
    wait_ended(steps, running)


def wait_ended(steps: Steps, running: Sequence[str]) -> None:
    """Wait until the lab knows that these processes have ended."""
    for one in running:
        steps.backend.wait_ended(one, _ENDS_WITHIN)


def forget(steps: Steps, host: str) -> None:
    """Lose what a kernel loses when its host starts anew; kube-proxy, for one, trusts what it finds."""
    steps.do(host, "packet filter, connections and learned routes forgotten", lambda: steps.backend.forget(host))


def of_host(backend: Backend, host: str) -> list[str]:
    """The running processes of a host, in the order in which they were started."""
    running = [(state.started_ns or 0, name) for name, state in backend.processes().items() if state.pid is not None]
    return [name for _, name in sorted(running) if name.partition("/")[0] == host]


def known(backend: Backend, process: str) -> None:
    """Check that a process runs.

    Raises:
        LabError: when it does not.
    """
    state = backend.processes().get(process)
    if state is None or state.pid is None:
        raise LabError(f"{process} does not run")


def stall(steps: Steps, process: str) -> None:
    """Keep a process from running until the fault is undone."""
    known(steps.backend, process)
    steps.on_undo(process, "resumed (SIGCONT)", lambda: send(steps.backend, process, signal.SIGCONT))
    steps.do(process, "stalled (SIGSTOP)", lambda: send(steps.backend, process, signal.SIGSTOP))
