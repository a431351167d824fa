"""Puts what the API server has against an object into one sentence with the manifest's file and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from harness.errors import UserError
from harness.kube.discovery import Resource
from harness.kube.transport import ApiError
from harness.manifests import Manifest

Obj = dict[str, Any]
Steps = tuple[str | int, ...]


# The forms in which kube-apiserver names a field: structured-merge-diff's path at server-side apply
# ('.spec.ports[port=80].prot: field not declared in schema'), the strict decoder's ('unknown field "spec.prot"'), and
# the field of a Status' cause.
_PATH = r"\.?[A-Za-z_][\w-]*(?:\.[\w-]+|\[[^\]]*\])*"
_UNDECLARED = re.compile(rf"({_PATH}): field not declared in schema")
_UNKNOWN = re.compile(r'unknown field "([^"]+)"')
_AT = re.compile(r"(?:^|[\s:(])(\.?(?:spec|metadata|status|data|subsets|webhooks|rules)(?:\.[\w-]+|\[[^\]]*\])+)")
#: What server-side apply begins every refusal with; it repeats what the sentence says already.
_PREAMBLE = re.compile(r"failed to create typed patch object \([^)]*\): (?:errors:\s*)?")
_BRING_IT = "if a controller brings this kind, its CustomResourceDefinition has to be applied first"
_NO_NAMESPACE = re.compile(r'namespaces "([^"]+)" not found')
_STEP = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
_KEY = re.compile(r'(\w+)=(?:"([^"]*)"|([^,\]]*))')


def refused(error: ApiError, manifest: Manifest) -> UserError:
    """Explain an object that the API server does not take.

    Args:
        error: What the API server answered.
        manifest: The object.
    """
    fields = [*_UNDECLARED.findall(error.detail), *_UNKNOWN.findall(error.detail)]
    if fields:
        steps = resolve(fields[0], manifest.object)
        more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
        message = f"{manifest} has a field that is not served here: {dotted(steps)}{more}"
        return manifest.error(message, *steps)
    if match := _NO_NAMESPACE.search(error.detail):
        message = f"{manifest} is for namespace {match.group(1)!r}, which does not exist"
        return manifest.error(message, "metadata", "namespace")
    where, why = error.causes[0] if error.causes else ("", "")
    if not where and (match := _AT.search(error.detail)):
        where = match.group(1)
    sentence = f"{where}: {why}" if why and where else " ".join(_PREAMBLE.sub("", error.detail).split())
    return manifest.error(f"{manifest} is refused: {sentence}", *(resolve(where, manifest.object) if where else ()))


def unserved(manifest: Manifest, known: Sequence[Resource]) -> UserError:
    """Explain a kind that the API server does not serve.

    Args:
        manifest: The object.
        known: The kinds that are served.
    """
    versions = [r.api_version for r in known if r.kind == manifest.kind]
    message = f"nothing here serves {manifest.kind} in {manifest.api_version}"
    if versions:
        return manifest.error(message, "apiVersion", hint=f"it is served as {', '.join(versions)}")
    return manifest.error(message, "kind", hint=alike(manifest.kind, known) or _BRING_IT)


def alike(kind: str, known: Sequence[Resource]) -> str | None:
    """Guess which kind was meant."""
    close = difflib.get_close_matches(kind, sorted({r.kind for r in known}), n=1)
    return f"did you mean {close[0]}?" if close else None


def resolve(path: str, body: object) -> Steps:
    """Turn the API server's name of a field into steps from the root of the object.

    A list item may be given by its index or by its keys, as in `.spec.ports[port=80,protocol="TCP"]`.
    """
    steps: list[str | int] = []
    here: Any = body
    for bracket, name in _STEP.findall(path):
        step: str | int = name
        if bracket:
            step = _index(bracket, here)
        steps.append(step)
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            here = None
    return tuple(steps)


def dotted(steps: Steps) -> str:
    """Write steps as a person does: spec.ports[0].port."""
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).lstrip(".")


def _index(bracket: str, items: object) -> str | int:
    if bracket.isdigit():
        return int(bracket)
    keys = {name: quoted or bare for name, quoted, bare in _KEY.findall(bracket)}
    if keys and isinstance(items, list):
        for index, item in enumerate(items):
            # A key that the user left to its default (protocol: TCP) is not in the object.
            if isinstance(item, dict) and all(str(item.get(k, v)) == v for k, v in keys.items()):
                return index
    return bracket.strip('"')
