"""A file of results, read back: the JSON lines that `pytest --lab-results` writes (`harness.testing.results`).

Lines of a kind that is not known are skipped, so that a newer lblab's file can be read; a line that is cut off at the
end of the file is what an interrupted run leaves, and is skipped too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from harness.errors import UserError
from harness.verdict.interval import Interval, interval

#: How outcomes are counted and sorted, the worst first.
OUTCOMES = ("failed", "error", "untrusted", "xpassed", "skipped", "xfailed", "passed")


@dataclass(frozen=True)
class Figure:
    """The outages of one probe in one scenario, over the scenario's runs.

    Attributes:
        probe: The probe's name.
        outages_ms: The longest outage of each run that may be believed; of every run when there is none such.
        resolution_ms: How finely they are known.
        trusted: Whether there is a run that may be believed.
        verdict: Of the expectation that it was judged by: passed, failed or untrusted.
        reasons: Why runs may not be believed.
    """

    probe: str
    outages_ms: tuple[float, ...]
    resolution_ms: float
    trusted: bool
    verdict: str
    reasons: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What comparisons and the history call it."""
        return f"outage: {self.probe}"

    @property
    def middle_ms(self) -> float:
        """The median of the runs."""
        return median(self.outages_ms)

    @property
    def interval(self) -> Interval | None:
        """Where the middle lies with 95 % confidence; None for one run."""
        return interval(self.outages_ms)


@dataclass(frozen=True)
class Scenario:
    """One scenario's line; `facts` is the whole of it, with the fields that `harness.testing.results` names."""

    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Pytest's node id."""
        return str(self.facts["scenario"])

    @property
    def family(self) -> str:
        """The folder below `scenarios/`."""
        return str(self.facts.get("family") or ".")

    @property
    def short_name(self) -> str:
        """The node id without the family's folder, which is shown beside it."""
        return self.name.removeprefix(f"scenarios/{self.family}/")

    @property
    def outcome(self) -> str:
        """Passed, failed, error, skipped, untrusted, xfailed or xpassed."""
        return str(self.facts["outcome"])

    @property
    def message(self) -> str | None:
        """Why it failed or was skipped."""
        return self.facts.get("message")

    @property
    def lab(self) -> Mapping[str, Any]:
        """The facts of its lab; empty for a scenario that got none."""
        return self.facts.get("lab") or {}

    @property
    def cilium(self) -> str:
        """The Cilium version that it ran with; a question mark for a scenario that got no lab."""
        return str(self.lab.get("cilium_version") or "?")

    @property
    def measured(self) -> Sequence[Mapping[str, Any]]:
        """Its expectations of outages."""
        return self.facts.get("measured") or []

    @property
    def seconds(self) -> float:
        """How long it took, all phases."""
        return float(sum((self.facts.get("seconds") or {}).values()))

    @property
    def figures(self) -> tuple[Figure, ...]:
        """What its probes measured, one figure for each of their names; the first expectation of a probe counts."""
        found: dict[str, Figure] = {}
        for expectation in self.measured:
            for figure in _figures(expectation):
                found.setdefault(figure.probe, figure)
        return tuple(found.values())

    @property
    def named_figures(self) -> dict[str, Figure]:
        """Its figures by the names that comparisons and the history know them by.

        A number that the scenario recorded (`milliseconds`) is trusted as much as the scenario itself.
        """
        found = {figure.name: figure for figure in self.figures}
        for name, value in self.milliseconds.items():
            found[name] = Figure(name, (value,), 0.0, self.outcome != "untrusted", self.outcome)
        return found

    @property
    def milliseconds(self) -> dict[str, float]:
        """The numbers that the scenario recorded as properties whose names end in `_ms`."""
        properties = (self.facts.get("properties") or {}).items()
        numbers = {name: value for name, value in properties if isinstance(value, int | float)}
        return {n: float(v) for n, v in numbers.items() if n.endswith("_ms") and not isinstance(v, bool)}


def _figures(expectation: Mapping[str, Any]) -> Iterator[Figure]:
    runs = expectation.get("runs") or []
    for probe in dict.fromkeys(str(run["probe"]) for run in runs):
        own = [run for run in runs if run["probe"] == probe]
        trusted = [run for run in own if run["trust"]["trusted"]]
        counted = trusted or own
        if len(own) == len(expectation["outages_ms"]):
            # what the expectation judged, which may be only the part of a run after a moment
            judged = dict(zip(map(id, own), expectation["outages_ms"], strict=True))
            outages = tuple(float(judged[id(run)]) for run in counted)
        else:
            outages = tuple(float(run["longest_outage_ms"] or 0.0) for run in counted)
        reasons = dict.fromkeys(reason for run in own if run not in trusted for reason in run["trust"]["reasons"])
        resolution = max(float(run["resolution_ms"]) for run in own)
        yield Figure(probe, outages, resolution, bool(trusted), str(expectation["verdict"]), tuple(reasons))


@dataclass(frozen=True)
class Results:
    """A file of results.

    Attributes:
        file: The file.
        run: How the run was started and on what machine; empty in files that do not say so.
        labs: A line for each lab that came up: its facts and the provenance of its programs.
        scenarios: In the order in which they ended.
    """

    file: Path
    run: Mapping[str, Any] = field(default_factory=dict)
    labs: tuple[Mapping[str, Any], ...] = ()
    scenarios: tuple[Scenario, ...] = ()

    def timeline(self, scenario: Scenario) -> Path | None:
        """The file of a scenario's events, when it was kept."""
        kept = scenario.facts.get("timeline")
        path = self.file.parent / str(kept) if kept else None
        return path if path is not None and path.is_file() else None


def load(file: Path) -> Results:
    """Read a file of results.

    Raises:
        UserError: it cannot be read, or is no file of results; with file and line.
    """
    run: Mapping[str, Any] = {}
    labs: list[Mapping[str, Any]] = []
    scenarios: list[Scenario] = []
    for content in lines(file):
        match content.get("kind"):
            case "run":
                run = content
            case "lab":
                labs.append(content)
            case "scenario":
                scenarios.append(Scenario(content))
    if not (run or labs or scenarios):
        hint = "it is what pytest --lab-results FILE.jsonl writes"
        raise UserError("has no results in it", file=file, hint=hint)
    return Results(file, run, tuple(labs), tuple(scenarios))


def lines(file: Path) -> Iterator[dict[str, Any]]:
    """Read JSON lines that lblab wrote; one that is cut off at the end is left out.

    Raises:
        UserError: the file cannot be read, or a line is no JSON object with a `kind`.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", file=file) from error
    except UnicodeDecodeError as error:
        raise UserError("cannot be read: it is not UTF-8 text", file=file) from error
    whole, _, cut_off = text.rpartition("\n")
    for number, line in enumerate(whole.split("\n"), 1):
        if line.strip():
            yield _parsed(line, file, number)
    if cut_off.strip() and not whole:
        yield _parsed(cut_off, file, 1)


def _parsed(line: str, file: Path, number: int) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise UserError("is not a line of JSON", file=file, line=number) from error
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise UserError("is no line of results: an object with a kind", file=file, line=number)
    if content["kind"] == "scenario":
        missing = {"scenario", "outcome"} - content.keys()
        if missing:
            raise UserError(f"is a scenario without its {' and '.join(sorted(missing))}", file=file, line=number)
    return content
