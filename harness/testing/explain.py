"""What stands beside a scenario that failed or was skipped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness.errors import LblabError
from harness.testing import timelines

if TYPE_CHECKING:
    from harness.lab import Lab


def sections(lab: Lab, since_ns: int) -> list[tuple[str, str]]:
    """Collect what explains a failure: the chain of links from the session to the backend, and the timeline."""
    try:
        chain = "\n".join(f"{'holds' if link.ok else 'BROKEN':<7} {link}" for link in lab.chain().links)
    except (LblabError, OSError, LookupError, ValueError) as error:
        chain = f"could not be read: {error}"  # a lab in pieces must not hide the failure itself
    timeline = timelines.section(lab.timeline.events(since_ns))
    return [(f"lab {lab.name}: chain of links", chain), (f"lab {lab.name}: timeline", timeline)]


def message(report: pytest.TestReport) -> str:
    """Say in a line why a scenario failed or was skipped."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    first = str(crash.message if crash is not None else report.longrepr or "").partition("\n")[0]
    said = re.sub(r"^harness\.errors\.\w+: ", "", first)  # lblab's own errors are sentences already
    expected = getattr(report, "wasxfail", None)
    return said if expected is None else f"{expected}{': ' if said else ''}{said}"
