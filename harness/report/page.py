"""What a report consists of, whatever it is made from and whatever it is written as. Pure data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from harness.report.pictures import Picture
from harness.report.scorecard import Remark
from harness.scorecard.model import Score


class Tone(StrEnum):
    """How something is to be taken; the colour that it is shown in."""

    GOOD = "good"
    BAD = "bad"
    DOUBT = "doubt"
    PLAIN = "plain"


@dataclass(frozen=True)
class Point:
    """One sentence below the headline, about one scenario."""

    scenario: str
    text: str
    tone: Tone
    anchor: str


@dataclass(frozen=True)
class Headline:
    """The verdict in one sentence, and what it rests on."""

    tone: Tone
    text: str
    about: str
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One scenario with one version.

    Attributes:
        tone: Its colour.
        word: How it ended.
        figure: What was measured, shortly; empty when nothing was.
        note: The interval or the range, smaller; may be empty.
        anchor: The card that tells the rest.
    """

    tone: Tone
    word: str
    figure: str = ""
    note: str = ""
    anchor: str = ""


@dataclass(frozen=True)
class Row:
    """One scenario over all versions."""

    name: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Matrix:
    """Scenarios, by family, against versions."""

    columns: tuple[str, ...]
    families: dict[str, tuple[Row, ...]]

    def wants_a_look(self, family: str) -> bool:
        """Whether something in a family is neither good nor as it was."""
        return any(cell is not None and cell.tone in (Tone.BAD, Tone.DOUBT) for cell in self._cells(family))

    def counts(self, family: str) -> str:
        """How a family's scenarios ended, by the last column: a comparison's verdict, or the newest run."""
        counted = Counter(cell.word for cell in self._cells(family, last=True) if cell is not None)
        return ", ".join(f"{count} {word}" for word, count in counted.most_common())

    def _cells(self, family: str, *, last: bool = False) -> Iterator[Cell | None]:
        for row in self.families[family]:
            yield from row.cells[-1:] if last else row.cells


@dataclass(frozen=True)
class Judged:
    """One expectation or one comparison of figures, as a small table's row: what it is about, then named values."""

    title: str
    tone: Tone
    word: str
    values: tuple[tuple[str, str], ...]
    text: str = ""


@dataclass(frozen=True)
class Card:
    """All about one scenario."""

    anchor: str
    name: str
    family: str
    tone: Tone
    word: str
    figure: str = ""
    text: str = ""
    judged: tuple[Judged, ...] = ()
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it is shown unfolded."""
        return self.tone is Tone.BAD


@dataclass(frozen=True)
class Fact:
    """A named fact about machine, labs or programs; several values are several lines."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    headlines: tuple[Headline, ...]
    matrices: tuple[tuple[str, Matrix], ...] = ()
    score: Score | None = None
    score_pictures: dict[str, list[Picture]] = field(default_factory=dict)
    score_remarks: tuple[Remark, ...] = ()
    cards: tuple[Card, ...] = ()
    environment: tuple[Fact, ...] = ()
    stand_ins: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    made_at: str = ""
