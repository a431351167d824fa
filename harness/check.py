"""One capability of the machine, as `lblab doctor` shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One capability.

    Attributes:
        name: What was tried.
        ok: Whether it is there.
        found: What was found, or why not.
        needed_for: What needs it.
        remedy: What to install or change; None when nothing can be done about it.
        fallback: What lblab does without it; None when what needs it is skipped or cannot run.
    """

    name: str
    ok: bool
    found: str
    needed_for: str
    remedy: str | None = None
    fallback: str | None = None
