"""`lblab migrate`: from CiliumBGPPeeringPolicy to the API that newer Cilium versions have in its place."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer


def migrate(
    manifests: Annotated[
        list[Path],
        typer.Argument(metavar="MANIFEST...", help="Files or folders: policies, and Node objects if you have them."),
    ],
    to: Annotated[str, typer.Option("--to", metavar="VERSION", help="The Cilium version that is to run then.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write a file for each policy there.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Translate CiliumBGPPeeringPolicies to CiliumBGPClusterConfig, CiliumBGPPeerConfig and CiliumBGPAdvertisement.

    The objects go to stdout or into DIR, remarks with file and line to stderr. Exit code 1: something that a policy
    does has no counterpart; the remarks name it.
    """
    from harness import manifests as files
    from harness.cilium import versions
    from harness.cilium.migrate.document import render
    from harness.cilium.migrate.translate import migrate as translate

    given = [manifest for path in manifests for manifest in files.load(path)]
    done = translate(given, versions.resolve(to))
    texts = {f"{name}.yaml": render(documents) for name, documents in done.documents.items()}
    if out is None:
        print("---\n".join(texts.values()), end="")
    else:
        _write(out, texts, force=force)
    for message in done.messages:
        print(message, file=sys.stderr)
    if not done.complete:
        raise typer.Exit(1)


def _write(folder: Path, texts: Mapping[str, str], *, force: bool) -> None:
    """Write all files or, where one is in the way, none."""
    from harness.errors import UserError

    in_the_way = [folder / name for name in texts if (folder / name).exists()]
    if in_the_way and not force:
        raise UserError("the file is there already", file=in_the_way[0], hint="--force overwrites it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
            print(f"written: {folder / name}")
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", file=folder) from error
