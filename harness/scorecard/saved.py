"""A scorecard read back from the JSON that `lblab scorecard --json` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.scorecard.model import COLUMNS, Cell, Row, Run, Score
from harness.verdict.predict import Prediction

_HINT = "lblab scorecard --json FILE"


def folder(file: Path) -> Path:
    """The folder of the timelines beside a saved scorecard: `score.json` has `score.runs/`."""
    return file.with_suffix(".runs")


def load(file: Path) -> Score:
    """Read a saved scorecard.

    Raises:
        UserError: it cannot be read, or is none.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", file=file) from error
    except ValueError as error:
        raise UserError("is no JSON", file=file, hint=_HINT) from error
    if not isinstance(content, dict) or content.get("kind") != "scorecard":
        raise UserError("is no scorecard", file=file, hint=_HINT)
    try:
        return Score([_row(row) for row in content["rows"]], content["conditions"])
    except (KeyError, TypeError) as error:
        raise UserError(f"is a scorecard that lacks {error}", file=file, hint="make it again") from error


def _row(facts: Mapping[str, Any]) -> Row:
    by_key = {column.key: column for column in COLUMNS}
    return Row(
        facts["event"],
        facts["title"],
        {by_key[key]: _cell(cell) for key, cell in facts["cells"].items()},
    )


def _cell(facts: Mapping[str, Any]) -> Cell:
    predicted = facts["prediction"]
    return Cell(
        [
            Run(
                outage_ms=run["outage_ms"],
                resolution_ms=facts["resolution_ms"],
                lost=run["lost"],
                broken=run["broken"],
                trusted=run["trusted"],
                reasons=tuple(run["reasons"]),
                timeline=run["timeline"],
            )
            for run in facts["runs"]
        ],
        None
        if predicted is None
        else Prediction(
            low=predicted["low_ms"] / 1e3,
            likely=predicted["likely_ms"] / 1e3,
            high=predicted["high_ms"] / 1e3,
            formula=predicted["formula"],
            source=predicted["source"],
        ),
    )
