"""A report as one HTML file that needs nothing else: no network, no script, light or dark as the reader's system is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ParamSpec

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.report.page import Page
from harness.report.units import between, duration, spread
from harness.scorecard.model import BROKEN_MS
from harness.timeline import palette

P = ParamSpec("P")


def _kept(write: Callable[P, str]) -> Callable[P, str]:
    """The same with figures that keep their units: no line is broken between them."""

    def written(*args: P.args, **kwargs: P.kwargs) -> str:
        return re.sub(r"(?<=\d) (?=m?s)", "\N{NO-BREAK SPACE}", write(*args, **kwargs))

    return written


def breakable(name: str) -> Markup:
    """A long name that a narrow screen may break where its words end."""
    return Markup(re.sub(r"(::|[_/\[]|-(?=\w))", r"\1<wbr>", str(escape(name))))


def command(line: str) -> Markup:
    """A command line that a narrow screen breaks between its words only, not at their hyphens."""
    return Markup(" ").join(Markup("<span>{}</span>").format(word) for word in line.split(" "))


def environment() -> Environment:
    """Where the templates are, with what all of them use."""
    made = Environment(
        loader=PackageLoader("harness.report"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(breakable=breakable, command=command)
    made.globals.update(
        duration=_kept(duration),
        between=_kept(between),
        spread=_kept(spread),
        broken_ms=BROKEN_MS,
        picture_sheet=palette.SHEET,
        picture_dark=palette.DARK,
        lanes=tuple(palette.LANES.values()),
    )
    return made


def render(page: Page) -> str:
    """Write a report down."""
    return environment().get_template("report.html.j2").render(page=page)
