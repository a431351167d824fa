"""Whether an embedded lab may be believed: its figures beside those of a real cluster, and what each difference means.

Pure: the lines of two results files in, a judgement for each figure out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from typing import Any

#: A figure's scenario and name.
Key = tuple[str, str]

#: How properties of a scenario are called that are figures: facts are equal or not, times are near or not.
FACT, MILLISECONDS = "fact: ", "ms: "
#: Times agree within so much of the cluster's, or within so many milliseconds.
SHARE, SLACK_MS = 0.10, 150.0


class State(enum.Enum):
    """What became of one figure."""

    #: Equal, or near enough.
    HOLDS = "holds"
    #: They differ, and a named stand-in or a random timer is why.
    EXPLAINED = "explained"
    #: They differ, and nothing says why: the embedded lab is not to be believed in this.
    DIFFERS = "differs"
    #: One side has no figure that can be trusted.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Figure:
    """One figure of one backend.

    Attributes:
        value: A fact as text, or a time in milliseconds.
        low: The least that is predicted of it, in milliseconds; None where nothing is.
        high: The most.
        doubt: Why it is not to be trusted, or why there is none.
    """

    value: str | float | None
    low: float | None = None
    high: float | None = None
    doubt: str | None = None


@dataclass(frozen=True)
class Row:
    """One figure of both backends.

    Attributes:
        scenario: Where it was taken: `graceful_restart/test_agent.py::test_never_back[local]`.
        name: What it is.
        embedded: Its value on netns.
        kind: Its value on a real cluster.
        state: What became of it.
        why: Where the two differ, or one is missing: the reason.
    """

    scenario: str
    name: str
    embedded: str | float | None
    kind: str | float | None
    state: State
    why: str = ""

    @property
    def difference_ms(self) -> float | None:
        """The embedded time less the cluster's, None for facts."""
        if isinstance(self.embedded, float) and isinstance(self.kind, float):
            return self.embedded - self.kind
        return None

    def facts(self) -> dict[str, Any]:
        """The row as JSON types."""
        return {**asdict(self), "state": self.state.value, "difference_ms": self.difference_ms}


_WHOLE_AGENT = "an embedded agent is its BGP control plane alone and starts in milliseconds, a whole one in seconds"
_HOLD_PHASE = "the hold time runs from the last KEEPALIVE, which is up to an interval old (RFC 4271 section 4.4)"
#: Named reasons for a difference, by scenario and figure: stand-ins (docs/stand-ins.md), and what is random.
REASONS: tuple[tuple[str, str, str], ...] = (
    ("graceful_restart/test_agent.py*", "none: outage", _WHOLE_AGENT),
    ("graceful_restart/test_agent.py*", "peer-only: outage", _WHOLE_AGENT),
    ("graceful_restart/test_agent.py::test_never_back*", "both: outage", _WHOLE_AGENT),
    ("graceful_restart/test_link.py::test_silence*", "*: route given up after", _HOLD_PHASE),
    (
        "failover/test_backend.py*",
        "*",
        "kube-proxy stands in for Cilium's eBPF datapath, which notices a backend's end",
    ),
    ("failover/test_node.py::test_shut_down*", "*", "a node agent stands in for the kubelet, which shuts a node down"),
    ("failover/test_node.py::test_user_space*", "*", "nodes are network namespaces, which end with their processes"),
    ("l2_baseline/test_cilium_l2*", "*", "a responder stands in for Cilium's L2 responder in BPF"),
)


def figures(lines: Iterable[Mapping[str, Any]]) -> dict[Key, Figure]:
    """Take the figures out of a run's results (docs/doors.md says what is in a line).

    That is: how each scenario ended, every expected outage, and every property that is called a fact or a time.
    """
    found: dict[Key, Figure] = {}
    for line in lines:
        if line.get("kind") != "scenario":
            continue
        scenario = _short(str(line["scenario"]))
        found[scenario, "outcome"] = _outcome(line)
        for entry in line.get("measured") or ():
            # an outage that is to be neither shorter nor longer is expected twice; its figure is one
            found.setdefault((scenario, f"{_probe(entry)}: outage"), _time(entry))
        for name, value in (line.get("properties") or {}).items():
            if name.startswith(FACT):
                found[scenario, name.removeprefix(FACT)] = Figure(str(value))
            elif name.startswith(MILLISECONDS):
                found[scenario, name.removeprefix(MILLISECONDS)] = Figure(float(value))
    return found


def compare(embedded: Mapping[Key, Figure], kind: Mapping[Key, Figure]) -> list[Row]:
    """Set every figure of either backend beside the other's, in the order in which they were taken."""
    none = Figure(None, doubt="was not measured")
    keys = dict.fromkeys((*embedded, *kind))
    return [_row(key, embedded.get(key, none), kind.get(key, none)) for key in keys]


def agree(embedded: float, kind: float) -> bool:
    """Whether two times are near enough: within 10 % of the cluster's, or within 150 ms."""
    return abs(embedded - kind) <= max(SLACK_MS, SHARE * abs(kind))


def count(rows: Iterable[Row]) -> dict[State, int]:
    """How many figures are in each state."""
    found = dict.fromkeys(State, 0)
    for row in rows:
        found[row.state] += 1
    return found


def _row(key: Key, embedded: Figure, kind: Figure) -> Row:
    scenario, name = key
    row = Row(scenario, name, embedded.value, kind.value, State.HOLDS)
    for backend, figure in (("netns", embedded), ("kind", kind)):
        if figure.doubt is not None:
            return replace(row, state=State.UNKNOWN, why=f"{backend}: {figure.doubt}")
    if isinstance(embedded.value, float) and isinstance(kind.value, float):
        if agree(embedded.value, kind.value):
            return row
        if _predicted(embedded) and _predicted(kind):
            low, high = kind.low or 0.0, kind.high or 0.0
            why = f"both are as predicted, {low:.0f} to {high:.0f} ms: a timer that is random within that"
            return replace(row, state=State.EXPLAINED, why=why)
    elif embedded.value == kind.value:
        return row
    for scenarios, names, reason in REASONS:
        if fnmatch(scenario, scenarios) and fnmatch(name, names):
            return replace(row, state=State.EXPLAINED, why=reason)
    return replace(row, state=State.DIFFERS)


def _predicted(figure: Figure) -> bool:
    """Whether a time is within what the timers let expect, and that is a span worth the name."""
    if figure.low is None or figure.high is None or not isinstance(figure.value, float):
        return False
    return figure.high - figure.low > SLACK_MS and figure.low - SLACK_MS <= figure.value <= figure.high + SLACK_MS


def _outcome(line: Mapping[str, Any]) -> Figure:
    outcome = str(line.get("outcome"))
    reason = str(line.get("message") or "").partition("\n")[0]
    if outcome in ("passed", "failed", "xfailed", "xpassed"):
        return Figure(outcome)
    return Figure(None, doubt=f"{outcome}: {reason}" if reason else outcome)


def _time(entry: Mapping[str, Any]) -> Figure:
    interval, outages = entry.get("interval_ms"), entry.get("outages_ms") or []
    prediction = entry.get("prediction") or {}
    value = interval["middle"] if interval else outages[0] if outages else None
    doubt = None
    if entry.get("verdict") == "untrusted":
        doubt = str(entry.get("message"))
    elif value is None:
        doubt = "no run"
    return Figure(None if value is None else float(value), prediction.get("low_ms"), prediction.get("high_ms"), doubt)


def _probe(entry: Mapping[str, Any]) -> str:
    runs = entry.get("runs") or [{}]
    return str(runs[0].get("probe") or "probe")


def _short(scenario: str) -> str:
    return scenario.partition("scenarios/")[2] or scenario
