"""From runs to verdicts: each scenario's figures side by side, then the scenario, then the version. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.gate.model import Comparison, Interval, Run, Scenario, Side
from harness.testing.results import family
from harness.verdict import compare
from harness.verdict.compare import Compared, Decision, Exit, Verdict

#: Figures of a run that did not come to its end are not compared.
_CUT_OFF = ("error", "skipped")


def judge(
    runs: Mapping[str, Sequence[Run]], planned: int | None, titles: Mapping[str, str] | None = None
) -> tuple[list[Scenario], dict[str, int]]:
    """Judge every scenario.

    Args:
        runs: All runs by scenario.
        planned: Runs of each side that were planned; None: no more runs will be made.
        titles: What each scenario is about.

    Returns:
        The scenarios, and how many more runs of each side those need that are not settled.
    """
    values = {scenario: _values(found) for scenario, found in runs.items()}
    alpha = compare.share(one for figures in values.values() for one in figures.values())
    scenarios, again = [], {}
    for scenario, found in runs.items():
        sides: dict[Side, list[Run]] = {"A": [], "B": []}
        for run in found:
            sides[run.side].append(run)
        figures = {name: compare.figure(one, alpha, planned=planned) for name, one in values[scenario].items()}
        judged = compare.scenario(
            compare.outcomes([run.outcome for run in sides["A"]], [run.outcome for run in sides["B"]]), figures
        )
        if judged.decision.again:
            again[scenario] = judged.decision.again
        text = judged.decision.text
        reason = _reason(judged.decision, sides)
        scenarios.append(
            Scenario(
                scenario=scenario,
                family=family(scenario),
                title=(titles or {}).get(scenario, ""),
                verdict=judged.decision.verdict,
                text=f"{text}: {reason}" if reason else text,
                a=dict(Counter(run.outcome for run in sides["A"])),
                b=dict(Counter(run.outcome for run in sides["B"])),
                comparisons=[_comparison(name, one, values[scenario][name]) for name, one in figures.items()],
                runs=list(found),
            )
        )
    return scenarios, again


def overall(scenarios: Iterable[Scenario]) -> tuple[Exit, str]:
    """The verdict on version B, and why in one sentence."""
    return compare.overall(one.verdict for one in scenarios)


def by_scenario(runs: Iterable[tuple[str, Run]]) -> dict[str, list[Run]]:
    """Sort runs by scenario, in the order in which scenarios first ran."""
    found: dict[str, list[Run]] = defaultdict(list)
    for scenario, run in runs:
        found[scenario].append(run)
    return dict(found)


def _values(runs: Sequence[Run]) -> dict[str, compare.Figure]:
    """The trusted values of each figure on both sides."""
    names = dict.fromkeys(one.name for run in runs for one in run.figures if run.outcome not in _CUT_OFF)
    found = {}
    for name in names:
        sides: dict[Side, list[float]] = {"A": [], "B": []}
        resolution = 0.0
        for run in runs:
            for one in run.figures:
                if one.name == name and one.trusted and run.outcome not in _CUT_OFF:
                    sides[run.side].append(one.ms)
                    resolution = max(resolution, one.resolution_ms)
        found[name] = compare.Figure(sides["A"], sides["B"], resolution)
    return found


def _reason(decision: Decision, sides: Mapping[Side, Sequence[Run]]) -> str:
    """What the runs themselves say about a failure, a skip or a lack of trust; the first line of the first one."""
    told_by: Mapping[Verdict, Sequence[Side]] = {
        Verdict.NEW_FAILURE: ("B",),
        Verdict.FIXED: ("A",),
        Verdict.UNTRUSTED: ("B", "A"),
        Verdict.SKIPPED: ("B", "A"),
    }
    for side in told_by.get(decision.verdict, ()):
        for run in sides[side]:
            if run.message and run.outcome not in ("passed", "xpassed"):
                return run.message.splitlines()[0]
    return ""


def _comparison(name: str, compared: Compared, values: compare.Figure) -> Comparison:
    about = compared.interval
    return Comparison(
        name=name,
        verdict=compared.decision.verdict,
        text=compared.decision.text,
        a_ms=list(values.a),
        b_ms=list(values.b),
        a_median_ms=values.median_a,
        b_median_ms=values.median_b,
        effect_ms=compared.effect,
        interval_ms=None if about is None else Interval(low=about.low, high=about.high, method=about.method),
        noise_ms=compared.noise,
        detectable_ms=compared.detectable,
    )
