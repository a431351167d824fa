"""In which order the runs of two versions take place, and with which seeds. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator

from harness.gate.model import Side

#: Python takes hash seeds below this (PYTHONHASHSEED).
_SEEDS = 2**32


def order(runs: int, *, only_b: bool = False) -> list[Side]:
    """A B B A A B B A ...: a machine that drifts in one direction does so for both versions alike.

    Args:
        runs: Of each version.
        only_b: A's runs are there already.
    """
    if only_b:
        return ["B"] * runs
    return [side for number in range(runs) for side in pair(number)]


def pair(number: int) -> tuple[Side, Side]:
    """The two sides of the pair of that number, counted from 0."""
    return ("B", "A") if number % 2 else ("A", "B")


def seeds(seed: int) -> Iterator[int]:
    """The seed of each invocation, derived from the comparison's own."""
    draw = random.Random(seed)
    while True:
        yield draw.randrange(_SEEDS)
