"""A report out of what was saved: results of runs, a comparison of two versions, a scorecard."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from harness.errors import UserError
from harness.gate.model import Result
from harness.report import environment, of_comparison, of_results, pictures, reproduce, scorecard
from harness.report.page import Card, Headline, Matrix, Page
from harness.results.saved import Results
from harness.scorecard import scenarios
from harness.scorecard.model import Score


def page(
    files: Sequence[Results] = (),
    *,
    comparison: tuple[Result, Path] | None = None,
    score: tuple[Score, Path] | None = None,
    at: datetime | None = None,
) -> Page:
    """Put a report together.

    Args:
        files: Results of runs.
        comparison: A comparison, and the folder of its file.
        score: A scorecard, and the folder in which its timelines are.
        at: When the report is made; now by default.

    Raises:
        UserError: there is nothing to report, or a file of events cannot be read.
    """
    if not files and comparison is None and score is None:
        raise UserError("there is nothing to report", hint="give results, --compare or --scorecard")
    score = score or _of_scenarios(files)
    told = of_results.tell(files)
    result = comparison[0] if comparison else None
    count = sum(each.results.timeline(each.scenario) is not None for each in told)
    count += of_comparison.picture_count(result) if result else 0
    count += scorecard.picture_count(score[0]) if score else 0
    most = pictures.events_each(count)
    headlines: list[Headline] = []
    matrices: list[tuple[str, Matrix]] = []
    cards: list[Card] = []
    commands: list[tuple[str, str]] = []
    if comparison is not None:
        headlines.append(of_comparison.headline(comparison[0]))
        matrices.append(("Version against version", of_comparison.matrix(comparison[0])))
        cards += of_comparison.cards(*comparison, most)
        commands.append(("The comparison", comparison[0].reproduce))
    if told:
        headlines.append(of_results.headline(told))
        matrices.append(("Scenarios", of_results.matrix(told)))
        cards += of_results.cards(told, most)
    commands += [(f"The run in {results.file.name}", reproduce.whole(results)) for results in files]
    return Page(
        title=_title(told, result, score[0] if score else None),
        headlines=tuple(headlines),
        matrices=tuple(matrices),
        score=score[0] if score else None,
        score_pictures=scorecard.pictures_of(*score, most) if score else {},
        score_remarks=tuple(scorecard.remarks(score[0])) if score else (),
        cards=tuple(cards),
        environment=environment.facts(files, result),
        stand_ins=environment.stand_ins(files, result),
        doubts=environment.doubts(files, result) if files or result else (),
        commands=tuple((title, command) for title, command in commands if command),
        made_at=(at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _of_scenarios(files: Sequence[Results]) -> tuple[Score, Path] | None:
    """The scorecard that scenarios have filled, each with its part; the pictures are theirs."""
    parts = [part for results in files for one in results.scenarios if (part := one.facts.get("scorecard"))]
    return (Score(scenarios.rows(parts)), files[0].file.parent) if parts else None


def _title(told: Sequence[of_results.Told], result: Result | None, score: Score | None) -> str:
    if result is not None:
        return f"lblab: Cilium {result.b.version} against {result.a.version}"
    if told:
        return "lblab: " + ", ".join(dict.fromkeys(each.column for each in told))
    return f"lblab: scorecard of {score.conditions.get('topology', '?')}" if score else "lblab"
