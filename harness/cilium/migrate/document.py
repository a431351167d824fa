"""Kubernetes objects as YAML that explains itself: each with a heading, fields with remarks behind them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from harness.yamlfile import Step

_WIDTH = 100


@dataclass(frozen=True)
class Document:
    """One object.

    Attributes:
        object: The object.
        heading: Paragraphs above it.
        remarks: What stands behind a field, by its path; only fields of mappings.
    """

    object: dict[str, Any]
    heading: tuple[str, ...] = ()
    remarks: Mapping[tuple[Step, ...], str] = field(default_factory=dict)


def render(documents: Iterable[Document]) -> str:
    """Write objects down, one YAML document each."""
    return "---\n".join(_one(document) for document in documents)


def _one(document: Document) -> str:
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = (
        4096  # a long selector stays in its line: a fold would hide half of it from a reader's eye and from diff
    )
    out = io.StringIO()
    for paragraph in document.heading:
        out.writelines(
            f"# {line}\n" for line in textwrap.wrap(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False)
        )
    yaml.dump(_commented(document.object, document.remarks, ()), out)
    return out.getvalue()


def _commented(value: Any, remarks: Mapping[tuple[Step, ...], str], path: tuple[Step, ...]) -> Any:
    if isinstance(value, dict):
        made = CommentedMap((key, _commented(inner, remarks, (*path, key))) for key, inner in value.items())
        for key in value:
            if remark := remarks.get((*path, key)):
                made.yaml_add_eol_comment(remark, key)
        return made
    if isinstance(value, list):
        return CommentedSeq(_commented(inner, remarks, (*path, place)) for place, inner in enumerate(value))
    return value
