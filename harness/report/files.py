"""Where reports are written to."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UserError


def write(file: Path, text: str) -> None:
    """Write what a user asked for, with the folders that it needs.

    Raises:
        UserError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", file=file) from error
