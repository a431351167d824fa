"""A released Go module as its authors require it: the go.mod and go.sum that a lab's program is built with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.binaries import explain, gocommand
from harness.binaries.gocommand import Command


@dataclass(frozen=True)
class Released:
    """What a release says of itself.

    Attributes:
        requirements: Its go.mod, as `go mod edit -json` gives it.
        sums: Its go.sum.
    """

    requirements: dict[str, Any]
    sums: str


def fetch(command: Command, product: str, module: str, version: str, known: list[str]) -> Released:
    """Download a released module.

    Args:
        command: The Go command in an empty folder; a go.mod is left there.
        product: What people call it: Cilium.
        module: Its module path.
        version: Its version, without the v.
        known: Versions that are known to exist, ascending, for the error.

    Raises:
        UserError: There is no such version, or it cannot be had.
    """
    command.display.step(f"{command.what}: downloading {product}")
    (command.folder / "go.mod").write_text("module lblab/released\n")
    download = ["mod", "download", "-json", f"{module}@v{version}"]
    got = command.run(download, lambda _: None, lambda: command.display.advance(0, None))
    answer = json.loads(got.stdout) if got.stdout.strip() else {}
    if got.code or "Error" in answer:
        why = answer.get("Error", got.stderr)
        if explain.is_missing(why):
            raise explain.no_such_version(product, version, known, why)
        raise explain.failure(command.what, why, command.log)
    edit = gocommand.ask(command.go, "mod", "edit", "-json", answer["GoMod"])
    if edit.code:
        raise explain.failure(command.what, edit.stderr, command.log)
    return Released(json.loads(edit.stdout), (Path(answer["Dir"]) / "go.sum").read_text())
