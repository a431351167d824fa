"""`lblab status`: nodes, sessions, received routes, kernel routes, services."""

from __future__ import annotations

from harness.commands.common import JsonOption, LabOption, attach, print_json, show


def status(lab: LabOption = None, as_json: JsonOption = False) -> None:
    """Show nodes, BGP sessions, routes and services."""
    found = attach(lab).status()
    if as_json:
        print_json(found.model_dump())
        return
    from harness.report.status import render

    show(render(found))
