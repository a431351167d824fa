"""`lblab report`: what was found, as one HTML page for people and as Markdown for a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[
        list[Path] | None, typer.Argument(metavar="[RESULTS.jsonl]...", help="Files that pytest --lab-results wrote.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option("--compare", metavar="FILE", help="A comparison that lblab compare --json wrote.")
    ] = None,
    scorecard: Annotated[
        Path | None, typer.Option("--scorecard", metavar="FILE", help="A scorecard that lblab scorecard --json wrote.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one page that needs nothing else.")
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write a summary; - is stdout.")
    ] = None,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Print what is wrong as GitHub's workflow commands.")
    ] = False,
    link: Annotated[
        str | None, typer.Option("--link", metavar="URL", help="Where the summary's readers find the whole report.")
    ] = None,
) -> None:
    """Make a report of results, of a comparison of two versions, of a scorecard, or of all of them.

    Without --html, --markdown and --annotate the summary is printed.
    """
    from harness.gate import model
    from harness.report import build, html, markdown, workflow_commands
    from harness.report.files import write
    from harness.results import saved
    from harness.scorecard import saved as scores

    page = build.page(
        [saved.load(file) for file in results or ()],
        comparison=(model.read(compare), compare.parent) if compare else None,
        score=(scores.load(scorecard), scores.folder(scorecard)) if scorecard else None,
    )
    if html_file is not None:
        write(html_file, html.render(page))
        print(f"{html_file}: {html_file.stat().st_size / 1e6:.1f} MB")
    if annotate:
        print(*workflow_commands.render(page), sep="\n")
    if markdown_file is not None and str(markdown_file) != "-":
        write(markdown_file, markdown.render(page, link=link))
    elif markdown_file is not None or (html_file is None and not annotate):
        print(markdown.render(page, link=link), end="")
