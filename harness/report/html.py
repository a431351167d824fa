"""A report as one HTML file that needs nothing else: no network, no script, light or dark as the reader's system is."""

from __future__ import annotations

import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.report.page import Page
from harness.report.units import between, duration, spread
from harness.scorecard.model import BROKEN_MS
from harness.timeline import palette


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
        duration=duration,
        between=between,
        spread=spread,
        broken_ms=BROKEN_MS,
        picture_sheet=palette.SHEET,
        picture_dark=palette.DARK,
        lanes=tuple(palette.LANES.values()),
    )
    return made


def render(page: Page) -> str:
    """Write a report down."""
    return environment().get_template("report.html.j2").render(page=page)
