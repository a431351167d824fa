"""Telling how far a build is: a bar on a terminal, a line now and then elsewhere, never ten seconds of silence."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

#: Seconds between two lines of one step where there is no terminal.
LINE_EVERY = 5.0


class Display(Protocol):
    """Is told what is being built and how far it is."""

    def step(self, what: str) -> None:
        """Say that something begins, such as "cilium 1.18.0: downloading modules"."""

    def advance(self, done: int, total: int | None) -> None:
        """Say how far the step is; called at least every few seconds while it runs.

        Args:
            done: Packages compiled, or modules downloaded.
            total: Of how many, if that is known.
        """

    def say(self, line: str) -> None:
        """Say something that stays: a program is there."""


class Lines(AbstractContextManager["Lines"]):
    """Plain lines, at most one in LINE_EVERY seconds for a step that goes on.

    Args:
        tell: Takes a line.
        clock: Seconds; another one in tests.
    """

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._what = ""
        self._began = self._told = clock()

    def step(self, what: str) -> None:
        """A step begins."""
        self._what = what
        self._began = self._told = self._clock()
        self._tell(what)

    def advance(self, done: int, total: int | None) -> None:
        """It goes on."""
        now = self._clock()
        if now - self._told < LINE_EVERY:
            return
        self._told = now
        self._tell(f"{self._what}: {amount(done, total)}{elapsed(now - self._began)}")

    def say(self, line: str) -> None:
        """A line."""
        self._told = self._clock()
        self._tell(line)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to tidy."""


class Bar(AbstractContextManager["Bar"]):
    """One bar on a terminal that shows the step at hand.

    Args:
        console: Where it is drawn.
    """

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def step(self, what: str) -> None:
        """A step begins: a new bar in place of the last one."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=None, amount="")

    def advance(self, done: int, total: int | None) -> None:
        """It goes on."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total, amount=amount(done, total).rstrip(", "))

    def say(self, line: str) -> None:
        """A line above the bar."""
        self._progress.console.print(line, highlight=False, markup=False)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._progress.stop()


def display(tell: Callable[[str], None] | None) -> Bar | Lines:
    """The display for a caller.

    Args:
        tell: Takes lines; None draws on standard error: a bar if that is a terminal, else lines.
    """
    if tell is not None:
        return Lines(tell)
    if sys.stderr.isatty():
        from rich.console import Console  # 0.1 s that only a build on a terminal pays

        return Bar(Console(stderr=True))
    return Lines(lambda line: print(line, file=sys.stderr, flush=True))


def amount(done: int, total: int | None) -> str:
    """Done of total, as it stands before the elapsed time; empty while there is nothing to count."""
    if total:
        return f"{min(done, total)} of {total}, "
    return f"{done}, " if done else ""


def elapsed(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
