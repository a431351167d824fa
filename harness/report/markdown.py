"""A report as Markdown for pull requests and job summaries: the verdict and a short table, all else folded."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from harness.report.page import Card, Cell, Matrix, Page, Tone
from harness.report.units import duration

#: GitHub's limit for a comment is 65 536 characters and for a job summary 1 MiB; what is folded is cut to stay below.
_LIMIT = 60_000
#: Rows of the short table: what is worse, failed or in doubt; the others are folded.
_SHORT = 20
#: Characters of a sentence in it.
_CELL = 300
_MARKS = {Tone.GOOD: "✅", Tone.BAD: "❌", Tone.DOUBT: "❔", Tone.PLAIN: "➖"}


def render(page: Page, *, link: str | None = None) -> str:
    """Write a report down as Markdown.

    Args:
        page: The report.
        link: Where the whole report is.
    """
    parts = [f"### {_text(page.title)}", ""]
    for headline in page.headlines:
        parts += [f"{_MARKS[headline.tone]} **{_text(headline.text)}** ({_text(headline.about)})", ""]
    parts += _noteworthy(page)
    if link:
        parts += [f"[The whole report]({link}) has every timeline.", ""]
    folded = [*_scorecard(page), *_matrices(page), *_failures(page), *_environment(page), *_commands(page)]
    length = sum(map(len, parts))
    left_out = 0
    for title, lines in folded:
        block = "\n".join([f"<details><summary>{title}</summary>", "", *lines, "", "</details>", ""])
        if length + len(block) > _LIMIT:
            left_out += 1
            continue
        length += len(block)
        parts.append(block)
    if left_out:
        parts.append(f"*{left_out} more sections are too long for this place: see the whole report.*")
    return "\n".join(parts).rstrip() + "\n"


def _noteworthy(page: Page) -> Iterator[str]:
    """The short table: scenarios that are worse, failed or in doubt."""
    points = [point for headline in page.headlines for point in headline.points]
    if not points:
        return
    yield from ("| | scenario | |", "|---|---|---|")
    for point in points[:_SHORT]:
        text = textwrap.shorten(point.text, _CELL, placeholder=" …")
        yield f"| {_MARKS[point.tone]} | {_code(point.scenario)} | {_cell(text)} |"
    if len(points) > _SHORT:
        yield f"| | and {len(points) - _SHORT} more | |"
    yield ""


def _scorecard(page: Page) -> Iterator[tuple[str, Sequence[str]]]:
    """Medians, with the least of a row in bold."""
    if page.score is None:
        return
    score = page.score
    lines = ["| event | " + " | ".join(_cell(column.title) for column in score.columns) + " |"]
    lines.append("|---" * (len(score.columns) + 1) + "|")
    for row in score.rows:
        shown = []
        for column in score.columns:
            cell = row.cells.get(column)
            text = "" if cell is None or not cell.runs else duration(cell.p50_ms) + ("" if cell.trusted else " ?")
            shown.append(f"**{text}**" if column in row.winners else text)
        lines.append(f"| {_cell(row.title)} | " + " | ".join(shown) + " |")
    yield "Scorecard: longest outage by event and announcer", lines


def _matrices(page: Page) -> Iterator[tuple[str, Sequence[str]]]:
    for title, matrix in page.matrices:
        count = sum(len(rows) for rows in matrix.families.values())
        yield f"{_text(title)} ({count})", list(_table(matrix))


def _table(matrix: Matrix) -> Iterator[str]:
    yield "| scenario | " + " | ".join(map(_cell, matrix.columns)) + " |"
    yield "|---" * (len(matrix.columns) + 1) + "|"
    for family, rows in matrix.families.items():
        for row in rows:
            cells = [_shown(cell) for cell in row.cells]
            yield f"| {_code(f'{family}/{row.name}')} | " + " | ".join(cells) + " |"


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    figure = f" {cell.figure}" if cell.figure else ""
    note = f" <sub>{_cell(cell.note)}</sub>" if cell.note else ""
    return f"{_MARKS[cell.tone]} {cell.word}{figure}{note}"


def _failures(page: Page) -> Iterator[tuple[str, Sequence[str]]]:
    for card in page.cards:
        if card.tone is Tone.BAD:
            yield f"{card.word}: {_text(f'{card.family}/{card.name}')}", list(_failure(card))


def _failure(card: Card) -> Iterator[str]:
    if card.text:
        yield from _fence(card.text)
    for judged in card.judged:
        yield f"- {_MARKS[judged.tone]} **{_text(judged.title)}** {_text(judged.text)}".rstrip()
        yield from (f"  - {name}: {_text(value)}" for name, value in judged.values)
    for note in card.notes:
        yield from ("", _text(note))
    for command in card.commands:
        yield from _fence(command)


def _environment(page: Page) -> Iterator[tuple[str, Sequence[str]]]:
    lines = [f"- {_text(text)}" for text in page.doubts]
    for fact in page.environment:
        lines += [f"- {fact.name}: {_text('; '.join(fact.values))}"]
    if page.stand_ins:
        lines += [f"- stand-ins: {_text('; '.join(page.stand_ins))}"]
    if lines:
        yield "Environment and trust", lines


def _commands(page: Page) -> Iterator[tuple[str, Sequence[str]]]:
    if page.commands:
        lines = [line for title, command in page.commands for line in (f"{_text(title)}:", *_fence(command))]
        yield "How to reproduce", lines


def _fence(text: str) -> Iterator[str]:
    """A block of code, fenced by more backquotes than it has in a row."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from ("", fence, text, fence, "")


def _text(text: str) -> str:
    """Text in which Markdown and HTML find nothing to interpret."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]#@~])", r"\\\1", escaped)


def _cell(text: str) -> str:
    return _text(text.replace("\n", " ")).replace("|", "\\|")


def _code(name: str) -> str:
    return "`" + name.replace("`", "'").replace("|", "\\|") + "`"
