"""Makes a comparison: builds both versions, lets pytest run in turns, judges, and runs again what is not settled.

The result file is written after each run of pytest, so that an interrupted comparison goes on where it was.
"""

from __future__ import annotations

import ast
import os
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from harness import machine
from harness.errors import UserError
from harness.gate import conditions, judge, model, plan, pytest_run
from harness.gate.figures import figures
from harness.gate.model import Invocation, Result, Run, Side, Subject
from harness.plugin import find_topology
from harness.results import saved
from harness.testing.pool import provenance_hash

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What is to be compared.

    Attributes:
        a: The version that is known, exact; with what was asked for.
        b: The version that is to be judged.
        runs: Of each version.
        selection: Paths and node ids for pytest.
        markers: A marker expression.
        file: Where the result goes.
        backend: "netns" or "kind".
        timers: "quick" or "manifest".
        workers: How many labs at once.
        again: At most so many more runs of each version, of the scenarios that are not settled.
        seed: Of the comparison.
        build: Build what is missing.
        reproduce: The command line.
    """

    a: Subject
    b: Subject
    runs: int
    selection: tuple[str, ...]
    markers: str
    file: Path
    backend: str = "netns"
    timers: str = "quick"
    workers: int = 1
    again: int = 10
    seed: int = 1
    build: bool = True
    reproduce: str = ""


def begin(wanted: Wanted, baseline: Path | None = None) -> Result:
    """A result with nothing in it yet, or with the runs of a baseline.

    Raises:
        UserError: The baseline cannot be used; says which conditions differ.
    """
    result = Result(
        begun_at=_now(),
        lblab=machine.lblab(),
        a=wanted.a,
        b=wanted.b,
        conditions=conditions.here(backend=wanted.backend, timers=wanted.timers, workers=wanted.workers),
        selection=[*wanted.selection, "-m", wanted.markers],
        runs=wanted.runs,
        seed=wanted.seed,
        reproduce=wanted.reproduce,
    )
    if baseline is not None:
        _take_baseline(result, baseline, wanted.file)
    return result


def resume(wanted: Wanted) -> Result:
    """The result of a comparison that was interrupted.

    Raises:
        UserError: There is none, or it was begun with other options or under other conditions.
    """
    found = model.read(wanted.file)
    now = conditions.here(backend=wanted.backend, timers=wanted.timers, workers=wanted.workers)
    now.topologies, now.scenario_files = _rehashed(found)
    differs = conditions.differences(found.conditions, now)
    for name, before, asked in (
        ("A", found.a.version, wanted.a.version),
        ("B", found.b.version, wanted.b.version),
        ("scenarios", shlex.join(found.selection), shlex.join([*wanted.selection, "-m", wanted.markers])),
    ):
        if before != asked:
            differs.append(f"{name}: {before} then, {asked} now")
    if differs:
        raise UserError(
            f"the comparison cannot be resumed: {'; '.join(differs)}",
            file=wanted.file,
            hint="begin anew without --resume",
        )
    found.runs = wanted.runs
    return found


def make(result: Result, wanted: Wanted, tell: Progress = lambda _: None) -> Result:
    """Run what is planned and not there yet, then what is not settled, and judge.

    Raises:
        UserError: for bad input.
        KeyboardInterrupt: the result so far is in the file.
    """
    model.write(wanted.file, result)
    if wanted.backend == "netns":
        _build(wanted, tell)
    began = time.monotonic()
    before = result.seconds
    taken = result.baseline is not None
    sides = plan.order(wanted.runs, only_b=taken)
    done = sum(one.why == "planned" for one in result.invocations)
    for number, side in enumerate(sides[done:], done + 1):
        left = _left(result, len(sides) - number + 1)
        _invoke(result, wanted, side, f"run {number} of {len(sides)}{left}", tell)
        result.seconds = before + time.monotonic() - began
        _judge(result, wanted.runs)
        model.write(wanted.file, result)
    extra = sum(one.why == "again" for one in result.invocations) // 2
    while extra < wanted.again:
        again = _judge(result, wanted.runs)
        if not again:
            break
        for _ in range(min(min(again.values()), wanted.again - extra)):
            for side in plan.pair(extra):
                what = f"again {extra + 1}, {len(again)} not settled{_left(result, 1)}"
                _invoke(result, wanted, side, what, tell, again=tuple(again))
                result.seconds = before + time.monotonic() - began
                model.write(wanted.file, result)
            extra += 1
    _judge(result, None)
    result.ended_at = _now()
    result.seconds = round(before + time.monotonic() - began, 1)
    model.write(wanted.file, result)
    return result


def _build(wanted: Wanted, tell: Progress) -> None:
    from harness import binaries

    for subject in (wanted.a, wanted.b):
        tell(f"programs of Cilium {subject.version}")
        binaries.ensure(subject.version, build=wanted.build, progress=tell)


def _invoke(result: Result, wanted: Wanted, side: Side, what: str, tell: Progress, again: tuple[str, ...] = ()) -> None:
    """One run of pytest, added to the result."""
    number = len(result.invocations)
    subject = result.a if side == "A" else result.b
    file = runs_folder(wanted.file) / f"{number:03}-{side}.jsonl"
    seed = next(islice(plan.seeds(result.seed), number, None))
    command = pytest_run.Command(
        subject.version,
        again or wanted.selection,
        wanted.markers,
        wanted.backend,
        wanted.timers,
        wanted.workers,
        file,
        seed,
    )
    label = f"{what}: {side}, Cilium {subject.version}"
    tell(label)
    known = len(again) or len(result.scenarios) or None
    shown = 0

    def ended(count: int) -> None:
        nonlocal shown
        if count != shown:
            shown = count
            tell(f"{label}, {count}{f' of {known}' if known else ''} scenarios")

    began = time.monotonic()
    code = pytest_run.run(command, ended)
    result.invocations.append(
        Invocation(
            number=number,
            side=side,
            seed=seed,
            why="again" if again else "planned",
            scenarios=list(again),
            exit_code=code,
            seconds=round(time.monotonic() - began, 1),
            results=os.path.relpath(file, wanted.file.parent),
        )
    )
    result.order += side
    _read(result, wanted, subject, side, number, file)


def _read(result: Result, wanted: Wanted, subject: Subject, side: Side, number: int, file: Path) -> None:
    """Add what a run of pytest has left to the result."""
    found = saved.load(file)
    runs = dict(judge.by_scenario((one.scenario, run) for one in result.scenarios for run in one.runs))
    for line in found.scenarios:
        timeline = found.timeline(line)
        run = Run(
            side=side,
            invocation=number,
            outcome=line.outcome,
            message=line.message,
            seconds=round(line.seconds, 2),
            at=str(line.facts.get("at", "")),
            figures=figures(line),
            timeline=None if timeline is None else os.path.relpath(timeline, wanted.file.parent),
        )
        runs.setdefault(line.name, []).append(run)
    for lab in found.labs:
        subject.programs |= lab["provenance"]
        _note_lab(result, lab["lab"])
    subject.provenance = provenance_hash(subject.programs)
    root = Path.cwd()
    for name in runs:
        path = name.split("::")[0]
        result.conditions.scenario_files.setdefault(path, conditions.hashed(root / path))
    titles = {name: _title(root, name) for name in runs}
    result.scenarios, _ = judge.judge(runs, wanted.runs, titles)


def _note_lab(result: Result, lab: dict[str, Any]) -> None:
    topology = str(lab["topology"])
    if topology not in result.conditions.topologies:
        result.conditions.topologies[topology] = conditions.hashed(find_topology(topology, Path.cwd()))
    if lab.get("metallb_version"):
        result.conditions.software["metallb"] = str(lab["metallb_version"])
    result.stand_ins = list(dict.fromkeys([*result.stand_ins, *lab.get("stand_ins", ())]))


def _judge(result: Result, planned: int | None) -> dict[str, int]:
    """Judge all that there is; gives the scenarios that want more runs."""
    runs = judge.by_scenario((one.scenario, run) for one in result.scenarios for run in one.runs)
    titles = {one.scenario: one.title for one in result.scenarios}
    result.scenarios, again = judge.judge(runs, planned, titles)
    result.verdict, result.text = judge.overall(result.scenarios)
    result.exit_code = model.CODES[result.verdict]
    return again


def _take_baseline(result: Result, file: Path, target: Path) -> None:
    """Take the runs of version A from a saved result."""
    before = model.read(file)
    sides: dict[str, Side] = {before.a.version: "A", before.b.version: "B"}
    side = sides.get(result.a.version)
    if side is None:
        has = " and ".join(sides)
        raise UserError(f"it has no runs of Cilium {result.a.version}", file=file, hint=f"it has those of {has}")
    now = result.conditions.model_copy(deep=True)
    now.topologies, now.scenario_files = _rehashed(before)
    if differs := conditions.differences(before.conditions, now):
        raise UserError(
            f"it was made under other conditions: {'; '.join(differs)}", file=file, hint="make it again here"
        )
    if shlex.join(before.selection) != shlex.join(result.selection):
        chosen, asked = shlex.join(before.selection), shlex.join(result.selection)
        raise UserError(f"it has other scenarios: {chosen}, not {asked}", file=file)
    result.a = (before.a if side == "A" else before.b).model_copy(deep=True)
    result.baseline = os.path.relpath(file, target.parent)
    runs = judge.by_scenario(
        (one.scenario, _moved(run, file.parent, target.parent))
        for one in before.scenarios
        for run in one.runs
        if run.side == side
    )
    result.scenarios, _ = judge.judge(runs, result.runs, {one.scenario: one.title for one in before.scenarios})
    result.conditions = now


def _moved(run: Run, before: Path, now: Path) -> Run:
    timeline = None if run.timeline is None else os.path.relpath(before / run.timeline, now)
    return run.model_copy(update={"side": "A", "invocation": -run.invocation - 1, "timeline": timeline})


def _rehashed(found: Result) -> tuple[dict[str, str], dict[str, str]]:
    """The topologies and scenarios of a saved result as they are now; what is gone is named so."""
    root = Path.cwd()
    topologies, files = {}, {}
    for name in found.conditions.topologies:
        try:
            topologies[name] = conditions.hashed(find_topology(name, root))
        except UserError:
            topologies[name] = "gone"
    for name in found.conditions.scenario_files:
        files[name] = conditions.hashed(root / name) if (root / name).exists() else "gone"
    return topologies, files


def _title(root: Path, scenario: str) -> str:
    """The first line of a scenario's docstring."""
    path, _, name = scenario.partition("::")
    wanted = name.partition("[")[0]
    try:
        tree = ast.parse((root / path).read_text())
    except (OSError, SyntaxError):  # it ran, so it was there; a scenario from elsewhere has no title
        return ""
    functions: Iterator[ast.FunctionDef] = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    said = next((ast.get_docstring(node) for node in functions if node.name == wanted), None)
    return (said or "").partition("\n")[0]


def _left(result: Result, runs: int) -> str:
    """How long the runs that are left will take, when that can be told."""
    took = [one.seconds for one in result.invocations if one.why == "planned"]
    return f", about {sum(took) / len(took) * runs / 60:.0f} min left" if took else ""


def runs_folder(file: Path) -> Path:
    """Where the runs of a result are: beside it."""
    return file.with_suffix(".runs")


def exact(asked: str) -> Subject:
    """The version that is meant.

    Raises:
        UserError: there is no such version.
    """
    from harness.cilium import versions

    return Subject(asked=asked, version=str(versions.resolve(asked)))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


__all__ = ["Wanted", "begin", "exact", "make", "replace", "resume", "runs_folder"]
