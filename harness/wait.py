"""Waiting for an event with a deadline; a wait that fails says what it saw, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from harness.errors import WaitTimeout

T = TypeVar("T")

#: Seconds between looks where nothing announces the event; one at FRR's socket costs 0.1 ms (facts/anchors.md 9).
LOOK_EVERY = 0.01
_HISTORY = 6


def until(
    what: str,
    look: Callable[[], T],
    accept: Callable[[T], bool] = bool,
    *,
    within: float,
    every: float = LOOK_EVERY,
    show: Callable[[T], str] = repr,
) -> T:
    """Look at something again and again until it is as wanted.

    Args:
        what: What is waited for, as it stands in the error: "k-node1 to be a next hop of 192.168.142.1/32".
        look: Reads the state. An exception of a socket that is not there yet (OSError) counts as "not yet".
        accept: Decides whether what was read is what was waited for.
        within: Deadline in seconds.
        every: Seconds between two looks.
        show: Renders what was read for the error.

    Returns:
        What was read when it was accepted.

    Raises:
        WaitTimeout: with the last states seen and when they were first seen.
    """
    start = time.monotonic()
    seen: list[tuple[float, str]] = []
    pause = threading.Event()
    while True:
        try:
            state = look()
        except OSError as error:
            text = f"{type(error).__name__}: {error}"
        else:
            if accept(state):
                return state
            text = show(state)
        now = time.monotonic() - start
        if not seen or seen[-1][1] != text:
            seen = [*seen[-(_HISTORY - 1) :], (now, text)]
        if now >= within:
            history = "; ".join(f"at {at:.2f} s: {text}" for at, text in seen)
            raise WaitTimeout(f"waited {within:g} s for {what}; seen {history}")
        pause.wait(min(every, max(within - now, 0.001)))


def steady(
    what: str,
    look: Callable[[], T],
    accept: Callable[[T], bool] = bool,
    *,
    window: float,
    every: float = LOOK_EVERY,
    show: Callable[[T], str] = repr,
) -> T:
    """Check that something stays as it is for a whole window: the form of every "nothing happened" check.

    The first look is the precondition: it must be accepted too.

    Returns:
        What was read last.

    Raises:
        WaitTimeout: as soon as a look is not accepted, with the moment and what was seen.
    """
    start = time.monotonic()
    pause = threading.Event()
    while True:
        state = look()
        now = time.monotonic() - start
        if not accept(state):
            raise WaitTimeout(f"{what} did not hold: after {now:.2f} s of a {window:g} s window it was {show(state)}")
        if now >= window:
            return state
        pause.wait(every)


def let_pass(seconds: float) -> None:
    """Let a window pass in which something else is observed, such as traffic after the last timer could have fired.

    This waits for nothing: where there is an event to wait for, use `until`.
    """
    threading.Event().wait(seconds)
