"""One run of pytest, as a process of its own: started, watched, interrupted in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.binaries.gocommand import end_with_parent
from harness.errors import LabError, UserError
from harness.wait import let_pass

#: Seconds between two looks at how many scenarios have ended.
_LOOK_EVERY = 1.0
#: Seconds that pytest gets to take its labs down when it is interrupted.
_ENDS_WITHIN = 60.0
#: Lines of its output that are quoted when it could not run.
_QUOTED = 15
#: pytest's exit codes: scenarios ran, whether they passed or not; bad input; nothing to run (docs.pytest.org).
_RAN, _USAGE, _NOTHING = (0, 1), 4, 5


@dataclass(frozen=True)
class Command:
    """What pytest is told.

    Attributes:
        cilium_version: Exact.
        selection: Paths and node ids.
        markers: A marker expression; pytest's `-m`.
        backend: `--lab-backend`.
        timers: `--timers`.
        workers: How many labs at once.
        results: Where the results go.
        seed: Of Python's hashes.
        upgrade_to: `--upgrade-to`, for scenarios that replace Cilium in a running lab.
    """

    cilium_version: str
    selection: Sequence[str]
    markers: str
    backend: str
    timers: str
    workers: int
    results: Path
    seed: int
    upgrade_to: str | None = None

    def argv(self) -> list[str]:
        """The command line."""
        own = [sys.executable, "-m", "pytest", *self.selection, "-m", self.markers, "-p", "no:cacheprovider", "-q"]
        labs = [f"--lab-backend={self.backend}", f"--cilium-version={self.cilium_version}", f"--timers={self.timers}"]
        workers = ["-n", str(self.workers)] if self.workers > 1 else []
        target = [f"--upgrade-to={self.upgrade_to}"] if self.upgrade_to else []
        return [*own, *labs, *target, f"--lab-results={self.results}", *workers]


def run(command: Command, ended: Callable[[int], None] = lambda _: None) -> int:
    """Run pytest and wait for it.

    Args:
        command: What it is told.
        ended: Is told how many scenarios have ended, whenever that changes.

    Returns:
        Its exit code: 0 or 1.

    Raises:
        UserError: It found its input bad, or nothing to run.
        LabError: It broke down.
        KeyboardInterrupt: This process was interrupted; pytest has ended, and its labs with it.
    """
    log = command.results.with_suffix(".log")
    command.results.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONHASHSEED": str(command.seed)}
    with log.open("wb") as output:
        # a session of its own: a terminal's interrupt comes to this process, which passes it on once
        process = subprocess.Popen(
            command.argv(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=_can_be_interrupted,
        )
        try:
            told = 0
            while process.poll() is None:
                if (count := _ended(command.results)) != told:
                    ended(told := count)
                let_pass(_LOOK_EVERY)
        except BaseException:
            _end(process)
            raise
    if process.returncode in _RAN:
        return process.returncode
    said = "\n".join(log.read_text(errors="replace").splitlines()[-_QUOTED:])
    if process.returncode == _NOTHING:
        raise UserError(f"no scenario is chosen by {' '.join(command.selection)} -m '{command.markers}'")
    if process.returncode == _USAGE:
        errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
        raise UserError(errors[-1] if errors else said)
    raise LabError(f"pytest ended with exit code {process.returncode}: {said}", hint=f"all of it: {log}")


def _can_be_interrupted() -> None:
    """In the process that becomes pytest: end with this one, and heed SIGINT, as a shell's background jobs do not."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _ended(results: Path) -> int:
    try:
        return results.read_text().count('"kind":"scenario"')
    except OSError:  # pytest has not begun it yet
        return 0


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt pytest, so that it takes its labs down; kill it when it does not."""
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < _ENDS_WITHIN:
        let_pass(0.05)
    if process.poll() is None:
        process.kill()
        process.wait()
