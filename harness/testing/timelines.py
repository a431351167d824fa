"""The timeline of a scenario: shown with its failure, kept beside its result."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from harness.timeline import journal
from harness.timeline.text import render

if TYPE_CHECKING:
    from harness.timeline.timeline import Timeline

#: Lines of a timeline that are shown with a failure.
_SHOWN = 120
#: Characters of a file's name without its ending; file systems take 255.
_NAME = 200


def folder(results: Path) -> Path:
    """The folder of the timelines beside a file of results: `out.jsonl` has `out.timelines/`."""
    return results.with_suffix(".timelines")


def start(results: Path) -> None:
    """Remove what an earlier run has left."""
    shutil.rmtree(folder(results), ignore_errors=True)


def section(happened: Timeline) -> str:
    """What is shown with a failure."""
    return render(happened, at_most=_SHOWN)


def save(results: Path, scenario: str, happened: Timeline) -> str:
    """Keep a scenario's timeline as events and as a picture.

    Args:
        results: The file of results.
        scenario: pytest's node id.
        happened: The timeline.

    Returns:
        The file of the events, relative to the folder of the results; the picture has the same name with `.svg`.
    """
    from harness.timeline.svg import render as draw

    place = folder(results)
    name = re.sub(r"[^A-Za-z0-9.=-]+", "_", scenario.removeprefix("scenarios/"))[-_NAME:].strip("_")
    file = place / f"{name}.jsonl"
    journal.save(file, happened)
    file.with_suffix(".svg").write_text(draw(happened, title=scenario))
    return str(file.relative_to(results.parent))
