"""`lblab apply` and `lblab delete`: Kubernetes objects, as they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import JsonOption, LabOption, attach, print_json
from harness.errors import UserError

Files = Annotated[list[str], typer.Argument(metavar="PATH...", help="Files or folders of manifests; - is stdin.")]


def apply(paths: Files, lab: LabOption = None, as_json: JsonOption = False) -> None:
    """Apply manifests as they are."""
    used = attach(lab)
    applied = [one for path in paths for one in used.apply(_source(path))]
    for one in applied:
        for warning in one.warnings:
            print(f"warning: {one}: {warning}", file=sys.stderr)
    if as_json:
        facts = ("kind", "namespace", "name", "created", "warnings")
        print_json([{fact: getattr(one, fact) for fact in facts} for one in applied])
        return
    for one in applied:
        print(f"{one} {'created' if one.created else 'applied'}")


def delete(paths: Files, lab: LabOption = None, as_json: JsonOption = False) -> None:
    """Delete what manifests hold, or KIND NAME.

    Waits until the objects are really gone.
    """
    used = attach(lab)
    if len(paths) == 2 and not any(Path(path).exists() or path == "-" for path in paths):
        space, _, name = paths[1].rpartition("/")
        deleted = used.cluster.delete(paths[0], name, namespace=space or None)
        if not deleted:
            raise UserError(f"there is no {paths[0]} {paths[1]!r}")
    else:
        deleted = [one for path in reversed(paths) for one in used.cluster.delete(_source(path))]
    if as_json:
        print_json(deleted)
        return
    for one in deleted:
        print(f"{one} deleted")


def _source(path: str) -> Path | str:
    return sys.stdin.read() + "\n" if path == "-" else Path(path)
