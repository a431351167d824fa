"""The file in which a lab's events are kept: JSON lines, many writers, many readers.

The lab host, the recorder and the test process all append to it. A line is one write to a file opened with O_APPEND, so
lines stay whole; they stand in the order of writing, which is not quite that of happening: readers sort.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from harness.timeline.event import Event

#: Its name within a lab's folder.
FILE = "events.jsonl"


class Journal:
    """Appends events."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, *events: Event) -> None:
        """Add events; those of one call stand together."""
        if events:
            os.write(self._descriptor, b"".join(event.line() for event in events))

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class JournalReader:
    """Reads what has been added since it was last asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def news(self) -> list[Event]:
        """Read the complete lines that were added; a file that is not there yet has none."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [Event.parse(line) for line in whole.splitlines()]


def save(path: Path, events: Iterable[Event]) -> None:
    """Write events to a file of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(event.line() for event in events))


def load(path: Path) -> list[Event]:
    """Read a file of events."""
    return JournalReader(path).news()
