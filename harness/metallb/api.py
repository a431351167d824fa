"""Whether a MetalLB version serves what manifests of metallb.io say; what it does not is refused before a lab starts.

Pure: the schemas come with MetalLB's programs (`harness.metallb.crds`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.manifests import Manifest
from harness.metallb.versions import GROUP
from harness.wording import show_path, suggest
from harness.yamlfile import Step

Schema = Mapping[str, Any]


def check(objects: Iterable[Manifest], schemas: Mapping[tuple[str, str], Schema], version: str) -> None:
    """Refuse a kind or a field of metallb.io that this MetalLB does not have.

    Args:
        objects: What will be applied; kinds of other groups are left to others.
        schemas: The OpenAPI schema of each kind, by apiVersion and kind.
        version: MetalLB's version, for the error.

    Raises:
        UserError: with file, line and what was meant.
    """
    for manifest in objects:
        if manifest.group == GROUP:
            _check(manifest, schemas, version)


def _check(manifest: Manifest, schemas: Mapping[tuple[str, str], Schema], version: str) -> None:
    schema = schemas.get((manifest.api_version, manifest.kind))
    if schema is None:
        message = f"{manifest.kind} ({manifest.api_version}) is not served by MetalLB {version} in a lab"
        served = [api for api, kind in schemas if kind == manifest.kind]
        if served:
            raise manifest.error(message, "apiVersion", hint=f"use {' or '.join(served)}")
        raise manifest.error(message, hint=suggest(manifest.kind, sorted({kind for _, kind in schemas}), "its kinds"))
    for path, siblings in _unknown(
        manifest.object.get("spec"), schema.get("properties", {}).get("spec", {}), ("spec",)
    ):
        what = f"{show_path(path)} of {manifest.kind} ({manifest.api_version})"
        message = f"unknown field {what} in MetalLB {version}"
        raise manifest.error(message, *path, hint=suggest(str(path[-1]), siblings, "known fields"))


def _unknown(value: Any, schema: Schema, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], list[str]]]:
    """(path, known fields beside it) for every field that a schema does not have."""
    if isinstance(value, list):
        for place, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), (*path, place))
    elif isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        for key, inner in value.items():
            if key in known:
                yield from _unknown(inner, known[key], (*path, key))
            elif not others:
                yield (*path, key), sorted(known)
