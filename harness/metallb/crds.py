"""MetalLB's CustomResourceDefinitions as a lab serves them: out of its Go types, or out of a manifest of the user's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import manifests
from harness.errors import UserError
from harness.metallb.versions import GROUP

Obj = dict[str, Any]

_KIND = "CustomResourceDefinition"


def generated(file: Path) -> list[Obj]:
    """The CRDs that were made of MetalLB's Go types while it was built."""
    return [served(crd) for crd in json.loads(file.read_text())]


def of_manifest(path: Path) -> list[Obj]:
    """The CRDs of metallb.io in a manifest such as MetalLB's own; everything else in it is left alone.

    Raises:
        UserError: there is none in it, or it cannot be read.
    """
    found = [m.object for m in manifests.load_path(path) if m.kind == _KIND and m.object["spec"].get("group") == GROUP]
    if not found:
        raise UserError(
            f"has no {_KIND} of {GROUP} in it", file=path, hint="such as config/manifests/metallb-native.yaml"
        )
    return [served(crd) for crd in found]


def served(crd: Mapping[str, Any]) -> Obj:
    """A CRD as a lab without MetalLB's webhooks can serve it; in a cluster one of them converts between versions.

    MetalLB asks for every version of a kind when it starts, so all of them are served, unconverted.
    """
    spec = {key: value for key, value in crd["spec"].items() if key != "conversion"}
    metadata = {"name": crd["metadata"]["name"]}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": _KIND, "metadata": metadata, "spec": spec}


def schemas(crds: list[Obj]) -> dict[tuple[str, str], Obj]:
    """The OpenAPI schema of each kind, by apiVersion and kind, in the version that needs no conversion."""
    return {
        (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]): version["schema"][
            "openAPIV3Schema"
        ]
        for crd in crds
        for version in crd["spec"]["versions"]
        if version["storage"]
    }
