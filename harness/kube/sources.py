"""Everything that `Cluster.apply` takes, as objects with the place where they were written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.kube.explain import Source

if TYPE_CHECKING:
    from harness.yamlfile import Node

#: A file or folder of manifests, YAML text, one object, or several of these.
Manifests = Path | str | Mapping[str, Any] | Iterable[Any]


def sources(what: Manifests) -> list[Source]:
    """Collect the objects in the order in which they are written; the items of a List stand for themselves.

    Raises:
        UserError: A file cannot be read or is no YAML, or something is no Kubernetes object.
    """
    if isinstance(what, Path):
        from harness import yamlfile

        return [source for file in _files(what) for source in _parse(yamlfile.load_file(file), file)]
    if isinstance(what, str):
        from harness import yamlfile

        is_text = "\n" in what or ": " in what
        return _parse(yamlfile.load_documents(what), None) if is_text else sources(Path(what))
    if isinstance(what, Mapping):
        return [_source(what, None, None, None)]
    return [source for part in what for source in sources(part)]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml", ".json"))
    if not files:
        raise UserError("the folder holds no manifests (*.yaml, *.yml, *.json)", file=path)
    return files


def _parse(nodes: Iterable[Node], file: Path | None) -> list[Source]:
    return [source for node in nodes for source in _objects(node, file)]


def _objects(node: Node, file: Path | None) -> list[Source]:
    source = _source(node.value, file, node.line, node.line_of)
    if source.object["kind"] == "List":
        items = node.at("items")
        return _parse((items.at(i) or items for i in range(len(items.value or []))) if items else (), file)
    return [source]


def _source(body: Any, file: Path | None, line: int | None, line_of: Callable[..., int] | None) -> Source:
    if not isinstance(body, Mapping) or not body.get("kind") or not body.get("apiVersion"):
        raise UserError("this is no Kubernetes object: it lacks apiVersion or kind", file=file, line=line)
    return Source(body, file=file, line=line, line_of=line_of)
