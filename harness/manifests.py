"""Kubernetes manifests as a person wrote them: unchanged objects, each with its file and line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import yamlfile
from harness.errors import UserError
from harness.yamlfile import Node, Step

_SUFFIXES = {".yaml", ".yml", ".json"}  # what `kubectl apply -f FOLDER` reads


@dataclass(frozen=True)
class Manifest:
    """One Kubernetes object and where it was written.

    Attributes:
        object: The object, exactly as written.
        file: Its file as the user named it; None for an object that never was in a file.
        node: The object's place in the file.
    """

    object: dict[str, Any]
    file: str | None
    node: Node

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self.object["kind"])

    @property
    def api_version(self) -> str:
        """The object's apiVersion, as `cilium.io/v2` or `v1`."""
        return str(self.object["apiVersion"])

    @property
    def group(self) -> str:
        """The API group, as `cilium.io`; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The object's name, or its generateName."""
        metadata = self.object.get("metadata")
        if not isinstance(metadata, dict):
            return ""
        return str(metadata.get("name") or metadata.get("generateName") or "")

    @property
    def line(self) -> int:
        """The line that gives the object's kind."""
        return self.line_of("kind")

    def line_of(self, *path: Step) -> int:
        """The line of something inside the object, as in `line_of("spec", "blocks", 0, "cidr")`."""
        return self.node.line_of(*path)

    def error(self, message: str, *path: Step, hint: str | None = None) -> UserError:
        """An error about something inside the object, or about its kind."""
        line = None if self.file is None else self.line_of(*(path or ("kind",)))
        return UserError(message, file=self.file, line=line, hint=hint)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def load(source: Path | str | Iterable[Mapping[str, Any]]) -> list[Manifest]:
    """Read manifests from whatever a user gives.

    Args:
        source: A file, a folder (its .yaml, .yml and .json files, by name), YAML text (a string with a line break), or
            objects.

    Returns:
        The objects in order, those of a List one by one.

    Raises:
        UserError: not readable, not YAML, or a document that is no Kubernetes object; with file and line.
    """
    if isinstance(source, str) and "\n" in source:
        return load_text(source)
    if isinstance(source, str | Path):
        return load_path(Path(source))
    return load_objects(source)


def load_path(path: Path) -> list[Manifest]:
    """Read a file, or the files of a folder."""
    if not path.is_dir():
        return load_text(yamlfile.read_text(path), path)
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if not files:
        raise UserError("has no manifest in it", file=path, hint="a manifest ends in .yaml, .yml or .json")
    return [manifest for file in files for manifest in load_path(file)]


def load_text(text: str, file: Path | str | None = None) -> list[Manifest]:
    """Read YAML text."""
    name = None if file is None else str(file)
    return [manifest for node in yamlfile.load_documents(text, file) for manifest in _objects(node, name)]


def load_objects(objects: Iterable[Mapping[str, Any]]) -> list[Manifest]:
    """Take objects that a scenario made."""
    return [manifest for one in objects for manifest in _objects(Node(dict(one), 0), None)]


def kinds(manifests: Iterable[Manifest]) -> set[tuple[str, str]]:
    """The (apiVersion, kind) pairs that manifests use."""
    return {(manifest.api_version, manifest.kind) for manifest in manifests}


def _objects(node: Node, file: str | None) -> list[Manifest]:
    line = None if file is None else node.line
    value = node.value
    if not isinstance(value, dict):
        raise UserError(f"not a Kubernetes object: a {_called(value)}", file=file, line=line)
    for field in ("apiVersion", "kind"):
        if not isinstance(value.get(field), str) or not value[field]:
            message = f"not a Kubernetes object: it has no {field}"
            raise UserError(message, file=file, line=None if file is None else node.line_of(field))
    if value["kind"].endswith("List") and isinstance(items := value.get("items"), list):
        inner = [node.at("items", place) or Node(item, node.line) for place, item in enumerate(items)]
        return [manifest for one in inner for manifest in _objects(one, file)]
    return [Manifest(value, file, node)]


def _called(value: object) -> str:
    return "list" if isinstance(value, Sequence) and not isinstance(value, str) else "single value"
