"""Running the same scenarios on both backends, and making a record of what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.conformance import Record
from harness.errors import LabError, UserError
from harness.verdict import conformance
from harness.verdict.conformance import Row, State

#: The fixed set: routes and next hops, bits and subcodes, detection and outage times. Their topologies have the same
#: nodes, so that one cluster serves all.
SCENARIOS = (
    "scenarios/conformance",
    "scenarios/advertisement/test_address.py",
    "scenarios/advertisement/test_traffic_policy.py",
    "scenarios/graceful_restart/test_agent.py",
    "scenarios/graceful_restart/test_link.py",
)
#: pytest's exit codes of a run that has results: all passed, or some failed.
_RAN = (0, 1)


def run(backend: str, scenarios: Sequence[str], results: Path, options: Sequence[str]) -> None:
    """Run scenarios on a backend; what they print goes to standard error as it comes.

    Args:
        backend: netns or kind.
        scenarios: Files and node ids, as pytest takes them.
        results: Where the lines of results go.
        options: More of pytest's options.

    Raises:
        UserError: There are no such scenarios here, or pytest refuses an option.
        LabError: pytest ended otherwise.
    """
    for one in scenarios:
        if not Path(one.partition("::")[0]).exists():
            raise UserError(f"there is no {one} here", hint="run it in lblab's own folder")
    argv = [sys.executable, "-m", "pytest", *scenarios, f"--lab-backend={backend}", f"--lab-results={results}"]
    done = subprocess.run([*argv, "-q", "-p", "no:cacheprovider", *options], stdout=sys.stderr, check=False)
    if done.returncode in _RAN:
        return
    if done.returncode == 4:  # pytest.ExitCode.USAGE_ERROR: it has said why
        raise UserError(f"pytest did not run the scenarios on {backend}: see above")
    raise LabError(f"pytest on {backend} ended with exit code {done.returncode}: see above")


def read(path: Path) -> list[dict[str, Any]]:
    """Read a file of results.

    Raises:
        UserError: It is not there, or holds something else.
    """
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise UserError(f"the results cannot be read: {error.strerror}", file=path) from error
    except ValueError:
        raise UserError("these are no results of pytest --lab-results", file=path) from None


def record(embedded: Iterable[dict[str, Any]], kind: Iterable[dict[str, Any]]) -> tuple[Record, list[Row]]:
    """Compare two runs.

    Raises:
        UserError: They are not of the backends that they are given as, or not of one Cilium version.
    """
    lines = {"netns": list(embedded), "kind": list(kind)}
    labs = {backend: _labs(found) for backend, found in lines.items()}
    versions = set()
    for backend, found in labs.items():
        if not found or {lab["backend"] for lab in found} != {backend}:
            raise UserError(f"these are no results of a run with --lab-backend {backend}")
        versions |= {lab["cilium_version"] for lab in found}
    if len(versions) > 1:
        raise UserError(f"the runs are of different Cilium versions: {', '.join(sorted(versions))}")
    rows = conformance.compare(conformance.figures(lines["netns"]), conformance.figures(lines["kind"]))
    counts = conformance.count(rows)
    made = Record(
        cilium=versions.pop(),
        kubernetes=_kubernetes(lines["kind"]),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        holds=counts[State.HOLDS],
        explained=counts[State.EXPLAINED],
        differs=counts[State.DIFFERS],
        unknown=counts[State.UNKNOWN],
        embedded=labs["netns"],
        kind=labs["kind"],
        rows=[row.facts() for row in rows],
    )
    return made, rows


def _labs(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = ("topology", "backend", "cilium_version", "provenance", "timers", "stand_ins", "stages")
    found = [line["lab"] for line in lines if line.get("kind") == "lab"]
    return [{name: lab.get(name) for name in kept} for lab in found]


def _kubernetes(lines: Iterable[dict[str, Any]]) -> str:
    for line in lines:
        if line.get("kind") == "lab":
            return str((line.get("provenance") or {}).get("kubernetes", {}).get("version", "?"))
    return "?"
