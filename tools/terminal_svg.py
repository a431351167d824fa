"""Draws what a program wrote to a terminal, read from stdin with its colours, as an SVG: tools/terminal_svg.py TITLE.

The pictures of the documentation are made this way, from real runs; they name no font of the network.
"""

from __future__ import annotations

import io
import re
import sys
from xml.sax.saxutils import escape

from rich.color import Color
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

#: Pixels: width and height of a character at 13 px in common monospaced fonts, and the frame.
_WIDTH, _HEIGHT, _FRAME, _BAR = 7.83, 18, 14, 30
_BACKGROUND, _FOREGROUND, _DIM = "#15191f", "#d6dae0", "#8b949e"
#: Colours of a dark terminal, by their ANSI number.
_COLOURS = {
    1: "#f47067",
    2: "#57ab5a",
    3: "#c69026",
    4: "#539bf5",
    5: "#b083f0",
    6: "#39c5cf",
    9: "#ff938a",
    10: "#6bc46d",
}


def colour(color: Color | None, dim: bool) -> str:
    """The colour of a run of characters."""
    if color is not None and color.number in _COLOURS:
        return _COLOURS[color.number]
    return _DIM if dim else _FOREGROUND


def svg(title: str, text: str) -> str:
    """Draw the text."""
    console = Console(width=max(map(len, text.splitlines()), default=1), file=io.StringIO())
    rendered = Text.from_ansi(text.rstrip())
    lines = console.render_lines(rendered, console.options, pad=False)
    columns = max((sum(len(one.text) for one in line) for line in lines), default=0)
    width, height = columns * _WIDTH + 2 * _FRAME, len(lines) * _HEIGHT + 2 * _FRAME + _BAR
    size = f'viewBox="0 0 {width:.0f} {height}" width="{width:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" xml:space="preserve">',
        f"<title>{escape(title)}</title>",
        "<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
        "</style>",
        f'<rect width="100%" height="100%" rx="8" fill="{_BACKGROUND}"/>',
        f'<text x="{width / 2:.0f}" y="21" fill="{_DIM}" text-anchor="middle">{escape(title)}</text>',
    ]
    for number, line in enumerate(lines):
        parts += _line(line, _BAR + _FRAME + number * _HEIGHT + 10)
    return "\n".join([*parts, "</svg>", ""])


def _line(line: list[Segment], y: int) -> list[str]:
    drawn, column = [], 0
    for segment in line:
        style = segment.style
        shown = segment.text.strip()
        if shown:
            start = column + len(segment.text) - len(segment.text.lstrip())
            fill = colour(style.color if style else None, bool(style and style.dim))
            weight = ' font-weight="600"' if style and style.bold else ""
            # the width is given, so that the columns stay where they are in any font
            length = f' textLength="{len(shown) * _WIDTH:.1f}" lengthAdjust="spacingAndGlyphs"'
            at = f'x="{_FRAME + start * _WIDTH:.1f}" y="{y}"'
            drawn.append(f'<text {at} fill="{fill}"{weight}{length}>{escape(shown)}</text>')
        column += len(segment.text)
    return drawn


def main() -> None:
    """Read a terminal's output and draw it."""
    text = sys.stdin.read().replace("\r\n", "\n")
    # what a progress bar wrote and overwrote is not what a person saw in the end
    shown = "\n".join(re.split(r"\r", line)[-1] for line in text.split("\n"))
    sys.stdout.write(svg(" ".join(sys.argv[1:]), shown))


if __name__ == "__main__":
    main()
