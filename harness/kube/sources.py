"""Everything that `Cluster.apply` takes, as objects with the place where they were written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness import manifests
from harness.manifests import Manifest

#: A file or folder of manifests, YAML text, a manifest, a plain object, or several of these.
Manifests = Path | str | Manifest | Mapping[str, Any] | Iterable[Any]


def sources(what: Manifests) -> list[Manifest]:
    """Collect the objects in the order in which they are written.

    Raises:
        UserError: A file cannot be read or is no YAML, or something is no Kubernetes object.
    """
    if isinstance(what, Manifest):
        return [what]
    if isinstance(what, Path | str):
        return manifests.load(what)
    if isinstance(what, Mapping):
        return manifests.load([what])
    return [manifest for part in what for manifest in sources(part)]
