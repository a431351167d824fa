"""What a report says of machines, labs, programs and trust."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness import conformance
from harness.gate.model import Result, Subject
from harness.report.page import Fact
from harness.results.saved import Results


def facts(files: Sequence[Results], result: Result | None) -> tuple[Fact, ...]:
    """Machines, lblab, labs, versions and what was built from what."""
    found: dict[str, dict[str, None]] = {}

    def add(name: str, values: Iterable[str]) -> None:
        for value in values:
            found.setdefault(name, {})[value] = None

    for results in files:
        add("machine", _machine(results.run.get("machine")))
        add("lblab", _lblab(results.run.get("lblab")))
        add("run", _when(results))
        for line in results.labs:
            add("labs", [_lab(line["lab"])])
            add("programs", _programs(line.get("provenance") or {}))
            add("timers cut down", line["lab"].get("timers") or [])
            if line["lab"].get("backend") == "netns":
                add("embedded figures", [conformance.sentence(str(line["lab"].get("cilium_version")))])
    if result is not None:
        conditions = result.conditions
        add("machine", _machine(conditions.machine))
        add("lblab", _lblab(result.lblab))
        add("run", [f"{result.begun_at} to {result.ended_at}, {result.seconds / 60:.1f} min"])
        add("compared", [_subject("A", result.a), _subject("B", result.b)])
        add("order", [f"{result.order}, {result.runs} runs of each, seed {result.seed}"])
        add("timers", [conditions.timers])
        add("software", [f"{name} {version}" for name, version in conditions.software.items()])
        add("topologies", [f"{name} {digest}" for name, digest in conditions.topologies.items()])
        for subject in (result.a, result.b):
            add("programs", _programs(subject.programs))
            if conditions.backend == "netns":
                add("embedded figures", [conformance.sentence(subject.version)])
        if result.baseline:
            add("baseline", [result.baseline])
    return tuple(Fact(name, tuple(values)) for name, values in found.items())


def stand_ins(files: Sequence[Results], result: Result | None) -> tuple[str, ...]:
    """What in the labs is not the real thing."""
    named = [text for results in files for line in results.labs for text in line["lab"].get("stand_ins") or []]
    return tuple(dict.fromkeys([*named, *(result.stand_ins if result else [])]))


def doubts(files: Sequence[Results], result: Result | None) -> tuple[str, ...]:
    """How many runs may not be believed, and why not."""
    runs = [
        (run["trust"]["trusted"], run["trust"]["reasons"])
        for results in files
        for scenario in results.scenarios
        for expectation in scenario.measured
        for run in expectation.get("runs") or []
    ]
    if result is not None:
        figures = [each for scenario in result.scenarios for run in scenario.runs for each in run.figures]
        runs += [(figure.trusted, figure.reasons) for figure in figures]
    if not runs:
        return ("No outage was measured, so there is nothing to trust or to doubt.",)
    doubted = [reasons for trusted, reasons in runs if not trusted]
    if not doubted:
        return (f"All {len(runs)} measurements can be trusted.",)
    reasons = dict.fromkeys(reason for reasons in doubted for reason in reasons)
    return (f"{len(doubted)} of {len(runs)} measurements cannot be trusted:", *list(reasons)[:12])


def _machine(about: Mapping[str, Any] | None) -> Iterator[str]:
    if about:
        parts = [
            str(about.get("host", "")),
            f"{about.get('cores', '?')} cores, {about.get('cpu', '?')}",
            f"{about.get('memory_gib', '?')} GiB",
            f"Linux {about.get('kernel', '?')}",
            *([f"Python {about['python']}"] if about.get("python") else []),
        ]
        yield ", ".join(part for part in parts if part)


def _lblab(about: Mapping[str, Any] | None) -> Iterator[str]:
    if about:
        yield about.get("version", "?") + (f", commit {about['commit']}" if about.get("commit") else "")


def _when(results: Results) -> Iterator[str]:
    times = [str(scenario.facts["at"]) for scenario in results.scenarios if scenario.facts.get("at")]
    if times:
        begin = str(results.run.get("at") or times[0])
        yield f"{begin[:19]} to {max(times)[:19]} UTC ({results.file.name})"


def _lab(lab: Mapping[str, Any]) -> str:
    metallb = f", MetalLB {lab['metallb_version']}" if lab.get("metallb_version") else ""
    cilium = f"Cilium {lab.get('cilium_version', '?')}"
    return f"{lab.get('topology', '?')} on {lab.get('backend', '?')}: {cilium}{metallb}, programs {lab['provenance']}"


def _subject(side: str, subject: Subject) -> str:
    asked = f", asked for as {subject.asked}" if subject.asked != subject.version else ""
    return f"{side}: Cilium {subject.version}{asked}, programs {subject.provenance}"


def _programs(provenance: Mapping[str, Any]) -> Iterator[str]:
    for name, about in provenance.items():
        if not isinstance(about, Mapping):
            yield f"{name} {about}"
            continue
        made = f"{about['program']} {about['version']} (content {about['content']})" if "program" in about else name
        yield made + (f", {about['go']}" if about.get("go") else "")
        for text in about.get("substitutions") or []:
            yield f"{about.get('program', name)}: {text}"
