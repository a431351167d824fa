"""Makes a comparison: builds both versions, lets pytest run in turns, judges, and runs again what is not settled.

The result file is written after each run of pytest, so that an interrupted comparison goes on where it was.
"""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from harness.gate import conditions, judge, model, plan, pytest_run
from harness.gate.figures import figures
from harness.gate.model import Invocation, Result, Run, Side, Subject
from harness.gate.start import Wanted, now
from harness.results import saved
from harness.testing.pool import provenance_hash

Progress = Callable[[str], None]


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
        time_left = _left(result, len(sides) - number + 1)
        _invoke(result, wanted, side, f"run {number} of {len(sides)}{time_left}", tell)
        result.seconds = before + time.monotonic() - began
        _judge(result, wanted.runs)
        model.write(wanted.file, result)
    extra = sum(one.why == "again" for one in result.invocations) // 2
    while extra < wanted.again and (left := _judge(result, wanted.runs)):
        while left and extra < wanted.again:
            for side in plan.pair(extra):
                what = f"again {extra + 1}, {len(left)} not settled{_left(result, 1)}"
                _invoke(result, wanted, side, what, tell, again=tuple(left))
                result.seconds = before + time.monotonic() - began
                model.write(wanted.file, result)
            extra += 1
            left = {scenario: number - 1 for scenario, number in left.items() if number > 1}
    _judge(result, None)
    result.ended_at = now()
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
    paths, markers = wanted.chosen
    command = pytest_run.Command(
        subject.version,
        again or paths,
        markers,
        wanted.backend,
        wanted.timers,
        wanted.workers,
        file,
        seed,
    )
    label = f"{what}: {side}, Cilium {subject.version}"
    tell(label)
    known = len(again) or len(result.scenarios) or None

    def ended(count: int) -> None:
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
        file = conditions.topology_file(topology, Path.cwd())
        result.conditions.topologies[topology] = conditions.hashed(file)
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
