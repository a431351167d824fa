"""Running kind, helm and docker: every line is seen as it comes, and nothing outlives the lab that it works for."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import LabError

#: Seconds between two looks at the time while a command says nothing.
_LOOK_EVERY = 0.5
#: Seconds in which a command that was asked to end does so.
_ENDS_WITHIN = 5.0
#: Of a command that failed, so many of its last lines are shown.
_LAST_LINES = 12


@dataclass(frozen=True)
class Completed:
    """A command that has ended.

    Attributes:
        argv: What was run.
        code: Its exit code.
        output: The lines of its standard output and standard error, as they came.
    """

    argv: Sequence[str]
    code: int
    output: Sequence[str]

    @property
    def text(self) -> str:
        """Everything that it wrote."""
        return "\n".join(self.output)

    def last(self, count: int = _LAST_LINES) -> str:
        """Its last lines that say something."""
        return "\n".join([line for line in self.output if line.strip()][-count:])


#: Runs a command; tests put another in its place.
Runner = Callable[..., Completed]


def run(
    argv: Sequence[str],
    *,
    within: float,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Completed:
    """Run a command to its end.

    Args:
        argv: The command.
        within: Seconds after which it is ended.
        env: Variables beside those of this process.
        on_line: Told each line as it comes.
        stopped: Asked now and then; the command is ended as soon as it says so.

    Raises:
        LabError: The command cannot be started, or has not ended in time.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is for the owner, which ends everything in order
        )
    except OSError as error:
        raise LabError(f"{argv[0]} cannot be run: {error.strerror}") from error
    lines: list[str] = []
    deadline = time.monotonic() + within
    try:
        for line in _lines(process):
            if line is not None:
                lines.append(line)
                on_line(line)
            if stopped():
                break
            if time.monotonic() > deadline:
                tail = Completed(argv, -1, lines).last(3)
                raise LabError(f"{' '.join(argv[:3])} has not ended after {within:g} s; it said last: {tail}")
    finally:
        _end(process)
    return Completed(argv, process.returncode, lines)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str | None]:
    """The lines of a process as they come, None when it has said nothing for a while; returns when it has ended."""
    assert process.stdout is not None
    rest = b""
    with selectors.DefaultSelector() as selector, process.stdout:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(_LOOK_EVERY):
                yield None
                continue
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                break
            # kind's spinner ends its lines with a carriage return
            *whole, rest = (rest + data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            yield from (line.decode(errors="replace") for line in whole if line)
    if rest:
        yield rest.decode(errors="replace")
    while True:
        try:
            process.wait(_LOOK_EVERY)
            return
        except subprocess.TimeoutExpired:
            yield None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command that still runs, and what it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ENDS_WITHIN)
    process.wait()
