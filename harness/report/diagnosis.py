"""What `lblab diagnose` answers, as text and as facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from harness.diagnose.decide import Candidate, Diagnosis, Finding, Total
from harness.diagnose.observed import SECOND, Observations
from harness.diagnose.questions import Question

#: Lags that are told one by one; of the others only how many.
_SHOWN = 12
#: A capture's clock is the wall clock; a timeline's begins when the machine does.
_WALL_NS = 1_000_000_000 * SECOND
_QUIET = "No lag: every flow went on without a gap that players would notice."
_NO_TRAFFIC = (
    "There is no steady traffic in it: nothing says whether players lagged. Record while somebody plays, or beside it:"
    " ping -D -i 1 ADDRESS"
)
_ANSWER = {True: "yes", False: "no", None: "not known"}


def render(seen: Observations, found: Sequence[Diagnosis], *, details: bool = False) -> str:
    """Write the answer for a person.

    Args:
        seen: What it was made from.
        found: The answer for each address.
        details: Also every question of every lag.
    """
    return "\n".join(_lines(seen, found, details=details))


def html(seen: Observations, found: Sequence[Diagnosis]) -> str:
    """Write it as one page that needs nothing else."""
    from harness.report.html import environment

    asked = {
        diagnosis.address: [
            {"question": f"{question.value}?", "answer": _ANSWER[answer.value], "evidence": answer.evidence}
            for question, answer in _longest(diagnosis).answers.items()
        ]
        for diagnosis in found
    }
    return (
        environment()
        .get_template("diagnosis.html.j2")
        .render(
            facts=facts(seen, found),
            summary=_summary(seen),
            nothing=_QUIET if seen.flows else _NO_TRAFFIC,
            shown=_SHOWN,
            questions=asked,
        )
    )


def _summary(seen: Observations) -> str:
    length = (seen.end - seen.begin) / SECOND / seen.scale
    scaled = f", in seconds of the real timers: the lab's are {seen.scale:g} of them" if seen.scale != 1 else ""
    return f"{', '.join(seen.sources)}: {length:.1f} s{_since(seen)}, {len(seen.flows)} flows{scaled}"


def _longest(diagnosis: Diagnosis) -> Finding:
    return max(diagnosis.findings, key=lambda finding: finding.episode.length)


def _lines(seen: Observations, found: Sequence[Diagnosis], *, details: bool) -> Iterator[str]:
    yield _summary(seen)
    for problem in seen.problems:
        yield f"  note: {problem}"
    if not found:
        yield _QUIET if seen.flows else _NO_TRAFFIC
        return
    for diagnosis in found:
        yield ""
        yield from _one(seen, diagnosis, details=details)


def _one(seen: Observations, diagnosis: Diagnosis, *, details: bool) -> Iterator[str]:
    lags = diagnosis.findings
    yield f"{diagnosis.address}: {len(lags)} lag{'s' if len(lags) > 1 else ''}"
    for finding in lags[:_SHOWN]:
        yield f"  {_lag(seen, finding)}"
    if len(lags) > _SHOWN:
        yield f"  and {len(lags) - _SHOWN} more"
    if diagnosis.period is not None:
        missed = f", {diagnosis.period.missed} in between not noticed" if diagnosis.period.missed else ""
        yield f"  period: {diagnosis.period.seconds:.1f} s ({diagnosis.period.episodes} lags{missed})"
    yield ""
    if diagnosis.ranking:
        for number, total in enumerate(diagnosis.ranking):
            yield from _fits(total, len(lags), first=number == 0)
    else:
        yield "It cannot be told from this recording."
        seen_so = [f"  {q.value}? yes: {a.evidence}" for q, a in _longest(diagnosis).answers.items() if a.value]
        yield from ["What was seen of the longest:", *seen_so] if seen_so else ()
    if diagnosis.innocent:
        yield "The network is innocent: look at the game server."
    for total in diagnosis.possible:
        yield f"Possible: {total.mechanism.value}"
        yield from (f"  {sentence}" for sentence in total.evidence[:2])
    if diagnosis.excluded:
        yield "Excluded:"
        for total in diagnosis.excluded:
            yield f"  {total.mechanism.value}: {total.evidence[0] if total.evidence else 'nothing speaks for it'}"
    if diagnosis.capture:
        yield "To tell them apart, record:"
        for command in diagnosis.capture:
            yield f"  {command.format(device='INTERFACE', address=diagnosis.address)}"
    if details:
        for finding in lags[:_SHOWN]:
            yield ""
            yield f"{_lag(seen, finding)}"
            yield from _questions(finding)


def _fits(total: Total, lags: int, *, first: bool) -> Iterator[str]:
    often = f"{total.fits} of {lags} lags" if lags > 1 else "the lag"
    yield f"{'It is' if first else 'Also fits'} {total.mechanism.value} ({often}): {total.mechanism.about.sentence}"
    yield from (f"  {sentence}" for sentence in total.evidence[:6])
    yield f"  see {total.mechanism.about.source}"


def _lag(seen: Observations, finding: Finding) -> str:
    episode = finding.episode
    second = SECOND * seen.scale
    ended = "" if episode.ended else " at least, its end was not seen"
    flows = sorted({flow.name for flow, _ in episode.gaps})
    who = flows[0] if len(flows) == 1 else f"{len(flows)} flows"
    at = (episode.begin - seen.begin) / second
    return f"at {at:.1f} s{_clock(episode.begin)}: {episode.length / second:.2f} s{ended}, {who}"


def _questions(finding: Finding) -> Iterator[str]:
    for question, answer in finding.answers.items():
        yield f"  {question.value}? {_ANSWER[answer.value]}: {answer.evidence}"


def _since(seen: Observations) -> str:
    return (
        f" from {datetime.fromtimestamp(seen.begin / SECOND, UTC):%Y-%m-%d %H:%M:%S} UTC" if _wall(seen.begin) else ""
    )


def _clock(at: int) -> str:
    return f" ({datetime.fromtimestamp(at / SECOND, UTC):%H:%M:%S} UTC)" if _wall(at) else ""


def _wall(at: int) -> bool:
    return at > _WALL_NS


def facts(seen: Observations, found: Sequence[Diagnosis]) -> dict[str, Any]:
    """The same for programs; times and durations are seconds of the real timers, from the recording's begin."""
    second = SECOND * seen.scale
    return {
        "sources": seen.sources,
        "seconds": round((seen.end - seen.begin) / second, 3),
        "time_scale": seen.scale,
        "flows": len(seen.flows),
        "problems": seen.problems,
        "sees": sorted(each.value for each in seen.sees),
        "addresses": [_facts_of(seen, diagnosis, second) for diagnosis in found],
    }


def _facts_of(seen: Observations, diagnosis: Diagnosis, second: float) -> dict[str, Any]:
    return {
        "address": diagnosis.address,
        "mechanism": diagnosis.mechanism.value if diagnosis.mechanism else None,
        "network_is_innocent": diagnosis.innocent,
        "period_s": round(diagnosis.period.seconds, 2) if diagnosis.period else None,
        "fits": [_total(total) for total in diagnosis.ranking],
        "possible": [_total(total) for total in diagnosis.possible],
        "excluded": [_total(total) for total in diagnosis.excluded],
        "capture_next": [each.format(device="INTERFACE", address=diagnosis.address) for each in diagnosis.capture],
        "lags": [
            {
                "begin_s": round((finding.episode.begin - seen.begin) / second, 3),
                "seconds": round(finding.episode.length / second, 3),
                "ended": finding.episode.ended,
                "flows": sorted({flow.name for flow, _ in finding.episode.gaps}),
                "directions": sorted(finding.episode.directions),
                "answers": {question.name.lower(): _answer(finding, question) for question in finding.answers},
                "mechanisms": [_candidate(each) for each in finding.candidates if not each.excluded],
            }
            for finding in diagnosis.findings
        ],
    }


def _total(total: Total) -> dict[str, Any]:
    return {
        "mechanism": total.mechanism.value,
        "lags_that_fit": total.fits,
        "score": round(total.score, 2),
        "evidence": list(total.evidence),
    }


def _candidate(each: Candidate) -> dict[str, Any]:
    return {"mechanism": each.mechanism.value, "fits": each.fits, "score": each.score}


def _answer(finding: Finding, question: Question) -> dict[str, Any]:
    answer = finding.answers[question]
    return {"value": answer.value, "evidence": answer.evidence}
