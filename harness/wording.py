"""Phrases that errors for people have in common."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from harness.yamlfile import Step


def suggest(name: str, known: Iterable[str], called: str) -> str:
    """A hint that names the closest known word, or all of them when none is close."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f'did you mean "{close[0]}"?' if close else f"{called}: {', '.join(known) or 'none'}"


def show_path(path: Iterable[Step]) -> str:
    """A path as people write it: `routers.opnsense.osFrr.bgp.neighbors[0]`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")
