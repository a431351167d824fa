"""How a comparison begins: with nothing, with the runs of a saved baseline, or where it was interrupted."""

from __future__ import annotations

import functools
import os
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness import machine
from harness.cilium import versions
from harness.errors import UserError
from harness.gate import conditions, judge, model
from harness.gate.model import Result, Run, Side, Subject
from harness.gate.selection import selection

#: The marker of the quick scenarios that cover every family.
GATE = "gate"
#: What the default run of pytest leaves out, too (pyproject.toml).
_QUICK, _ALL = "not slow", "slow or not slow"


@dataclass(frozen=True)
class Wanted:
    """What is to be compared.

    Attributes:
        a: The version that is known.
        b: The version that is to be judged.
        runs: Of each version.
        scenarios: As they were asked for: paths, node ids, families, marker expressions.
        file: Where the result goes.
        slow: With slow scenarios, too.
        backend: "netns" or "kind".
        timers: "quick" or "manifest".
        workers: How many labs at once.
        again: At most so many more runs of each version, of the scenarios that are not settled.
        seed: Of the comparison.
        build: Build what is missing.
    """

    a: Subject
    b: Subject
    runs: int
    scenarios: tuple[str, ...]
    file: Path
    slow: bool = False
    backend: str = "netns"
    timers: str = "quick"
    workers: int = 1
    again: int = 10
    seed: int = 1
    build: bool = True

    @functools.cached_property
    def chosen(self) -> tuple[tuple[str, ...], str]:
        """Paths and node ids, and the marker expression that pytest is told.

        Raises:
            UserError: there is no such scenario.
        """
        return selection(self.scenarios or (GATE,), Path.cwd(), _ALL if self.slow else _QUICK)

    @property
    def selection(self) -> list[str]:
        """The same as a result has it."""
        paths, markers = self.chosen
        return [*paths, "-m", markers]

    @property
    def reproduce(self) -> str:
        """The command that makes the comparison again."""
        parts = ["lblab", "compare", self.a.version, self.b.version, "--runs", str(self.runs)]
        parts += [part for one in self.scenarios for part in ("--scenarios", one)]
        parts += ["--slow"] if self.slow else []
        for option, value, usual in (
            ("--backend", self.backend, "netns"),
            ("--timers", self.timers, "quick"),
            ("--workers", str(self.workers), "1"),
        ):
            parts += [option, value] if value != usual else []
        return shlex.join([*parts, "--seed", str(self.seed)])


def begin(wanted: Wanted, baseline: Path | None = None) -> Result:
    """A result with nothing in it yet, or with the runs of a baseline.

    Raises:
        UserError: The baseline cannot be used; says which conditions differ.
    """
    result = Result(
        begun_at=now(),
        lblab=machine.lblab(),
        a=wanted.a,
        b=wanted.b,
        conditions=conditions.here(backend=wanted.backend, timers=wanted.timers, workers=wanted.workers),
        selection=wanted.selection,
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
    here = conditions.here(backend=wanted.backend, timers=wanted.timers, workers=wanted.workers)
    here.topologies, here.scenario_files = _rehashed(found)
    differs = conditions.differences(found.conditions, here)
    for name, before, asked in (
        ("A", found.a.version, wanted.a.version),
        ("B", found.b.version, wanted.b.version),
        ("scenarios", shlex.join(found.selection), shlex.join(wanted.selection)),
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


def _take_baseline(result: Result, file: Path, target: Path) -> None:
    """Take the runs of version A from a saved result."""
    before = model.read(file)
    sides: dict[str, Side] = {before.a.version: "A", before.b.version: "B"}
    side = sides.get(result.a.version)
    if side is None:
        has = " and ".join(sides)
        raise UserError(f"it has no runs of Cilium {result.a.version}", file=file, hint=f"it has those of {has}")
    here = result.conditions.model_copy(deep=True)
    here.topologies, here.scenario_files = _rehashed(before)
    if differs := conditions.differences(before.conditions, here):
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
    result.conditions = here


def _moved(run: Run, before: Path, after: Path) -> Run:
    timeline = None if run.timeline is None else os.path.relpath(before / run.timeline, after)
    return run.model_copy(update={"side": "A", "invocation": -run.invocation - 1, "timeline": timeline})


def _rehashed(found: Result) -> tuple[dict[str, str], dict[str, str]]:
    """The topologies and scenarios of a saved result as they are now; what is gone is named so."""
    root = Path.cwd()
    topologies = {name: conditions.hashed(conditions.topology_file(name, root)) for name in found.conditions.topologies}
    files = {name: conditions.hashed(root / name) for name in found.conditions.scenario_files}
    return topologies, files


def exact(asked: str) -> Subject:
    """The version that is meant.

    Raises:
        UserError: there is no such version.
    """
    return Subject(asked=asked, version=str(versions.resolve(asked)))


def now() -> str:
    """This moment, UTC, as results have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
