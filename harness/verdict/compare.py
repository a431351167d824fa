"""Whether a second version is better, the same or worse than the first: outcomes, figures, scenarios, all of them.

Two errors matter. A good version that is called worse stops a bump for nothing: so a figure is worse only when its
whole interval is above zero at a confidence that is shared among all figures of the gate, and the shift is greater than
the noise floor and than what anybody would notice. A bad version that is waved through is the other: so what looks
suspicious is run again before it is called the same, what would not have been seen is said (`detectable`), and what
cannot be told is called so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from harness.verdict import shift
from harness.verdict.interval import Interval

#: How often a gate in which nothing differs may call anything different, over all its figures together.
FALSE_ALARMS = 0.002
#: How often a figure that does not differ may look suspicious, and cost more runs.
SUSPICION = 0.05
#: A shift that nobody would notice: less than one packet of a 30 Hz game flow (harness.traffic.game).
NOTICED_MS = 33.0
#: A scenario that fails more often with B than this chance explains, fails more often.
_MORE_OFTEN = 0.05

_PASSED = frozenset({"passed", "xpassed"})
#: An expected failure is a failure: what is expected is a version's fault, and the gate is there to see it.
_FAILED = frozenset({"failed", "error", "xfailed"})


class Verdict(StrEnum):
    """What became of a scenario, or of one of its figures, from A to B."""

    BETTER = "better"
    SAME = "same"
    WORSE = "worse"
    NEW_FAILURE = "new failure"
    FIXED = "fixed"
    UNTRUSTED = "untrusted"
    #: It did not run on a side, with the reason: the version lacks the API, or the machine a capability.
    SKIPPED = "skipped"


class Exit(StrEnum):
    """What a whole comparison says."""

    NO_WORSE = "no worse"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


#: Verdicts that stop a bump.
_BAD = frozenset({Verdict.WORSE, Verdict.NEW_FAILURE})


@dataclass(frozen=True)
class Decision:
    """A verdict with its reason.

    Attributes:
        verdict: What it is.
        text: Why, in one sentence.
        again: How many more runs of the scenario, on both sides, should make it certain; 0 when it is.
    """

    verdict: Verdict
    text: str
    again: int = 0


@dataclass(frozen=True)
class Compared:
    """One figure of a scenario, B against A; milliseconds.

    Attributes:
        decision: The verdict.
        effect: The estimated shift from A to B; None without runs.
        interval: Where the shift lies.
        noise: What groups of so many runs of one version differ by.
        detectable: The least increase that these runs would have shown.
    """

    decision: Decision
    effect: float | None = None
    interval: Interval | None = None
    noise: float | None = None
    detectable: float | None = None


@dataclass(frozen=True)
class Figure:
    """All trusted values of one figure.

    Attributes:
        a: With version A, milliseconds.
        b: With version B.
        resolution: How finely they are known.
    """

    a: Sequence[float]
    b: Sequence[float]
    resolution: float = 0.0

    @property
    def median_a(self) -> float | None:
        """The middle of version A's values."""
        return median(self.a) if self.a else None

    @property
    def median_b(self) -> float | None:
        """The middle of version B's values."""
        return median(self.b) if self.b else None

    @property
    def moves(self) -> bool:
        """Whether it can raise an alarm at all: it was not the same in every run."""
        return len({*self.a, *self.b}) > 1


@dataclass(frozen=True)
class Judged:
    """A scenario with its verdict and its figures'."""

    decision: Decision
    figures: dict[str, Compared] = field(default_factory=dict)


def share(figures: Iterable[Figure]) -> float:
    """The share of `FALSE_ALARMS` that each figure of a gate has (Bonferroni)."""
    return FALSE_ALARMS / max(1, sum(figure.moves for figure in figures))


def figure(values: Figure, alpha: float = FALSE_ALARMS, *, planned: int | None = None) -> Compared:
    """Compare one figure.

    Two looks are taken: what is suspicious after the planned runs gets as many again, at least so many that a rank test
    can decide, and is then judged by all of them. Only few figures cost more runs in that way, and a small shift is
    seen by twice as many.

    Args:
        values: Its values.
        alpha: This figure's share of false alarms.
        planned: Runs of each side that were planned; None: there will be no more than these.
    """
    a, b = values.a, values.b
    runs = min(len(a), len(b))
    if runs < 2:
        counted = f"{len(a)} and {len(b)} trusted runs"
        return Compared(Decision(Verdict.UNTRUSTED, f"{counted}: a comparison takes two of each", again=2 - runs))
    about = shift.shift(a, b, alpha=alpha)
    assert about is not None  # two values on each side
    noise, effect = shift.noise(a, b), about.middle
    floor = max(noise, NOTICED_MS, values.resolution)
    detectable = max(effect - about.low, floor)
    text = (
        f"{_ms(median(a))} with A, {_ms(median(b))} with B: {effect:+.0f} ms ({about.low:+.0f} to {about.high:+.0f} ms)"
    )
    again = 0
    if planned is not None:
        again = max(0, planned + max(planned, shift.fewest(alpha) - planned) - runs)
    certain = shift.is_exact(len(a), len(b), alpha)
    shown = abs(effect) > floor and (about.low > 0 or about.high < 0)
    verdict = Verdict.WORSE if effect > 0 else Verdict.BETTER
    if shown and certain:
        decision = Decision(verdict, f"{text}, noise floor {noise:.0f} ms")
    elif shown:
        # a few runs may be alike by chance, as two-humped outages are: ranks have to confirm it
        decision = Decision(Verdict.UNTRUSTED, f"{text}: {verdict}, if more runs confirm it", again=again)
    else:
        same = f"{text}; an increase of {_ms(detectable)} would have shown"
        decision = Decision(Verdict.SAME, same, again=again if _suspicious(values, effect) else 0)
    return Compared(decision, effect, about, noise, detectable)


def _suspicious(values: Figure, effect: float) -> bool:
    about = shift.shift(values.a, values.b, alpha=SUSPICION)
    return about is not None and abs(effect) > NOTICED_MS / 2 and (about.low > 0 or about.high < 0)


def outcomes(a: Sequence[str], b: Sequence[str]) -> Decision | None:
    """Compare how often a scenario passed; None when it passed every time on both sides, and only figures are left.

    Args:
        a: pytest's outcomes with version A, one for each run.
        b: With version B.
    """
    for side, found in (("A", a), ("B", b)):
        if found and set(found) <= {"skipped"}:
            return Decision(Verdict.SKIPPED, f"skipped with {side}")
        if not found:
            return Decision(Verdict.UNTRUSTED, f"it did not run with {side}", again=1)
    bad_a, runs_a = _count(a)
    bad_b, runs_b = _count(b)
    if not runs_a or not runs_b:
        side = "A" if not runs_a else "B"
        return Decision(Verdict.UNTRUSTED, f"no run with {side} can be trusted", again=2)
    if not bad_a and not bad_b:
        return None
    text = f"failed {bad_a} of {runs_a} times with A, {bad_b} of {runs_b} with B"
    single = max(0, 2 - min(runs_a, runs_b))
    if bad_a == runs_a and bad_b == runs_b:
        return Decision(Verdict.SAME, f"fails with both: {text}")
    if not bad_a and bad_b == runs_b:
        return Decision(Verdict.NEW_FAILURE, text, again=single)
    if not bad_b and bad_a == runs_a:
        return Decision(Verdict.FIXED, text, again=single)
    if shift.fisher(bad_a, runs_a, bad_b, runs_b) <= _MORE_OFTEN:
        return Decision(Verdict.NEW_FAILURE, f"fails more often: {text}")
    if shift.fisher(bad_b, runs_b, bad_a, runs_a) <= _MORE_OFTEN:
        return Decision(Verdict.FIXED, f"fails less often: {text}")
    if not bad_a:
        return Decision(Verdict.UNTRUSTED, f"flaky with B only: {text}", again=2)
    return Decision(Verdict.SAME, f"flaky: {text}")


def scenario(of_outcomes: Decision | None, figures: dict[str, Compared]) -> Judged:
    """Put a scenario's outcomes and figures together."""
    if of_outcomes is not None and of_outcomes.verdict is not Verdict.SAME:
        return Judged(of_outcomes, figures)
    again = max((one.decision.again for one in figures.values()), default=0)
    for verdict in (Verdict.WORSE, Verdict.UNTRUSTED, Verdict.BETTER):
        found = {name: one for name, one in figures.items() if one.decision.verdict is verdict}
        if found:
            text = "; ".join(f"{name}: {one.decision.text}" for name, one in found.items())
            return Judged(Decision(verdict, text, again), figures)
    text = of_outcomes.text if of_outcomes is not None else "passed every time"
    blind = max((one.detectable or 0.0 for one in figures.values()), default=0.0)
    text += f"; an increase of {_ms(blind)} would have shown" if blind else ""
    return Judged(Decision(Verdict.SAME, text, again), figures)


def overall(verdicts: Iterable[Verdict]) -> tuple[Exit, str]:
    """The verdict on a version, and in one sentence why."""
    counts = Counter(verdicts)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict]) or "no scenario ran"
    if any(counts[verdict] for verdict in _BAD):
        return Exit.WORSE, said
    if counts[Verdict.UNTRUSTED] or not counts.total() - counts[Verdict.SKIPPED]:
        return Exit.CANNOT_TELL, said
    return Exit.NO_WORSE, said


def _count(found: Sequence[str]) -> tuple[int, int]:
    """Failures, and the runs that count."""
    bad = sum(one in _FAILED for one in found)
    return bad, bad + sum(one in _PASSED for one in found)


def _ms(value: float) -> str:
    return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"
