"""Simulated gates with the scatter that real runs had: `data/gate/scatter.json` says which."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from harness.verdict import compare
from harness.verdict.compare import Figure, Verdict

REAL: dict[str, Any] = json.loads((Path(__file__).parent / "data/gate/scatter.json").read_text())
FIGURES: dict[str, list[float]] = {name: values for name, values in REAL["figures"].items() if len(values) > 2}
#: A standard deviation up to which ten runs of each version, and ten more of what is suspicious, show 100 ms: what
#: scatters by more ends with a timer that GoBGP or a keepalive draws from a second and more.
SHARP_MS = 45.0
SHARP = [name for name, values in FIGURES.items() if stdev(values) <= SHARP_MS]


def draw_from(values: Sequence[float]) -> Callable[[random.Random], float]:
    """Draw from real runs, spread by a kernel as few values do not say what lies between them (Silverman's rule)."""
    width = 0.9 * stdev(values) * len(values) ** -0.2
    return lambda rng: max(0.0, rng.choice(values) + rng.gauss(0, width))


def gate(rng: random.Random, *, runs: int, planted: str | None = None) -> dict[str, Verdict]:
    """A gate of all figures; the one that is named takes 100 ms longer with version B."""
    draws = {name: draw_from(values) for name, values in FIGURES.items()}

    def more(name: str, count: int, side: str) -> list[float]:
        added = 100.0 if side == "B" and name == planted else 0.0
        return [draws[name](rng) + added for _ in range(count)]

    values = {name: Figure(more(name, runs, "A"), more(name, runs, "B")) for name in FIGURES}
    alpha = compare.share(values.values())
    verdicts = {}
    for name, one in values.items():
        found = compare.figure(one, alpha, planned=runs).decision
        if found.again:
            one = Figure([*one.a, *more(name, found.again, "A")], [*one.b, *more(name, found.again, "B")])
            found = compare.figure(one, alpha, planned=runs).decision
        verdicts[name] = found.verdict
    return verdicts


@pytest.mark.parametrize("runs", [3, 10])
def test_a_version_against_itself_is_not_worse(runs: int) -> None:
    """A hundred gates."""
    rng = random.Random(runs)
    assert not any(Verdict.WORSE in gate(rng, runs=runs).values() for _ in range(100))


def test_there_are_figures_that_show_100_ms() -> None:
    """Otherwise the next test would hold for nothing."""
    assert SHARP


@pytest.mark.parametrize("name", SHARP)
def test_a_planted_increase_of_100_ms_is_found(name: str) -> None:
    """Ten runs of each version: in at least 95 of 100 gates."""
    rng = random.Random(name)
    assert sum(gate(rng, runs=10, planted=name)[name] is Verdict.WORSE for _ in range(100)) >= 95
