"""Puts what the API server has against an object into one sentence with the manifest's file and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.kube.discovery import Resource
from harness.kube.transport import ApiError

Obj = dict[str, Any]
Steps = tuple[str | int, ...]


@dataclass(frozen=True)
class Source:
    """An object to be sent, and where the user wrote it.

    Attributes:
        object: The object as the user wrote it.
        file: The file it stands in, if it came from one.
        line: The line it begins at.
        line_of: Gives the line of a field, or of what it is missing from, by its steps from the root.
    """

    object: Mapping[str, Any]
    file: Path | str | None = None
    line: int | None = None
    line_of: Callable[..., int] | None = None

    @property
    def named(self) -> str:
        """Kind and name, as a person says it."""
        return f"{self.object.get('kind')} {(self.object.get('metadata') or {}).get('name')!r}"

    def place(self, steps: Steps) -> int | None:
        """Return the line of a field, or of the nearest thing around it that was written."""
        return self.line if self.line_of is None else self.line_of(*steps)


# The forms in which kube-apiserver names a field: structured-merge-diff's path at server-side apply
# ('.spec.ports[port=80].prot: field not declared in schema'), the strict decoder's ('unknown field "spec.prot"'), and
# the field of a Status' cause.
_PATH = r"\.?[A-Za-z_][\w-]*(?:\.[\w-]+|\[[^\]]*\])*"
_UNDECLARED = re.compile(rf"({_PATH}): field not declared in schema")
_UNKNOWN = re.compile(r'unknown field "([^"]+)"')
_AT = re.compile(r"(?:^|[\s:(])(\.?(?:spec|metadata|status|data|subsets|webhooks|rules)(?:\.[\w-]+|\[[^\]]*\])+)")
#: What server-side apply begins every refusal with; it repeats what the sentence says already.
_PREAMBLE = re.compile(r"failed to create typed patch object \([^)]*\): (?:errors:\s*)?")
_NO_NAMESPACE = re.compile(r'namespaces "([^"]+)" not found')
_STEP = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
_KEY = re.compile(r'(\w+)=(?:"([^"]*)"|([^,\]]*))')


def refused(error: ApiError, source: Source, *, cilium: Callable[[str, str, str | None], str | None]) -> UserError:
    """Explain an object that the API server does not take.

    Args:
        error: What the API server answered.
        source: The object.
        cilium: Gives the sentence on the Cilium versions that serve (apiVersion, kind, field path), if it is Cilium's.
    """
    fields = [*_UNDECLARED.findall(error.detail), *_UNKNOWN.findall(error.detail)]
    if fields:
        steps = resolve(fields[0], source.object)
        path = dotted(steps) + (f" (and {len(fields) - 1} more)" if len(fields) > 1 else "")
        hint = cilium(str(source.object.get("apiVersion")), str(source.object.get("kind")), dotted(steps))
        return UserError(
            f"{source.named} has a field that is not served here: {path}",
            file=source.file,
            line=source.place(steps),
            hint=hint,
        )
    if _NO_NAMESPACE.search(error.detail):
        named = source.object["metadata"]["namespace"]
        line = source.place(("metadata", "namespace"))
        return UserError(
            f"{source.named} is for namespace {named!r}, which does not exist", file=source.file, line=line
        )
    where, why = error.causes[0] if error.causes else ("", "")
    if not where and (match := _AT.search(error.detail)):
        where = match.group(1)
    steps = resolve(where, source.object) if where else ()
    sentence = f"{where}: {why}" if why and where else " ".join(_PREAMBLE.sub("", error.detail).split())
    return UserError(f"{source.named} is refused: {sentence}", file=source.file, line=source.place(steps))


def unserved(source: Source, known: Sequence[Resource], sentence: str | None) -> UserError:
    """Explain a kind that the API server does not serve.

    Args:
        source: The object.
        known: The kinds that are served.
        sentence: On the Cilium versions that serve the kind, if it is one of Cilium's.
    """
    api_version, kind = str(source.object.get("apiVersion")), str(source.object.get("kind"))
    hint = sentence
    if hint is None:
        elsewhere = [r.api_version for r in known if r.kind == kind]
        alike = difflib.get_close_matches(kind, sorted({r.kind for r in known}), n=1)
        if elsewhere:
            hint = f"it is served as {', '.join(elsewhere)}"
        elif alike:
            hint = f"did you mean {alike[0]}?"
        else:
            hint = "if a controller brings this kind, its CustomResourceDefinition has to be applied first"
    line = source.place(("kind",)) if not any(r.kind == kind for r in known) else source.place(("apiVersion",))
    return UserError(f"nothing here serves {kind} in {api_version}", file=source.file, line=line, hint=hint)


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
