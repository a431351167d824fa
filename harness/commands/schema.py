"""`lblab schema`: the JSON Schema of topology files."""

from __future__ import annotations

import sys


def schema() -> None:
    """Print the JSON Schema of topology files."""
    from harness.schema import render

    sys.stdout.write(render())
