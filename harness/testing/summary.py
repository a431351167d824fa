"""What a human reads in ten seconds when the scenarios are over."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness import conformance
from harness.testing.results import family

_ORDER = ("failed", "error", "passed", "skipped", "xfailed", "xpassed")
_WORST = {"failed": "red", "error": "red", "skipped": "yellow", "xpassed": "yellow"}


@dataclass(frozen=True)
class Outcome:
    """How one scenario ended.

    Attributes:
        scenario: pytest's node id.
        outcome: passed, failed, error, skipped, xfailed or xpassed.
        seconds: What it took.
        reason: Why it was skipped.
    """

    scenario: str
    outcome: str
    seconds: float
    reason: str | None = None


@dataclass(frozen=True)
class Line:
    """A line of the summary and its colour."""

    text: str
    colour: str | None = None


def summarise(outcomes: Sequence[Outcome], labs: Sequence[dict[str, Any]]) -> list[Line]:
    """Write the summary.

    Args:
        outcomes: Every scenario.
        labs: The facts of every lab that was up (`LabFacts.as_dict`).
    """
    return [*_families(outcomes), *_skips(outcomes), *_labs(labs)]


def _families(outcomes: Sequence[Outcome]) -> Iterable[Line]:
    by_family: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_family[family(outcome.scenario)].append(outcome)
    width = max((len(name) for name in by_family), default=0)
    for name, members in sorted(by_family.items()):
        counts = Counter(member.outcome for member in members)
        shown = ", ".join(f"{counts[kind]} {kind}" for kind in _ORDER if counts[kind])
        colour = next((_WORST[kind] for kind in _ORDER if counts[kind] and kind in _WORST), "green")
        yield Line(f"{name:<{width}}  {shown} in {sum(m.seconds for m in members):.1f} s", colour)


def _skips(outcomes: Sequence[Outcome]) -> Iterable[Line]:
    reasons = Counter(outcome.reason or "no reason given" for outcome in outcomes if outcome.outcome == "skipped")
    for reason, count in reasons.most_common():
        yield Line(f"skipped {count}: {reason}", "yellow")


def _labs(labs: Sequence[dict[str, Any]]) -> Iterable[Line]:
    groups: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for lab in labs:
        key = (lab["topology"], lab["backend"], lab["cilium_version"], lab["provenance"])
        groups[key].append(lab["up_seconds"])
    for (topology, backend, cilium, provenance), seconds in sorted(groups.items()):
        up = ", ".join(f"{s:.1f}" for s in seconds[:4]) + (", …" if len(seconds) > 4 else "")
        labs_text = f"{len(seconds)} labs, each" if len(seconds) > 1 else "lab"
        yield Line(f"{topology} on {backend}: Cilium {cilium}, programs {provenance}; {labs_text} up in {up} s")
    for cilium in dict.fromkeys(lab["cilium_version"] for lab in labs if lab["backend"] == "netns"):
        yield Line(f"embedded figures: {conformance.sentence(cilium)}")
    for stand_in in dict.fromkeys(s for lab in labs for s in lab["stand_ins"]):
        yield Line(f"stand-in: {stand_in}")
