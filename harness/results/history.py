"""The history of many runs: one JSON line for each scenario of each run, appended to one file."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.results import saved
from harness.results.saved import Results, Scenario

#: The environment variable that names the file, for runs that give no option.
VARIABLE = "LBLAB_HISTORY"
#: Bytes; no line of a history is as long.
_LONGEST = 1_000_000


@dataclass(frozen=True)
class Values:
    """One figure of one scenario in one run, milliseconds.

    Attributes:
        ms: What each repetition measured.
        resolution_ms: How finely that is known.
        trusted: Whether it may be believed.
    """

    ms: tuple[float, ...]
    resolution_ms: float
    trusted: bool


@dataclass(frozen=True)
class Entry:
    """One scenario in one run.

    Attributes:
        at: When it ended, UTC, ISO 8601.
        run: When its run began: equal for all scenarios of a run.
        scenario: pytest's node id.
        outcome: passed, failed, ...
        cilium: The Cilium version.
        metallb: The MetalLB version, None if none ran.
        backend: Where the lab was.
        topology: Which lab it was.
        provenance: Short hash of all programs.
        lblab: The commit of lblab, or its version.
        machine: The machine's name.
        figures: What was measured, by name.
    """

    at: str
    run: str
    scenario: str
    outcome: str
    cilium: str
    metallb: str | None
    backend: str
    topology: str
    provenance: str
    lblab: str
    machine: str
    figures: Mapping[str, Values] = field(default_factory=dict)

    def line(self) -> bytes:
        """The entry as one line of JSON."""
        facts = {name: getattr(self, name) for name in Entry.__dataclass_fields__ if name != "figures"}
        figures = {name: vars(values) for name, values in self.figures.items()}
        return json.dumps({"kind": "history", **facts, "figures": figures}, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def parse(cls, facts: Mapping[str, Any]) -> Entry:
        """Read a line back.

        Raises:
            KeyError: it lacks something.
        """
        figures = {
            name: Values(tuple(map(float, values["ms"])), float(values["resolution_ms"]), bool(values["trusted"]))
            for name, values in facts["figures"].items()
        }
        rest = {name: facts[name] for name in cls.__dataclass_fields__ if name != "figures"}
        return cls(**rest, figures=figures)


def entries(results: Results) -> Iterator[Entry]:
    """What a run adds to the history: its scenarios that had a lab."""
    about = results.run.get("lblab") or {}
    begun = str(results.run.get("at") or next((each.facts.get("at", "") for each in results.scenarios), ""))
    for scenario in results.scenarios:
        if scenario.lab:
            yield _entry(scenario, begun, about, str((results.run.get("machine") or {}).get("host", "")))


def _entry(scenario: Scenario, begun: str, about: Mapping[str, str], machine: str) -> Entry:
    lab = scenario.lab
    return Entry(
        at=str(scenario.facts.get("at", "")),
        run=begun,
        scenario=scenario.name,
        outcome=scenario.outcome,
        cilium=scenario.cilium,
        metallb=lab.get("metallb_version"),
        backend=str(lab.get("backend", "")),
        topology=str(lab.get("topology", "")),
        provenance=str(lab.get("provenance", "")),
        lblab=about.get("commit") or about.get("version", ""),
        machine=machine,
        figures={
            name: Values(figure.outages_ms, figure.resolution_ms, figure.trusted)
            for name, figure in scenario.named_figures.items()
        },
    )


def add(file: Path, results: Results) -> int:
    """Append a run to the history; what is there already is not added again.

    Returns:
        How many entries were added.

    Raises:
        UserError: the history cannot be read or written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"the history cannot be written: {error.strerror}", file=file) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # two runs that end together must not both find their lines missing
        there = {(entry.scenario, entry.at) for entry in load(file)}
        new = [entry for entry in entries(results) if (entry.scenario, entry.at) not in there]
        os.ftruncate(descriptor, _end_of_whole_lines(descriptor))
        os.write(descriptor, b"".join(entry.line() for entry in new))
    finally:
        os.close(descriptor)
    return len(new)


def _end_of_whole_lines(descriptor: int) -> int:
    """Where the last whole line ends: what a writer that was killed could not finish is overwritten."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, min(size, _LONGEST), max(0, size - _LONGEST))
    return size - len(tail) + tail.rfind(b"\n") + 1


def load(file: Path) -> list[Entry]:
    """Read a history, the oldest entry first.

    Raises:
        UserError: it cannot be read, or a line is no entry.
    """
    return sorted(_parsed(file, saved.lines(file)), key=lambda entry: entry.at)


def _parsed(file: Path, lines: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    for number, content in enumerate(lines, 1):
        if content["kind"] != "history":
            hint = f"a history is what pytest --lab-history FILE or {VARIABLE} keeps"
            raise UserError(
                f"is a line of kind '{content['kind']}', not of a history", file=file, line=number, hint=hint
            )
        try:
            yield Entry.parse(content)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"is an entry that cannot be read: {error!r}", file=file, line=number) from error
