"""`lblab doctor`: what this machine can do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from harness.commands.common import JsonOption, print_json, show


def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 when anything is missing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Try what labs need of this machine.

    What is missing is named with its fallback, or with what to do about it.
    """
    from harness import doctor as tests

    checks = tests.examine()
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        from harness.report.doctor import render

        show(render(checks))
    if strict and not all(check.ok for check in checks):
        raise typer.Exit(1)
