"""Which scenarios a comparison runs, in pytest's terms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import UserError

#: Where scenarios are in a project.
SCENARIOS = "scenarios"


def selection(asked: Sequence[str], root: Path, speed: str) -> tuple[tuple[str, ...], str]:
    """Read what was asked for.

    Args:
        asked: Paths, node ids, names of families, or marker expressions.
        root: The project's root.
        speed: A marker expression that holds in any case: with slow scenarios or without.

    Returns:
        Paths and node ids, and a marker expression; together they are what pytest is told.

    Raises:
        UserError: there are no scenarios here.
    """
    if not (root / SCENARIOS).is_dir():
        raise UserError(f"there is no folder {SCENARIOS}", file=root, hint="run it where your scenarios are")
    paths: list[str] = []
    expressions: list[str] = []
    for one in asked:
        path = one.partition("::")[0]
        if (root / path).exists():
            paths.append(one)
        elif (root / SCENARIOS / path).exists():
            paths.append(f"{SCENARIOS}/{one}")
        elif "::" in one or path.endswith(".py") or "/" in path:
            raise UserError(f"there is no {path}", hint=f"a path below {root}, a family, or a marker expression")
        else:
            expressions.append(one)
    markers = " or ".join(f"({one})" for one in expressions)
    return tuple(paths) or (SCENARIOS,), f"({markers}) and ({speed})" if markers else speed
