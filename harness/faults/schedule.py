"""Faults at set times, from a file.

    - {at: 2s, fault: agent-kill, node: worker1, restart-after: 3s}
    - {at: 10s, fault: node-silent, node: worker2, for: 5s}

`at` counts from the start of the schedule. Without `for` a fault ends as it does by itself, or with the schedule.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness import yamlfile
from harness.errors import LblabError, UserError
from harness.faults import parameters, registry
from harness.faults.base import Fault, Injected
from harness.timeline.event import Event

if TYPE_CHECKING:
    from harness.lab import Lab

#: Seconds for a fault to be undone when its time has come; a lab's slowest process, the API server, starts in 3 s.
_UNDONE_WITHIN = 60.0


@dataclass(frozen=True)
class Entry:
    """One fault of a schedule."""

    #: Seconds from the start.
    at: float
    fault: Fault
    #: Seconds that it lasts; None: as it does by itself, or until the schedule ends.
    lasting: float | None


def load(path: Path | str) -> list[Entry]:
    """Read a schedule; the entries are sorted by time.

    Raises:
        UserError: with file and line.
    """
    return [entry for document in yamlfile.load_file(path) for entry in _entries(document, path)]


def _entries(document: yamlfile.Node, file: Path | str) -> list[Entry]:
    if not isinstance(document.value, list):
        raise UserError("a schedule is a list of faults", file=file, line=document.line)
    entries = []
    for index, value in enumerate(document.value):
        try:
            entries.append(_entry(value))
        except UserError as error:
            line = _line(document, index, error.message)
            raise UserError(error.message, file=file, line=line, hint=error.hint) from None
    return sorted(entries, key=lambda entry: entry.at)


def _entry(value: object) -> Entry:
    if not isinstance(value, Mapping) or "fault" not in value:
        raise UserError("an entry of a schedule says at, fault and the fault's parameters")
    given = dict(value)
    kind = registry.find(str(given.pop("fault")))
    at, lasting = (parameters.time_of(name, given.pop(name, None)) for name in ("at", "for"))
    if at is None:
        raise UserError(f"{kind.name} needs a time", hint="at: 3s")
    return Entry(at, parameters.build(kind, given), lasting)


def _line(document: yamlfile.Node, index: int, message: str) -> int:
    """The line of the key that a message is about, or else of the entry."""
    entry = document.at(index)
    keys = entry.value if entry is not None and isinstance(entry.value, dict) else {}
    words = message.replace(":", " ").replace("'", " ").split()
    about = next((word for word in words if word in keys and word != "fault"), "fault" if "fault" in keys else None)
    return document.line_of(index) if about is None else document.line_of(index, about)


def run(lab: Lab, entries: list[Entry], tell: Callable[[Event], None] = lambda _: None) -> list[Event]:
    """Carry a schedule out; returns when every fault has ended. Whatever goes wrong, all of them are undone.

    Args:
        lab: Where.
        entries: What happens when; a fault that takes long to carry out can make the next one late.
        tell: Told each change as soon as it is known.

    Returns:
        Every change and its undoing.
    """
    start = time.monotonic()
    pause = threading.Event()
    injected: list[Injected] = []
    told = 0

    def news() -> None:
        nonlocal told
        events = sorted((event for one in injected for event in one.events), key=lambda event: event.at_ns)
        for event in events[told:]:
            tell(event)
        told = len(events)

    try:
        for entry in entries:
            while (left := start + entry.at - time.monotonic()) > 0:
                pause.wait(min(left, 0.1) if injected else left)
                news()
            injected.append(lab.fault(entry.fault, lasting=entry.lasting))
            news()
        for one in injected:
            if one.timed:
                one.wait_undone(_UNDONE_WITHIN + one.timed)
                news()
    finally:
        failures = [failure for one in reversed(injected) if (failure := _undo(one)) is not None]
        news()
    if failures:
        raise failures[0]
    return sorted((event for one in injected for event in one.events), key=lambda event: event.at_ns)


def _undo(one: Injected) -> LblabError | None:
    try:
        one.undo()
    except LblabError as error:
        return error
    return None
