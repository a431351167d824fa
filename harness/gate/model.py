"""The result of `lblab compare`, as it is saved: what was run under which conditions, every figure, every verdict.

Durations are milliseconds unless a name says seconds. Paths are relative to the folder of the result file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UserError
from harness.verdict.compare import Exit, Verdict

__all__ = [
    "CODES",
    "FORMAT",
    "Comparison",
    "Conditions",
    "Exit",
    "Figure",
    "Interval",
    "Invocation",
    "Result",
    "Run",
    "Scenario",
    "Side",
    "Subject",
    "Verdict",
    "read",
    "write",
]

#: Raised when a field changes its meaning; a reader refuses a number that it does not know.
FORMAT = 1

Side = Literal["A", "B"]


#: Exit codes of `lblab compare`; 2 is bad input, of which there is no result.
CODES = {Exit.NO_WORSE: 0, Exit.WORSE: 1, Exit.CANNOT_TELL: 3}


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Figure(_Model):
    """One number of one run: a probe's outage, or a property in milliseconds that the scenario recorded."""

    #: "outage: both", "time_to_first_route_ms": what it is called in every run of the scenario.
    name: str
    ms: float
    #: How finely it is known.
    resolution_ms: float = 0.0
    lost: int | None = None
    trusted: bool = True
    #: Why it is not trusted.
    reasons: list[str] = Field(default_factory=list)
    #: What the timers predict.
    predicted_low_ms: float | None = None
    predicted_high_ms: float | None = None


class Run(_Model):
    """One scenario in one run of pytest."""

    side: Side
    #: Which pytest run of the comparison it was, counted from 0: the position in `Result.order`. Runs that were taken
    #: from a baseline are counted downwards from -1.
    invocation: int
    #: passed, failed, error, skipped, untrusted, xfailed or xpassed.
    outcome: str
    #: Why it failed, was skipped or untrusted.
    message: str | None = None
    seconds: float = 0.0
    #: UTC, ISO 8601.
    at: str = ""
    figures: list[Figure] = Field(default_factory=list)
    #: The events of its timeline (JSON lines); the picture has the same name with `.svg`.
    timeline: str | None = None


class Interval(_Model):
    """Where a true value lies with the confidence that the method names."""

    low: float
    high: float
    method: str


class Comparison(_Model):
    """One figure of a scenario, B against A."""

    name: str
    verdict: Verdict
    #: In one sentence, with the numbers.
    text: str
    a_ms: list[float]
    b_ms: list[float]
    #: Medians of the trusted runs; None where there is none.
    a_median_ms: float | None = None
    b_median_ms: float | None = None
    #: B - A, positive when B takes longer.
    effect_ms: float | None = None
    #: Of the effect.
    interval_ms: Interval | None = None
    #: What groups of so many runs of one and the same version differ by, 95 times of 100.
    noise_ms: float | None = None
    #: The least increase that these runs would have shown to be worse.
    detectable_ms: float | None = None


class Scenario(_Model):
    """One scenario, over all runs of both versions."""

    #: pytest's node id.
    scenario: str
    family: str
    #: The first line of its docstring.
    title: str = ""
    verdict: Verdict
    #: In one sentence.
    text: str
    #: How often it passed, failed, ... by outcome.
    a: dict[str, int] = Field(default_factory=dict)
    b: dict[str, int] = Field(default_factory=dict)
    comparisons: list[Comparison] = Field(default_factory=list)
    runs: list[Run] = Field(default_factory=list)


class Subject(_Model):
    """One of the two versions."""

    #: As it was asked for: "1.19".
    asked: str
    #: The exact version that ran: "1.19.4".
    version: str
    #: Short hash of all programs (harness.testing.pool.provenance_hash), as in each lab's facts.
    provenance: str = ""
    #: What was built from what, by program.
    programs: dict[str, Any] = Field(default_factory=dict)


class Conditions(_Model):
    """What has to be equal for two results to be compared."""

    backend: str
    #: Host name, CPU model, cores, kernel, memory in GiB.
    machine: dict[str, Any]
    #: Hash of each topology file with the manifests it names, by name.
    topologies: dict[str, str]
    #: "quick" or "manifest".
    timers: str
    #: Versions of what is not compared: FRR, Kubernetes, MetalLB, Python.
    software: dict[str, str]
    #: pytest workers that ran at once.
    workers: int = 1
    #: Hash of each file of scenarios with its shared fixtures, by path.
    scenario_files: dict[str, str] = Field(default_factory=dict)


class Invocation(_Model):
    """One run of pytest."""

    number: int
    side: Side
    #: Seed of Python's hashes in the tests; what the daemons draw (GoBGP's jitter) has none.
    seed: int
    #: "planned", or "again": scenarios that were untrusted or whose outcome was not yet clear.
    why: Literal["planned", "again"] = "planned"
    #: The scenarios: node ids for "again", empty for all.
    scenarios: list[str] = Field(default_factory=list)
    #: pytest's exit code.
    exit_code: int | None = None
    seconds: float = 0.0
    #: Its JSON lines (`--lab-results`).
    results: str | None = None


class Result(_Model):
    """A whole comparison."""

    kind: Literal["gate"] = "gate"
    format: int = FORMAT
    #: UTC, ISO 8601; not ended: the comparison was interrupted, and `--resume` goes on with it.
    begun_at: str = ""
    ended_at: str = ""
    #: lblab's own version and git commit.
    lblab: dict[str, str] = Field(default_factory=dict)
    a: Subject
    b: Subject
    conditions: Conditions
    #: What pytest was told to run: an expression of markers, paths or node ids.
    selection: list[str]
    #: Runs of each version that were asked for.
    runs: int
    #: Seed of the comparison; each invocation's is derived from it.
    seed: int
    #: "ABBA...": the sides in the order in which they ran.
    order: str = ""
    invocations: list[Invocation] = Field(default_factory=list)
    scenarios: list[Scenario] = Field(default_factory=list)
    verdict: Exit = Exit.CANNOT_TELL
    #: The verdict in one sentence.
    text: str = ""
    exit_code: int = CODES[Exit.CANNOT_TELL]
    #: What in the labs is not the real thing.
    stand_ins: list[str] = Field(default_factory=list)
    #: The command that runs it again.
    reproduce: str = ""
    #: The saved result that A's runs were taken from, if they were.
    baseline: str | None = None
    seconds: float = 0.0


def read(path: Path) -> Result:
    """Read a saved result.

    Raises:
        UserError: There is no such file, or it is no result of this format.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise UserError(f"the result cannot be read: {error.strerror}", file=path) from error
    try:
        found = Result.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"it is no result of lblab compare: {where}: {first['msg']}", file=path, hint="lblab compare --json FILE"
        ) from None
    if found.format != FORMAT:
        raise UserError(
            f"it was written in format {found.format}, this lblab reads format {FORMAT}",
            file=path,
            hint="make it again",
        )
    return found


def write(path: Path, result: Result) -> None:
    """Save a result; a reader never sees half of it.

    Raises:
        UserError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.new")
        draft.write_text(result.model_dump_json(indent=1) + "\n")
        draft.replace(path)
    except OSError as error:
        raise UserError(f"the result cannot be written: {error.strerror}", file=path) from error
