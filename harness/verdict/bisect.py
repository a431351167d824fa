"""Halving: which of many versions in a row is the first that behaves like the last one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Found(StrEnum):
    """What a version turned out to be."""

    GOOD = "good"
    BAD = "bad"
    #: It cannot be had, built or tested.
    SKIPPED = "skipped"


@dataclass
class Search(Generic[T]):
    """A search between a version that is good and one that is bad.

    Attributes:
        row: The versions in order: the first is good, the last is bad.
        known: What is known so far.
    """

    row: Sequence[T]
    known: dict[T, Found] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.row) < 2:
            raise ValueError("a search needs two ends")
        self.known = {self.row[0]: Found.GOOD, self.row[-1]: Found.BAD, **self.known}

    @property
    def last_good(self) -> T:
        """The last version before `first_bad` that is good."""
        return next(one for one in reversed(self.row[: self._bad]) if self.known.get(one) is Found.GOOD)

    @property
    def first_bad(self) -> T:
        """The first version that is bad, as far as is known."""
        return self.row[self._bad]

    @property
    def between(self) -> list[T]:
        """The versions between the two: empty when the search is done, or all skipped when it can go no further."""
        return list(self.row[self.row.index(self.last_good) + 1 : self._bad])

    @property
    def _bad(self) -> int:
        return next(number for number, one in enumerate(self.row) if self.known.get(one) is Found.BAD)

    def next(self) -> T | None:
        """The version to look at: the one nearest the middle that is not known yet; None when there is none."""
        between = self.between
        unknown = [number for number, one in enumerate(between) if one not in self.known]
        if not unknown:
            return None
        middle = (len(between) - 1) / 2
        return between[min(unknown, key=lambda number: (abs(number - middle), number))]

    @property
    def steps_left(self) -> int:
        """How many more looks it takes at most, if nothing is skipped."""
        return sum(one not in self.known for one in self.between).bit_length()
