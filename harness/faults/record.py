"""Faults on the timeline: one event for each thing that a fault changes, and one when that is undone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.backends.base import Stamp
from harness.timeline.event import FAULT, Event
from harness.timeline.journal import FILE, Journal

SOURCE = "fault"


def event(stamp: Stamp, subject: str, text: str, data: Mapping[str, Any] | None = None) -> Event:
    """What a stamped change is on the timeline."""
    return Event(stamp.at_ns, SOURCE, FAULT, subject, text, stamp.resolution_ns, {**(data or {}), "how": stamp.how})


def write(folder: Path, happened: Event) -> None:
    """Add an event to those of the lab in a folder."""
    journal = Journal(folder / FILE)
    try:
        journal.write(happened)
    finally:
        journal.close()
