"""JSON lines: one for the run, one for each lab, with what its programs were made of, and one for each scenario."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import UserError

#: The property under which a scenario's part of the scorecard reaches the process that prints it.
SCORECARD = "lab.scorecard"


@dataclass
class Record:
    """What is known of a scenario while it runs; its phases add to it.

    Attributes:
        scenario: pytest's node id.
        outcome: passed, failed, error (outside the scenario itself), skipped, untrusted, xfailed or xpassed.
        seconds: Duration of each phase (setup, call, teardown), in seconds.
        message: Why it failed or was skipped, in a line.
        lab: The facts of its lab.
        put_back: What the scenario left behind and the reset had to put back.
        properties: What it recorded with `record_property`.
        measured: Every expectation of an outage: verdict, interval, trust, prediction, and each run's figures.
        scorecard: Its part of the scorecard, of a scenario that is marked with it.
        timeline: The file of what happened, relative to the folder of the results.
        begin_ns: When it was given its lab, nanoseconds of CLOCK_MONOTONIC.
    """

    scenario: str
    outcome: str = "passed"
    seconds: dict[str, float] = field(default_factory=dict)
    message: str | None = None
    lab: dict[str, Any] | None = None
    put_back: list[str] = field(default_factory=list)
    properties: dict[str, Any] = field(default_factory=dict)
    measured: list[dict[str, Any]] = field(default_factory=list)
    scorecard: dict[str, Any] | None = None
    timeline: str | None = None
    begin_ns: int = 0

    def line(self) -> bytes:
        """Render the record as one line of JSON, with the moment it was written (UTC)."""
        content = {
            "kind": "scenario",
            "at": _now(),
            "scenario": self.scenario,
            "family": family(self.scenario),
            "outcome": self.outcome,
            "message": self.message,
            "seconds": self.seconds,
            "lab": self.lab,
            "put_back": self.put_back,
            "properties": self.properties,
            "measured": self.measured,
            "scorecard": self.scorecard,
            "timeline": self.timeline,
        }
        return _line(content)


def family(scenario: str) -> str:
    """Tell the family of a scenario: the folder below `scenarios/`, or its file's folder elsewhere."""
    parts = Path(scenario.split("::")[0]).parts[:-1]
    if "scenarios" in parts:
        below = parts[parts.index("scenarios") + 1 :]
        return below[0] if below else "scenarios"
    return "/".join(parts) or "."


def start(path: Path) -> None:
    """Begin a file of results: empty it.

    Raises:
        UserError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    except OSError as error:
        raise UserError(f"the results cannot be written: {error.strerror}", file=path) from error


def run_line(
    *,
    arguments: Sequence[str],
    options: Mapping[str, object],
    lblab: Mapping[str, str],
    machine: Mapping[str, Any],
) -> bytes:
    """Render how a run was started: what makes it again, and on what machine and with which lblab it was made.

    Args:
        arguments: pytest's command line.
        options: What of it decides what is run, by option.
        lblab: Version and commit.
        machine: `harness.machine.facts`.
    """
    return _line(
        {
            "kind": "run",
            "at": _now(),
            "arguments": list(arguments),
            "options": options,
            "lblab": lblab,
            "machine": machine,
        }
    )


def lab_line(facts: Mapping[str, Any], provenance: Mapping[str, Any]) -> bytes:
    """Render a lab that is up: its facts, and the whole provenance that its hash stands for in the scenarios' lines."""
    return _line({"kind": "lab", "at": _now(), "lab": facts, "provenance": provenance})


def append(path: Path, line: bytes) -> None:
    """Add one line; it stays whole when several processes write, as it is one write to a file opened with O_APPEND."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, default=str, separators=(",", ":")).encode() + b"\n"
