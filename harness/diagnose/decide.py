"""Which mechanisms fit a lag, which are excluded and by what, and what to record when that cannot be told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.diagnose import from_timeline
from harness.diagnose.context import Context
from harness.diagnose.entries import ENTRIES, Entry
from harness.diagnose.episodes import Episode, Period, episodes, period
from harness.diagnose.examine import examine
from harness.diagnose.observed import Observations
from harness.diagnose.questions import Answer, Answers, Question
from harness.lag.mechanisms import Mechanism
from harness.timeline.timeline import Timeline


@dataclass(frozen=True)
class Candidate:
    """A mechanism beside one lag.

    Attributes:
        mechanism: Which.
        score: The weight of what speaks for it, less what speaks against it.
        fits: Every answer that it needs was given.
        speaks: What speaks for it.
        excluded: What it cannot be reconciled with; empty when nothing.
        open: Which questions that it needs could not be answered.
    """

    mechanism: Mechanism
    score: float
    fits: bool
    speaks: tuple[tuple[Question, Answer], ...]
    excluded: tuple[tuple[Question, Answer], ...]
    open: tuple[tuple[Question, Answer], ...]


@dataclass(frozen=True)
class Finding:
    """One lag, its questions' answers, and the mechanisms, the likeliest first."""

    episode: Episode
    answers: Answers
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Total:
    """One mechanism over all lags of an address.

    Attributes:
        mechanism: Which.
        fits: In how many lags.
        possible: In how many it is neither seen nor excluded.
        excluded: In how many it is excluded.
        score: Of the lags that it fits, or of all when it fits none, by how long they were.
        evidence: In the longest of those: the answers that speak for it, or exclude it, one sentence each.
    """

    mechanism: Mechanism
    fits: int
    possible: int
    excluded: int
    score: float
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """The answer for one address.

    Attributes:
        address: The server's address.
        findings: Of each lag.
        ranking: Mechanisms that fit at least one lag; the first is the answer.
        possible: Those that the recording cannot tell from others.
        excluded: The rest.
        period: How the lags follow one another, those that the named mechanism fits, when they do.
        capture: What to record when it cannot be told.
    """

    address: str
    findings: tuple[Finding, ...]
    ranking: tuple[Total, ...]
    possible: tuple[Total, ...]
    excluded: tuple[Total, ...]
    period: Period | None
    capture: tuple[str, ...]

    @property
    def mechanism(self) -> Mechanism | None:
        """The one that is named; None when it cannot be told."""
        return self.ranking[0].mechanism if self.ranking else None

    @property
    def innocent(self) -> bool:
        """Whether the network has no part in it."""
        return self.mechanism is not None and not self.mechanism.about.network


def diagnose(
    seen: Observations, address: str | None = None, entries: Sequence[Entry] = ENTRIES
) -> tuple[Diagnosis, ...]:
    """Find the lags of a recording and name their mechanisms.

    Args:
        seen: The recording.
        address: Only the lags of this address.
        entries: The mechanisms that are known.

    Returns:
        One answer for each address that has lags, the one with the longest lag first; none without lags.
    """
    found = episodes(seen, address)
    by_address = {each.address: [one for one in found if one.address == each.address] for each in found}
    order = sorted(by_address.values(), key=lambda lags: -max(lag.length for lag in lags))
    return tuple(_of_address(lags, seen, entries) for lags in order)


def name_of(happened: Timeline, scale: float = 1.0) -> Mechanism | None:
    """The mechanism of a lab's timeline, as a scenario asks: of the address with the longest lag.

    Args:
        happened: The timeline.
        scale: The lab's time scale.
    """
    found = diagnose(from_timeline.observe(happened, "timeline", scale))
    return found[0].mechanism if found else None


def judge(context: Context, entries: Sequence[Entry] = ENTRIES) -> Finding:
    """Judge one lag."""
    answers = examine(context)
    candidates = [candidate(entry, answers) for entry in entries]
    order = sorted(candidates, key=lambda each: (not each.fits, bool(each.excluded), -each.score))
    return Finding(context.episode, answers, tuple(order))


def candidate(entry: Entry, answers: Answers) -> Candidate:
    """Hold one mechanism against the answers."""
    excluded, missing, speaks = [], [], []
    for question, wanted in entry.needs.items():
        value = answers[question].value
        if value is None:
            missing.append((question, answers[question]))
        elif value is not wanted:
            excluded.append((question, answers[question]))
    excluded += [
        (question, answers[question])
        for question, unwanted in entry.excluded_by.items()
        if answers[question].value is unwanted
    ]
    score = 0.0
    for (question, wanted), weight in entry.speaks.items():
        value = answers[question].value
        if value is wanted:
            score += weight
            speaks.append((weight, question, answers[question]))
        elif value is not None:
            score -= weight / 2
    speaks.sort(key=lambda each: -each[0])
    return Candidate(
        entry.mechanism,
        score,
        not excluded and not missing,
        tuple((question, answer) for _, question, answer in speaks),
        tuple(excluded),
        tuple(missing),
    )


def _of_address(lags: list[Episode], seen: Observations, entries: Sequence[Entry]) -> Diagnosis:
    findings = tuple(judge(Context(seen, lag), entries) for lag in lags)
    totals = sorted((_total(entry.mechanism, findings) for entry in entries), key=_rank)
    ranking = tuple(total for total in totals if total.fits)
    possible = tuple(total for total in totals if not total.fits and total.possible)
    excluded = tuple(total for total in totals if not total.fits and not total.possible)
    likely = possible[:3] if not ranking else ()
    wanted = {total.mechanism for total in likely}
    capture = tuple(dict.fromkeys(each for entry in entries if entry.mechanism in wanted for each in entry.capture))
    named = ranking[0].mechanism if ranking else None
    # what comes now and then besides has no part in the period
    alike = [each.episode for each in findings if named is None or _fits(each, named)]
    return Diagnosis(lags[0].address, findings, ranking, possible, excluded, period(alike, seen.scale), capture)


def _fits(finding: Finding, mechanism: Mechanism) -> bool:
    return any(each.fits and each.mechanism is mechanism for each in finding.candidates)


def _rank(total: Total) -> tuple[float, float]:
    return -total.score if total.fits else 0.0, -total.score


def _total(mechanism: Mechanism, findings: Sequence[Finding]) -> Total:
    own = [next(each for each in finding.candidates if each.mechanism is mechanism) for finding in findings]
    # a lag weighs by its length squared: what is looked for is the long one, and not what happens beside it more often
    weights = [finding.episode.length**2 for finding in findings]
    whole = sum(weights) or 1
    fits = [weight if each.fits else 0 for each, weight in zip(own, weights, strict=True)]
    counted = fits if any(fits) else weights
    longest = own[max(range(len(own)), key=lambda number: counted[number])]
    telling = longest.speaks if any(fits) else longest.excluded or longest.open or longest.speaks
    return Total(
        mechanism,
        sum(each.fits for each in own),
        sum(not each.fits and not each.excluded for each in own),
        sum(bool(each.excluded) for each in own),
        sum(each.score * weight for each, weight in zip(own, counted, strict=True)) / whole,
        tuple(f"{question.value}? {answer.evidence}" for question, answer in telling),
    )
