"""The errors that a person sees: one sentence, the place it is about, and what to do."""

from __future__ import annotations

from pathlib import Path


class LblabError(Exception):
    """Something that lblab explains to its user instead of showing a traceback.

    Args:
        message: One sentence that says what is wrong.
        file: The user's file it is about, if there is one.
        line: The line in that file, counted from 1.
        hint: What to do about it.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, file: Path | str | None = None, line: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = None if file is None else str(file)
        self.line = line
        self.hint = hint

    def __str__(self) -> str:
        place = ""
        if self.file is not None:
            place = self.file + (f":{self.line}" if self.line is not None else "") + ": "
        return place + self.message + (f" ({self.hint})" if self.hint else "")


class UserError(LblabError):
    """Bad input: a file, an option or a version that cannot be used; the command ends with exit code 2."""

    exit_code = 2


class MissingCapability(LblabError):
    """The machine lacks something that is needed: a named skip in pytest, exit code 2 on the command line."""

    exit_code = 2


class LabError(LblabError):
    """A lab that could not be brought up or lost one of its parts."""


class WaitTimeout(LblabError):
    """An event that was waited for did not come within its deadline; says what was last seen."""


class Untrusted(LblabError):
    """A measurement that may not be believed, for example under foreign load: neither passed nor failed."""
