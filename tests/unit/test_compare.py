"""Two groups of runs, compared: how often a good version is called worse, and a bad one is seen."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean

import pytest

from harness.verdict import compare, shift
from harness.verdict.compare import Decision, Exit, Figure, Verdict

Draw = Callable[[random.Random], float]

#: What outages look like: jitter of a timer, one attempt or two, a rare delay, a steady one.
SHAPES: dict[str, Draw] = {
    "uniform": lambda rng: rng.uniform(2000, 3000),
    "two-humped": lambda rng: rng.choice((2000.0, 4000.0)) + rng.uniform(0, 20),
    "skewed": lambda rng: 100 + rng.expovariate(1 / 60),
    "steady": lambda rng: rng.gauss(30, 5),
}


# -- the statistics --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    # any table of the distribution
    [(0.975, 1, 12.706), (0.975, 4, 2.776), (0.9995, 4, 8.610), (0.975, 30, 2.042), (0.95, 18, 1.734)],
)
def test_t_quantiles_are_the_tables(probability: float, freedom: int, value: float) -> None:
    """Student's t by integration."""
    assert shift.t_quantile(probability, freedom) == pytest.approx(value, abs=5e-4)


@pytest.mark.parametrize(("runs", "critical"), [(4, 0), (5, 2), (6, 5), (8, 13), (10, 23)])
def test_exact_intervals_have_the_tables_ranks(runs: int, critical: int) -> None:
    """Critical values of Mann and Whitney's U, two-sided 95 %: the interval begins at the difference after them."""
    a, b = [float(100 * i) for i in range(runs)], [float(100 * i + i * i) for i in range(runs)]
    differences = sorted(y - x for x in a for y in b)
    found = shift.shift(a, b, alpha=0.05)
    assert found is not None
    assert found.low == differences[critical]
    assert found.high == differences[-critical - 1]


def test_exact_interval_covers_the_true_shift() -> None:
    """By enumeration of every way in which eight values fall into two groups: missed as rarely as it says."""
    values = [1.0, 2.5, 3.7, 8.9, 11.2, 12.9, 20.4, 31.7]
    missed = 0
    splits = list(combinations(range(8), 4))
    for chosen in splits:
        a = [values[i] for i in chosen]
        b = [values[i] for i in range(8) if i not in chosen]
        found = shift.shift(a, b, alpha=0.05)
        assert found is not None
        missed += not found.low <= 0 <= found.high
    assert missed / len(splits) <= 0.05


def test_few_runs_have_no_exact_interval() -> None:
    """How many runs it takes follows from the number of ways in which they can be ordered."""
    assert not shift.is_exact(3, 3, 0.05)  # 20 orders
    assert shift.is_exact(4, 4, 0.05)  # 70
    assert shift.fewest(0.05) == 4
    assert shift.fewest(0.001) == 7  # 3432 orders, 2000 are wanted
    assert shift.shift([1.0], [2.0, 3.0]) is None


def test_noise_is_what_runs_of_one_version_differ_by() -> None:
    """Only pairs of the same side count, however far the sides are apart."""
    assert shift.noise([100, 110], [900, 910]) == pytest.approx(10 * (0.5) ** 0.5)
    assert shift.noise([100], [900]) == 0


def test_fisher() -> None:
    """Three failures of three against none: one in twenty ways."""
    assert shift.fisher(0, 3, 3, 3) == pytest.approx(1 / 20)
    assert shift.fisher(2, 3, 2, 3) > 0.5


# -- gates that are simulated ----------------------------------------------------------------------------------------


def gate(
    rng: random.Random, shapes: Sequence[Draw], *, runs: int, figures: int = 20, planted: float = 0.0
) -> dict[int, Verdict]:
    """Let a gate decide about figures of one and the same version; the first one takes longer by what is planted."""

    def draw(number: int, count: int, side: str) -> list[float]:
        more = planted if number == 0 and side == "B" else 0.0
        return [shapes[number % len(shapes)](rng) + more for _ in range(count)]

    values = {number: Figure(draw(number, runs, "A"), draw(number, runs, "B")) for number in range(figures)}
    alpha = compare.share(values.values())
    verdicts = {}
    for number, one in values.items():
        found = compare.figure(one, alpha, planned=runs).decision
        if found.again:
            more = Figure([*one.a, *draw(number, found.again, "A")], [*one.b, *draw(number, found.again, "B")])
            found = compare.figure(more, alpha, planned=runs).decision
        verdicts[number] = found.verdict
    return verdicts


@pytest.mark.parametrize("runs", [2, 3, 5, 10])
def test_the_same_version_is_hardly_ever_called_worse(runs: int) -> None:
    """A against A, two hundred gates of twenty figures of every shape: 2 in 1000 may be, in either direction."""
    rng = random.Random(runs)
    gates = [gate(rng, list(SHAPES.values()), runs=runs) for _ in range(200)]
    assert sum(Verdict.WORSE in found.values() for found in gates) <= 1
    assert not any(Verdict.UNTRUSTED in found.values() for found in gates)


@pytest.mark.parametrize("scatter", [10, 20, 40])
def test_a_planted_increase_of_100_ms_is_found(scatter: float) -> None:
    """Ten runs of each version in a gate of twenty figures; the scatter is that of outages that no jitter makes."""
    rng = random.Random(7)
    shapes: list[Draw] = [lambda rng: rng.gauss(500, scatter), *SHAPES.values()]
    found = [gate(rng, shapes, runs=10, planted=100)[0] for _ in range(100)]
    assert found.count(Verdict.WORSE) >= 95


def test_an_increase_within_the_jitter_is_not_claimed_to_be_absent() -> None:
    """A second of jitter hides 100 ms in ten runs: what would have been seen stands beside the verdict."""
    rng = random.Random(3)
    a = [rng.uniform(2000, 3000) for _ in range(10)]
    b = [rng.uniform(2000, 3000) + 100 for _ in range(10)]
    found = compare.figure(Figure(a, b), 0.0005, planned=None)
    assert found.decision.verdict is Verdict.SAME
    assert found.detectable is not None
    assert found.detectable > 100
    assert "would have shown" in found.decision.text


# -- one figure ------------------------------------------------------------------------------------------------------


def test_a_clear_increase_in_few_runs_is_confirmed_before_it_is_told() -> None:
    """Three runs of each are only a suspicion; then as many more are wanted as a rank test needs."""
    few = compare.figure(Figure([500, 510, 505], [900, 905, 910]), 0.001, planned=3).decision
    assert few.verdict is Verdict.UNTRUSTED
    assert 3 + few.again == shift.fewest(0.001)
    more = Figure([500, 510, 505, 502, 507, 503, 509], [900, 905, 910, 903, 907, 901, 909])
    assert compare.figure(more, 0.001, planned=3).decision.verdict is Verdict.WORSE
    swapped = compare.figure(Figure(more.b, more.a), 0.001, planned=3)
    assert swapped.decision.verdict is Verdict.BETTER
    assert swapped.effect == pytest.approx(fmean(more.a) - fmean(more.b), abs=5)


def test_what_nobody_notices_is_the_same() -> None:
    """Sure, but too small."""
    a = [10.0 + i / 10 for i in range(10)]
    found = compare.figure(Figure(a, [value + 20 for value in a]), 0.01)
    assert found.interval is not None
    assert found.interval.low > 0
    assert found.decision.verdict is Verdict.SAME


def test_a_figure_that_never_moves_takes_no_share_of_the_alarms() -> None:
    """Outages of zero in every run cannot raise a false alarm."""
    still = Figure([0.0, 0.0], [0.0, 0.0])
    moving = Figure([1.0, 2.0], [1.5, 2.5])
    assert compare.share([still, still, moving]) == compare.FALSE_ALARMS
    assert compare.share([moving, moving]) == compare.FALSE_ALARMS / 2


def test_one_run_of_each_compares_no_figures() -> None:
    """There is no scatter to hold a difference against."""
    found = compare.figure(Figure([500.0], [900.0]), planned=1)
    assert found.decision.verdict is Verdict.UNTRUSTED
    assert found.decision.again == 1


# -- outcomes, scenarios, versions -----------------------------------------------------------------------------------

P, F, U, S, X = "passed", "failed", "untrusted", "skipped", "xfailed"


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ([P, P, P], [F, F, F], Verdict.NEW_FAILURE),
        ([P, P], [X, X], Verdict.NEW_FAILURE),  # an expected failure is a failure
        ([P, P], ["error", F], Verdict.NEW_FAILURE),
        ([F, F, F], [P, P, P], Verdict.FIXED),
        ([F, F], [F, F], Verdict.SAME),
        ([P, F, P], [F, P, P], Verdict.SAME),  # flaky on both
        ([P, F, P], [P, P, P], Verdict.SAME),
        ([P, P, P], [F, P, P], Verdict.UNTRUSTED),  # flaky with B only: more runs tell
        ([P] * 7, [F] * 5 + [P] * 2, Verdict.NEW_FAILURE),
        ([U, U], [P, P], Verdict.UNTRUSTED),
        ([], [P], Verdict.UNTRUSTED),
        ([P, P], [S, S], Verdict.SKIPPED),
        ([P, U, P], [P, P, U], None),  # the trusted ones count
    ],
)
def test_outcomes(a: list[str], b: list[str], verdict: Verdict | None) -> None:
    """Passed and failed, on both sides."""
    found = compare.outcomes(a, b)
    assert (found.verdict if found else None) == verdict


def test_a_single_failure_is_run_again() -> None:
    """One run of each: it may be chance."""
    found = compare.outcomes([P], [F])
    assert found is not None
    assert found.verdict is Verdict.NEW_FAILURE
    assert found.again == 1


def test_a_scenario_is_as_bad_as_its_worst_figure() -> None:
    """Worse outweighs better; a failure outweighs both."""

    def compared(verdict: Verdict) -> compare.Compared:
        return compare.Compared(Decision(verdict, f"it is {verdict}"))

    figures = {"x": compared(Verdict.BETTER), "y": compared(Verdict.WORSE), "z": compared(Verdict.SAME)}
    assert compare.scenario(None, figures).decision.verdict is Verdict.WORSE
    failed = compare.outcomes([P, P], [F, F])
    assert compare.scenario(failed, figures).decision.verdict is Verdict.NEW_FAILURE
    assert compare.scenario(None, {"z": compared(Verdict.SAME)}).decision.verdict is Verdict.SAME


@pytest.mark.parametrize(
    ("verdicts", "exit_"),
    [
        ([Verdict.SAME, Verdict.BETTER, Verdict.SKIPPED], Exit.NO_WORSE),
        ([Verdict.SAME, Verdict.WORSE, Verdict.UNTRUSTED], Exit.WORSE),
        ([Verdict.NEW_FAILURE], Exit.WORSE),
        ([Verdict.SAME, Verdict.UNTRUSTED], Exit.CANNOT_TELL),
        ([Verdict.SKIPPED], Exit.CANNOT_TELL),
        ([], Exit.CANNOT_TELL),
    ],
)
def test_the_whole(verdicts: list[Verdict], exit_: Exit) -> None:
    """A version is worse when anything is; when something cannot be told, neither can it."""
    assert compare.overall(verdicts)[0] is exit_
