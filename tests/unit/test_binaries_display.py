"""How a build is told."""

from __future__ import annotations

import io
import itertools

from rich.console import Console

from harness.binaries.display import LINE_EVERY, Bar, Lines, amount, elapsed


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_never_silent_for_ten_seconds_and_never_chatty() -> None:
    clock, told = Clock(), list[tuple[float, str]]()
    lines = Lines(lambda line: told.append((clock.now, line)), clock)
    lines.step("kube 1.34.4: compiling packages")
    for second in range(1, 61):
        clock.now = float(second)
        lines.advance(second * 20, 2461)
    times = [at for at, _ in told]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= 10
    assert len(told) <= 2 + 60 / LINE_EVERY
    assert told[-1][1] == "kube 1.34.4: compiling packages: 1200 of 2461, 1:00"


def test_a_new_step_is_told_at_once() -> None:
    told: list[str] = []
    lines = Lines(told.append, Clock())
    lines.step("a")
    lines.advance(1, 2)
    lines.step("b")
    lines.say("a 1: built in 3 s")
    assert told == ["a", "b", "a 1: built in 3 s"]


def test_amounts() -> None:
    assert amount(3, 10) == "3 of 10, "
    assert amount(12, 10) == "10 of 10, "
    assert amount(7, None) == "7, "
    assert amount(0, None) == ""
    assert amount(0, 0) == ""
    assert elapsed(61.9) == "1:01"
    assert elapsed(600) == "10:00"


def test_the_bar_shows_the_step_at_hand() -> None:
    out = io.StringIO()
    with Bar(Console(file=out, force_terminal=True, width=100)) as bar:
        bar.advance(1, 2)  # before any step: nothing to show
        bar.step("cilium 1.18.0: compiling packages")
        bar.advance(412, 1169)
        bar.say("cilium 1.18.0: built in 66 s")
    text = out.getvalue()
    assert "412 of 1169" in text
    assert "built in 66 s" in text
