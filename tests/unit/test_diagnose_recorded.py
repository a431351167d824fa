"""Timelines of real runs of the lag scenarios: each is called what it is, and the innocent one innocent.

`data/lag/MECHANISM[.ROW]-SEED[-xSCALE].jsonl.gz` are what `LBLAB_LAG_TIMELINES=DIR pytest scenarios/lag` has kept. They
were made on a busy machine: hitches of its own are on them (of S6's, those below 20 ms were left out to keep it small).
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from harness.diagnose.decide import diagnose, name_of
from harness.diagnose.from_timeline import observe
from harness.lag.mechanisms import Mechanism
from harness.timeline import event
from harness.timeline.event import Event
from harness.timeline.timeline import Timeline

RECORDED = sorted((Path(__file__).parent / "data" / "lag").glob("*.jsonl.gz"))


def what(file: Path) -> tuple[Mechanism, float]:
    """The mechanism and the time scale that a file's name says."""
    found = re.fullmatch(r"([a-z-]+)(?:\.\w+)?-\d+(?:-x([\d.]+))?\.jsonl\.gz", file.name)
    assert found is not None
    return Mechanism(found[1]), float(found[2] or 1)


def read(file: Path) -> Timeline:
    with gzip.open(file) as lines:
        return Timeline(map(Event.parse, lines))


def test_every_mechanism_was_recorded() -> None:
    assert {what(file)[0] for file in RECORDED} == set(Mechanism)


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name.partition(".")[0])
def test_a_recording_is_called_what_it_is(file: Path) -> None:
    mechanism, scale = what(file)
    happened = read(file)
    assert len(happened.of(event.PROBED)) >= 3, "a game, a second service, a node"
    assert name_of(happened, scale) is mechanism


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name.partition(".")[0])
def test_without_the_fault_on_it_the_answer_is_the_same(file: Path) -> None:
    mechanism, scale = what(file)
    happened = Timeline(each for each in read(file) if not each.is_a(event.FAULT, event.SIGNALLED, "announcer"))
    assert name_of(happened, scale) is mechanism


def test_the_origins_lag() -> None:
    """Thirty seconds every twenty minutes, in the real timers' seconds (S6: the slower announcer is 30 s late)."""
    (file,) = (each for each in RECORDED if ".S6" in each.name)
    (found,) = (each for each in diagnose(observe(read(file), file.name, what(file)[1])) if each.period is not None)
    assert found.mechanism is Mechanism.TWO_ANNOUNCERS
    assert found.period is not None
    assert found.period.seconds == pytest.approx(1226, abs=5)
    lengths = [each.episode.length / 0.02e9 for each in found.findings if each.candidates[0].fits]
    longest = sorted(lengths)[-found.period.episodes :]
    assert longest == pytest.approx([30.0] * len(longest), abs=1.0)


def test_the_innocent_one_is_blamed_on_nobody_else() -> None:
    (file,) = (each for each in RECORDED if what(each)[0] is Mechanism.SERVER_STALL)
    (found,) = diagnose(observe(read(file), file.name))
    assert found.innocent
    assert [total.mechanism for total in found.ranking] == [Mechanism.SERVER_STALL]
