"""Finds the first version that fails a scenario: releases by halving, then the commits between two of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import binaries
from harness.cilium.semver import Version
from harness.errors import LblabError, UserError
from harness.gate import pytest_run, releases
from harness.results import saved
from harness.verdict.bisect import Found, Search

Progress = Callable[[str], None]

#: How often a run that cannot be trusted is made again before the version is skipped.
_REPEATS = 2
_GOOD = frozenset({"passed", "xpassed"})
_BAD = frozenset({"failed", "error", "xfailed"})


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    Attributes:
        scenario: A node id.
        runs: Runs of each version; one that fails makes it bad.
        folder: Where runs are kept.
        backend: "netns".
        timers: "quick" or "manifest".
        build: Build what is missing.
    """

    scenario: str
    runs: int
    folder: Path
    backend: str = "netns"
    timers: str = "quick"
    build: bool = True


@dataclass
class Step:
    """One version that was looked at.

    Attributes:
        version: The version; of a commit its pseudo-version.
        found: What it turned out to be.
        why: What the scenario said, or why the version was skipped.
        timeline: The file of its last run's events.
    """

    version: str
    found: Found
    why: str = ""
    timeline: Path | None = None


@dataclass
class Outcome:
    """What was found.

    Attributes:
        good: The last version that passes.
        bad: The first one that fails.
        skipped: Versions between the two of which nothing is known.
        steps: All that was looked at, in order.
        note: Why it went no further, if it could have.
    """

    good: Step
    bad: Step
    skipped: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    note: str = ""


class Contradiction(LblabError):
    """An end of the search is not what it was said to be; exit code 3."""

    exit_code = 3


def search(
    wanted: Wanted, row: Sequence[Version], clone: Path | None = None, tell: Progress = lambda _: None
) -> Outcome:
    """Halve a row of releases, then the commits between the two that are left.

    Args:
        wanted: What is looked for.
        row: Releases; the first is good, the last is bad.
        clone: A clone of Cilium's repository; without one only releases are looked at.
        tell: Told what is being done.

    Raises:
        Contradiction: The good version fails, or the bad one passes.
    """
    looked: dict[str, Step] = {}
    ends = (row[0], row[-1])
    for end, expected in zip(ends, (Found.GOOD, Found.BAD), strict=True):
        tell(f"{end}, which should be {expected}")
        step = looked[str(end)] = look(wanted, end, tell)
        if step.found is not expected:
            raise Contradiction(f"Cilium {end} is {step.found}, not {expected}: {step.why}")
    found = Search([str(one) for one in row])
    by_name = {str(one): one for one in row}
    _halve(found, by_name.__getitem__, wanted, looked, tell)
    note = ""
    if clone is not None and not found.between:
        hashes = releases.commits(clone, by_name[found.last_good], by_name[found.first_bad])
        tell(f"{len(hashes)} commits between {found.last_good} and {found.first_bad}")
        found = Search([found.last_good, *hashes, found.first_bad])
        _halve(found, lambda name: releases.of_commit(clone, name), wanted, looked, tell)
    elif clone is None and not found.between:
        note = "releases only: --repository FOLDER, a clone of Cilium, goes on with the commits between the two"
    return Outcome(looked[found.last_good], looked[found.first_bad], found.between, list(looked.values()), note)


def _halve(
    found: Search[str],
    version_of: Callable[[str], Version],
    wanted: Wanted,
    looked: dict[str, Step],
    tell: Progress,
) -> None:
    while (name := found.next()) is not None:
        tell(f"{name}, {len(found.between)} between {found.last_good} and {found.first_bad}")
        looked[name] = look(wanted, version_of(name), tell)
        tell(f"{name} is {looked[name].found}{': ' if looked[name].why else ''}{looked[name].why}")
        found.known[name] = looked[name].found


def look(wanted: Wanted, version: Version, tell: Progress) -> Step:
    """Run the scenario with a version."""
    name = str(version)
    try:
        binaries.ensure(name, build=wanted.build, progress=tell)
    except UserError as error:
        return Step(name, Found.SKIPPED, str(error).splitlines()[0])
    step = Step(name, Found.SKIPPED)
    number = passed = repeats = 0
    while passed < wanted.runs:
        file = wanted.folder / f"{name}-{number}.jsonl"
        number += 1
        # pytest's expression takes every scenario: this one was named
        command = pytest_run.Command(
            name, [wanted.scenario], "slow or not slow", wanted.backend, wanted.timers, 1, file, number
        )
        pytest_run.run(command)
        results = saved.load(file)
        lines = results.scenarios
        if len(lines) != 1:
            raise UserError(f"{wanted.scenario} is {len(lines)} scenarios, not one", hint="give one node id")
        step.why = (lines[0].message or "").partition("\n")[0]
        step.timeline = results.timeline(lines[0])
        if lines[0].outcome in _BAD:
            step.found = Found.BAD
            return step
        if lines[0].outcome in _GOOD:
            passed += 1
        elif lines[0].outcome == "skipped" or (repeats := repeats + 1) > _REPEATS:
            return step
    step.found = Found.GOOD
    return step
