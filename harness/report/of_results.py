"""A report's parts from files of results: verdict, matrix of scenarios and versions, a card for each scenario."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report import pictures, reproduce
from harness.report.page import Card, Cell, Headline, Judged, Matrix, Point, Row, Tone
from harness.report.units import between, duration, spread
from harness.results.saved import OUTCOMES, Figure, Results, Scenario

TONES = {
    "passed": Tone.GOOD,
    "xfailed": Tone.GOOD,
    "failed": Tone.BAD,
    "error": Tone.BAD,
    "xpassed": Tone.BAD,
    "untrusted": Tone.DOUBT,
    "skipped": Tone.DOUBT,
}
_WORST_FIRST = {outcome: place for place, outcome in enumerate(OUTCOMES)}


@dataclass(frozen=True)
class Told:
    """A scenario of a file, with the column that it stands in and the card that tells of it."""

    results: Results
    scenario: Scenario
    column: str
    anchor: str


def tell(files: Sequence[Results]) -> list[Told]:
    """Number the scenarios of all files, and say in which column each stands.

    A column is a Cilium version; with another backend than netns, or when two files ran the same version, it says so.
    """
    labelled = [(results, scenario, _column(scenario)) for results in files for scenario in results.scenarios]
    versions = {results.file: {column for each, _, column in labelled if each is results} for results in files}
    shared = {column for column in set().union(*versions.values()) if sum(column in v for v in versions.values()) > 1}
    return [
        Told(results, scenario, f"{column}, {results.file.stem}" if column in shared else column, f"s{number}")
        for number, (results, scenario, column) in enumerate(labelled, 1)
    ]


def _column(scenario: Scenario) -> str:
    backend = str(scenario.lab.get("backend", "netns"))
    return f"Cilium {scenario.cilium}" + (f" on {backend}" if backend != "netns" else "")


def headline(told: Sequence[Told]) -> Headline:
    """What all of it says, in a sentence."""
    counts = Counter(each.scenario.outcome for each in told)
    bad = [each for each in told if TONES[each.scenario.outcome] is Tone.BAD]
    doubtful = [each for each in told if each.scenario.outcome == "untrusted"]
    ran = len(told) - counts["skipped"]
    if bad:
        tone, text = Tone.BAD, f"{_scenarios(len(bad), ran)} failed"
    elif not ran:
        tone, text = Tone.DOUBT, "nothing ran: every scenario was skipped" if told else "nothing ran"
    elif doubtful:
        tone, text = Tone.DOUBT, f"no failure, but {_scenarios(len(doubtful), ran)} cannot be trusted"
    else:
        tone, text = Tone.GOOD, f"all {ran} scenarios passed" if ran > 1 else "the scenario passed"
    about = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    points = [
        Point(each.scenario.name, first_line(each.scenario.message), TONES[each.scenario.outcome], each.anchor)
        for each in (*bad, *doubtful)
    ]
    return Headline(tone, text[0].upper() + text[1:], about, tuple(points))


def _scenarios(some: int, of: int) -> str:
    return f"{some} of {of} scenarios" if of > 1 else "the scenario"


def first_line(message: str | None) -> str:
    """A failure's first line, without the name of its exception."""
    text = (message or "").strip().partition("\n")[0]
    return text.removeprefix("AssertionError: ")


def matrix(told: Sequence[Told]) -> Matrix:
    """Scenarios against versions."""
    columns = tuple(dict.fromkeys(each.column for each in told))
    found: dict[str, dict[str, dict[str, Told]]] = {}
    for each in told:
        found.setdefault(each.scenario.family, {}).setdefault(each.scenario.short_name, {})[each.column] = each
    families = {
        family: tuple(
            Row(name, tuple(_cell(by_column[column]) if column in by_column else None for column in columns))
            for name, by_column in sorted(scenarios.items())
        )
        for family, scenarios in sorted(found.items())
    }
    return Matrix(columns, families)


def _cell(told: Told) -> Cell:
    scenario = told.scenario
    shown = _shown(scenario)
    figure = ", ".join(duration(each.middle_ms) for each in shown)
    note = spread(shown[0].interval) if len(shown) == 1 else ", ".join(each.probe for each in shown)
    return Cell(TONES[scenario.outcome], scenario.outcome, figure, note, told.anchor)


def _shown(scenario: Scenario) -> tuple[Figure, ...]:
    """The figures that stand for a scenario: at most three."""
    return scenario.figures[:3]


def cards(told: Sequence[Told], most: int) -> Iterator[Card]:
    """A card for each scenario, those that failed first.

    Args:
        told: The scenarios.
        most: How many events each picture may show.
    """
    for each in sorted(told, key=lambda one: (_WORST_FIRST[one.scenario.outcome], one.scenario.family)):
        scenario = each.scenario
        file = each.results.timeline(scenario)
        picture = pictures.draw(file, title=scenario.name, most=most) if file else None
        yield Card(
            anchor=each.anchor,
            name=scenario.short_name,
            family=scenario.family,
            tone=TONES[scenario.outcome],
            word=scenario.outcome,
            figure=", ".join(duration(figure.middle_ms) for figure in _shown(scenario)),
            text=scenario.message or "",
            judged=tuple(_judged(scenario.measured)),
            pictures=(picture,) if picture else (),
            notes=tuple(_notes(scenario)),
            commands=(reproduce.one(scenario, each.results),),
        )


def _judged(measured: Sequence[Mapping[str, Any]]) -> Iterator[Judged]:
    """What was expected, beside what was measured; expectations about one and the same measurement stand together."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for expectation in measured:
        probes = ", ".join(dict.fromkeys(str(run["probe"]) for run in expectation.get("runs") or [])) or "outage"
        groups.setdefault((probes, _measured(expectation)), []).append(expectation)
    for (probes, figure), group in groups.items():
        values = [("expected", str(each["expected"])) for each in group] + [("measured", figure)]
        values += dict.fromkeys(value for each in group for value in _rest(each))
        verdict = min((str(each["verdict"]) for each in group), key=OUTCOMES.index)
        yield Judged(probes, TONES[verdict], verdict, tuple(values))


def _measured(expectation: Mapping[str, Any]) -> str:
    outages = [float(value) for value in expectation["outages_ms"]]
    about = expectation.get("interval_ms")
    text = duration(about["middle"] if about else outages[0]) if outages else "-"
    if about and about["high"] > about["low"]:
        text += f" ({between(about['low'], about['high'])})"
    return text


def _rest(expectation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if predicted := expectation.get("prediction"):
        span = between(predicted["low_ms"], predicted["high_ms"])
        yield "predicted", f"{span}: {predicted['formula']} ({predicted['source']})"
    if expectation.get("finding"):
        yield "finding", str(expectation["finding"])
    for text in dict.fromkeys(text for text in expectation.get("trust") or [] if text != "trusted"):
        yield "trust", text


def _notes(scenario: Scenario) -> Iterator[str]:
    lab = scenario.lab
    if lab:
        metallb = f", MetalLB {lab['metallb_version']}" if lab.get("metallb_version") else ""
        yield (
            f"{lab.get('topology', '?')} on {lab.get('backend', '?')}, Cilium {scenario.cilium}{metallb}, programs "
            f"{lab.get('provenance', '?')}; took {scenario.seconds:.1f} s"
        )
    for name, value in (scenario.facts.get("properties") or {}).items():
        yield f"{name}: {value}"
    for text in scenario.facts.get("put_back") or []:
        yield f"left behind and put back: {text}"
