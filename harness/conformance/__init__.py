"""How far embedded labs are confirmed by a real cluster: what `lblab conform` found out, by Cilium version.

A record is kept in the user's state folder; those that lblab was released with are beside this file. Wherever a figure
of an embedded lab is shown, `sentence` says beside it how far it is confirmed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

_RELEASED = Path(__file__).parent / "confirmed"


@dataclass(frozen=True)
class Record:
    """One comparison of the backends.

    Attributes:
        cilium: The exact Cilium version.
        kubernetes: The cluster's version.
        at: When, UTC, ISO 8601.
        holds: How many figures hold, of those that were taken on both backends.
        explained: How many differ for a reason that is named.
        differs: How many differ and nothing says why.
        unknown: How many one side has no trusted figure of.
        embedded: The facts of the embedded labs.
        kind: The facts of the labs of kind.
        rows: Every figure (harness.verdict.conformance.Row.facts).
    """

    cilium: str
    kubernetes: str
    at: str
    holds: int
    explained: int
    differs: int
    unknown: int
    embedded: list[dict[str, Any]]
    kind: list[dict[str, Any]]
    rows: list[dict[str, Any]]

    @property
    def compared(self) -> int:
        """How many figures were taken on both backends."""
        return self.holds + self.explained + self.differs

    def __str__(self) -> str:
        text = f"{self.holds} of {self.compared} figures hold"
        parts = [f"{self.explained} differ for a named reason"] if self.explained else []
        parts += [f"{self.differs} differ"] if self.differs else []
        return ", ".join([text, *parts])


def folder() -> Path:
    """Where this user's records are."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "lblab" / "conformance"


def save(record: Record) -> Path:
    """Keep a record; it takes the place of an older one of the same version."""
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{record.cilium}.json"
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(record), indent=1) + "\n")
    draft.rename(path)
    return path


def find(cilium: str) -> Record | None:
    """The latest record of a Cilium version, the user's or a released one."""
    return max(_records(f"{cilium}.json"), key=lambda record: record.at, default=None)


def sentence(cilium: str) -> str:
    """How far the embedded figures of a Cilium version are confirmed, in a sentence."""
    record = find(cilium)
    if record is None:
        return f"Cilium {cilium}: not confirmed on kind (lblab conform --cilium-version {cilium})"
    return f"confirmed on kind, Cilium {record.cilium}, {record.at[:10]}: {record}"


def _records(name: str) -> Iterator[Record]:
    for place in (folder(), _RELEASED):
        try:
            content = json.loads((place / name).read_text())
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and set(content) == {field.name for field in fields(Record)}:
            yield Record(**content)
