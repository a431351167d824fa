"""A report as GitHub's workflow commands: what is worse, failed or in doubt stands at the top of a run's page.

The form is that of GitHub's documentation, "Workflow commands for GitHub Actions": `::error title=T::message`, with
percent signs and line breaks escaped, in properties colons and commas, too. GitHub shows ten of each kind for a step.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.page import Page, Tone

_COMMANDS = {Tone.BAD: "error", Tone.DOUBT: "warning", Tone.GOOD: "notice", Tone.PLAIN: "notice"}


def render(page: Page) -> Iterator[str]:
    """One line for each verdict, and one for each scenario that it rests on."""
    for headline in page.headlines:
        yield _line(headline.tone, page.title, f"{headline.text} ({headline.about})")
        for point in headline.points:
            if point.tone in (Tone.BAD, Tone.DOUBT):
                yield _line(point.tone, point.scenario, point.text)


def _line(tone: Tone, title: str, text: str) -> str:
    return f"::{_COMMANDS[tone]} title={_property(title)}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
