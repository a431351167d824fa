"""What a migration has to say about a line of a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.manifests import Manifest
from harness.yamlfile import Step


class Weight(StrEnum):
    """How much it matters.

    A loss is something that the old object does and the new ones do not; a warning is something to look at or to do; a
    note says what is written in another way.
    """

    LOSS = "not carried over"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Message:
    """One remark.

    Attributes:
        weight: How much it matters.
        text: One sentence.
        file: The manifest's file; None for what never was in one.
        line: Which line of it.
        hint: What to do.
    """

    weight: Weight
    text: str
    file: str | None = None
    line: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return f"{place}{self.weight}: {self.text}" + (f" ({self.hint})" if self.hint else "")


def about(weight: Weight, manifest: Manifest, path: tuple[Step, ...], text: str, hint: str | None = None) -> Message:
    """A remark about something in a manifest."""
    return Message(weight, text, manifest.file, manifest.line_of(*path) if manifest.file else None, hint)
