"""A report's parts from a saved comparison of two versions (`lblab compare --json`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from harness.gate.model import Comparison, Exit, Result, Run, Scenario, Verdict
from harness.report import pictures
from harness.report.page import Card, Cell, Headline, Judged, Matrix, Point, Row, Tone
from harness.report.pictures import Picture
from harness.report.units import between, change, duration

TONES = {
    Verdict.BETTER: Tone.GOOD,
    Verdict.FIXED: Tone.GOOD,
    Verdict.SAME: Tone.PLAIN,
    Verdict.WORSE: Tone.BAD,
    Verdict.NEW_FAILURE: Tone.BAD,
    Verdict.UNTRUSTED: Tone.DOUBT,
    Verdict.SKIPPED: Tone.DOUBT,
}
_EXITS = {Exit.NO_WORSE: Tone.GOOD, Exit.WORSE: Tone.BAD, Exit.CANNOT_TELL: Tone.DOUBT}
#: The worst first, as a reader wants them.
_ORDER = (
    Verdict.NEW_FAILURE,
    Verdict.WORSE,
    Verdict.UNTRUSTED,
    Verdict.FIXED,
    Verdict.BETTER,
    Verdict.SAME,
    Verdict.SKIPPED,
)
#: Failures' own words that a card shows; they mostly differ in moments only.
_MESSAGES = 3
#: An expected failure is one: what is expected is a version's fault (`harness.verdict.compare`).
_FAILED = ("failed", "error", "xfailed")


def ordered(result: Result) -> list[Scenario]:
    """The scenarios, the worst first."""
    return sorted(result.scenarios, key=lambda each: (_ORDER.index(each.verdict), each.scenario))


def anchor(result: Result, scenario: Scenario) -> str:
    """The name of a scenario's card."""
    return f"c{result.scenarios.index(scenario) + 1}"


def columns(result: Result) -> tuple[str, str]:
    """What the two sides are called: by their versions, or where those are equal, A and B."""
    a, b = result.a.version, result.b.version
    return (f"Cilium {a}, A", f"Cilium {b}, B") if a == b else (f"Cilium {a}", f"Cilium {b}")


def headline(result: Result) -> Headline:
    """The verdict, and each scenario that is not the same."""
    a, b = columns(result)
    counts = Counter(each.verdict for each in result.scenarios)
    about = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in _ORDER if counts[verdict])
    points = tuple(
        Point(each.scenario, each.text, TONES[each.verdict], anchor(result, each))
        for each in ordered(result)
        if each.verdict not in (Verdict.SAME, Verdict.SKIPPED)
    )
    text = f"{b} against {a}: {result.verdict.value}"
    return Headline(_EXITS[result.verdict], text, result.text or about, points)


def matrix(result: Result) -> Matrix:
    """Scenarios against the two versions and the verdict."""
    families: dict[str, list[Row]] = {}
    for each in sorted(result.scenarios, key=lambda one: one.scenario):
        name = each.scenario.removeprefix(f"scenarios/{each.family}/")
        here = anchor(result, each)
        first = each.comparisons[0] if each.comparisons else None
        verdict = Cell(TONES[each.verdict], each.verdict.value, _effect(first), _noise(first), here)
        cells = (
            _side(each.a, first.a_ms if first else [], here),
            _side(each.b, first.b_ms if first else [], here),
            verdict,
        )
        families.setdefault(each.family, []).append(Row(name, cells))
    return Matrix((*columns(result), "B against A"), {name: tuple(rows) for name, rows in sorted(families.items())})


def _side(outcomes: dict[str, int], values: Sequence[float], here: str) -> Cell | None:
    if not outcomes:
        return None
    failed = any(outcomes.get(outcome) for outcome in _FAILED)
    doubtful = not outcomes.get("passed") and not outcomes.get("xpassed")
    tone = Tone.BAD if failed else Tone.DOUBT if doubtful else Tone.GOOD
    word = ", ".join(outcomes) if len(outcomes) == 1 else ", ".join(f"{n} {name}" for name, n in outcomes.items())
    if not values:
        return Cell(tone, word, anchor=here)
    return Cell(tone, word, duration(median(values)), between(min(values), max(values)), here)


def _effect(first: Comparison | None) -> str:
    return "" if first is None or first.effect_ms is None else change(first.effect_ms)


def _noise(first: Comparison | None) -> str:
    return "" if first is None or first.noise_ms is None else f"noise {duration(first.noise_ms)}"


def cards(result: Result, folder: Path, most: int) -> Iterator[Card]:
    """A card for each scenario, the worst first.

    Args:
        result: The comparison.
        folder: Where its file is; timelines are relative to it.
        most: How many events each picture may show.
    """
    for each in ordered(result):
        first = each.comparisons[0] if each.comparisons else None
        messages = dict.fromkeys(run.message for run in each.runs if run.outcome in _FAILED and run.message)
        yield Card(
            anchor=anchor(result, each),
            name=each.scenario.removeprefix(f"scenarios/{each.family}/"),
            family=each.family,
            tone=TONES[each.verdict],
            word=each.verdict.value,
            figure=_effect(first),
            text="\n".join([text for text in (each.title, each.text) if text]),
            judged=tuple(map(_judged, each.comparisons)),
            pictures=tuple(_pictures(result, each, folder, most)),
            notes=tuple(messages)[:_MESSAGES],
        )


def picture_count(result: Result) -> int:
    """How many pictures `cards` makes at most."""
    return sum(len(_telling(each)) for each in result.scenarios)


def _judged(each: Comparison) -> Judged:
    values = [("A", _listed(each.a_median_ms, each.a_ms)), ("B", _listed(each.b_median_ms, each.b_ms))]
    if each.effect_ms is not None:
        about = f" ({change(each.interval_ms.low)} to {change(each.interval_ms.high)})" if each.interval_ms else ""
        values.append(("B - A", change(each.effect_ms) + about))
    if each.noise_ms is not None:
        values.append(("noise floor", duration(each.noise_ms)))
    if each.detectable_ms is not None:
        values.append(("least increase seen", duration(each.detectable_ms)))
    return Judged(each.name, TONES[each.verdict], each.verdict.value, tuple(values), each.text)


def _listed(middle: float | None, values: Sequence[float]) -> str:
    if not values:
        return "-"
    runs = ", ".join(duration(value) for value in values[:12]) + (", …" if len(values) > 12 else "")
    return runs if middle is None or len(values) == 1 else f"{duration(middle)} (runs: {runs})"


def _telling(scenario: Scenario) -> list[Run]:
    """The runs whose timelines say most: for a difference one of each side, else one of B."""
    sides = ("B",) if scenario.verdict in (Verdict.SAME, Verdict.SKIPPED) else ("A", "B")
    found = []
    for side in sides:
        runs = [run for run in scenario.runs if run.side == side and run.timeline]
        failed = [run for run in runs if run.outcome in _FAILED]
        by_figure = sorted(runs, key=lambda run: run.figures[0].ms if run.figures else 0.0)
        chosen = failed[:1] or by_figure[len(by_figure) // 2 :][:1]
        found += chosen
    return found


def _pictures(result: Result, scenario: Scenario, folder: Path, most: int) -> Iterator[Picture]:
    names = dict(zip(("A", "B"), columns(result), strict=True))
    for run in _telling(scenario):
        file = folder / str(run.timeline)
        title = f"{names[run.side]}: {run.outcome}"
        picture = pictures.draw(file, title=title, most=most) if file.is_file() else None
        if picture is not None:
            yield picture
