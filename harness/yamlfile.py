"""YAML with line numbers: what a person wrote, read as `kubectl` reads it, and where each part of it stands.

ruamel.yaml scans and parses; the values are made here, because a manifest has to mean in the lab what it means in a
cluster: `kubectl` reads YAML through go-yaml v2 (sigs.k8s.io/yaml), where `no` is a boolean, `0755` is octal and a date
is a string, which is neither YAML 1.1 nor YAML 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from harness.errors import UserError

#: A step from a value to one inside it: a mapping's key or a sequence's index.
Step = str | int

_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}
_FALSE = {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]*|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Node:
    """A value and its place in the file.

    Attributes:
        value: Plain Python: dict, list, str, int, float, bool or None, as JSON would have it.
        line: The line on which the value starts, counted from 1.
    """

    value: Any
    line: int
    _children: Mapping[Step, Node] = field(default_factory=lambda: MappingProxyType({}), repr=False, compare=False)
    _key_lines: Mapping[Step, int] = field(default_factory=lambda: MappingProxyType({}), repr=False, compare=False)

    def at(self, *path: Step) -> Node | None:
        """The node at a path, or None when there is none."""
        node: Node | None = self
        for step in path:
            node = node._children.get(step) if node is not None else None
        return node

    def line_of(self, *path: Step) -> int:
        """The line of what a path names: a key's line, an item's first line.

        A step that is not in the file ends the walk, so the line of a field that is missing is its owner's.
        """
        node, line = self, self.line
        for step in path:
            child = node._children.get(step)
            if child is None:
                break
            node, line = child, node._key_lines.get(step, child.line)
        return line


def load_documents(text: str, file: Path | str | None = None) -> list[Node]:
    """Read a YAML stream.

    Args:
        text: The YAML.
        file: Its name in error messages.

    Returns:
        One node a document; a document without content (only comments) is left out.

    Raises:
        UserError: not YAML, a key given twice, an alias without its anchor; with file and line.
    """
    try:
        return [node for node in _Composer(text, file).documents() if node.value is not None]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise UserError(f"not valid YAML: {what}", file=file, line=mark.line + 1 if mark else None) from error
    except YAMLError as error:  # a character that YAML does not allow: ruamel knows its position, not its line
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else None
        raise UserError(f"not valid YAML: {str(error).splitlines()[0]}", file=file, line=line) from error


def load_file(path: Path | str) -> list[Node]:
    """Read the YAML documents of a file.

    Raises:
        UserError: the file cannot be read or is not YAML.
    """
    return load_documents(read_text(path), path)


def read_text(path: Path | str) -> str:
    """Read a text file that a person named.

    Raises:
        UserError: it is not there, may not be read, is a folder, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", file=path) from error
    except UnicodeDecodeError as error:
        raise UserError("cannot be read: it is not UTF-8 text", file=path) from error


def scalar(text: str) -> str | int | float | bool | None:
    """What a plain (unquoted) scalar means to `kubectl`: resolution as in go-yaml v2, restricted to JSON types."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] in "+-.0123456789":
        digits = text.replace("_", "")
        if _INTEGER.fullmatch(digits):
            return _integer(digits)
        if _FLOAT.fullmatch(digits):
            return float(digits)
    return text


def _integer(digits: str) -> int:
    """An integer as Go's strconv.ParseInt(s, 0, 64) reads it: a leading 0 alone means octal."""
    sign = -1 if digits[0] == "-" else 1
    magnitude = digits.lstrip("+-")
    if len(magnitude) > 1 and magnitude[0] == "0" and magnitude[1].isdigit():
        return sign * int(magnitude, 8)
    return sign * int(magnitude, 0)


class _Composer:
    """Turns ruamel's events into nodes."""

    def __init__(self, text: str, file: Path | str | None) -> None:
        self._file = file
        self._events: Iterator[Event] = iter(YAML(typ="safe", pure=True).parse(text))
        self._anchors: dict[str, Node] = {}

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                self._anchors.clear()
            elif not isinstance(event, StreamStartEvent | StreamEndEvent | DocumentEndEvent):
                yield self._node(event)

    def _error(self, message: str, event: Event) -> UserError:
        return UserError(message, file=self._file, line=event.start_mark.line + 1)

    def _node(self, event: Event) -> Node:
        if isinstance(event, AliasEvent):
            if event.anchor not in self._anchors:
                raise self._error(f"alias *{event.anchor} has no anchor &{event.anchor} before it", event)
            return self._anchors[event.anchor]
        if isinstance(event, ScalarEvent):
            node = Node(self._scalar(event), event.start_mark.line + 1)
        elif isinstance(event, SequenceStartEvent):
            node = self._sequence(event)
        else:
            assert isinstance(event, MappingStartEvent)
            node = self._mapping(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _scalar(self, event: ScalarEvent) -> str | int | float | bool | None:
        text = str(event.value)
        plain, _quoted = event.implicit
        if plain:
            return scalar(text)
        tag = str(event.tag or f"{_TAG}str").removeprefix(_TAG)
        if tag in ("str", "!", "binary"):  # base64 is a string in JSON too
            return text
        value = scalar(text)
        if tag == "float" and isinstance(value, int):
            return float(value)
        kinds = {"int": int, "float": float, "bool": bool, "null": type(None)}
        if tag not in kinds or type(value) is not kinds[tag]:
            raise self._error(f"{text!r} cannot be a {event.tag}", event)
        return value

    def _sequence(self, event: SequenceStartEvent) -> Node:
        items: list[Node] = []
        while not isinstance(inner := next(self._events), SequenceEndEvent):
            items.append(self._node(inner))
        children: dict[Step, Node] = dict(enumerate(items))
        return Node([item.value for item in items], event.start_mark.line + 1, children)

    def _mapping(self, event: MappingStartEvent) -> Node:
        children: dict[Step, Node] = {}
        lines: dict[Step, int] = {}
        merged: list[Node] = []
        while not isinstance(key := next(self._events), MappingEndEvent):
            if not isinstance(key, ScalarEvent):
                raise self._error("a key has to be a plain string", key)
            name, line = str(key.value), key.start_mark.line + 1
            value = self._node(next(self._events))
            if name == "<<" and key.implicit[0]:
                merged += self._merge(value, key)
                continue
            if name in children:
                raise self._error(f'key "{name}" is given twice (first on line {lines[name]})', key)
            children[name], lines[name] = value, line
        for source in merged:  # a key of the mapping itself wins over a merged one, an earlier merge over a later
            for step, child in source._children.items():
                if step not in children:
                    children[step], lines[step] = child, source._key_lines[step]
        value_of = {str(name): child.value for name, child in children.items()}
        return Node(value_of, event.start_mark.line + 1, children, lines)

    def _merge(self, value: Node, key: Event) -> list[Node]:
        sources = list(value._children.values()) if isinstance(value.value, list) else [value]
        if not all(isinstance(source.value, dict) for source in sources):
            raise self._error("a merge (<<) takes a mapping or a list of mappings", key)
        return sources
