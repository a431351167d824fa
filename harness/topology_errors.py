"""What pydantic found wrong in a topology file, as one sentence with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import UserError
from harness.wording import show_path, suggest
from harness.yamlfile import Node, Step


def explain(error: ValidationError, root: Node, file: Path | str, model: type[BaseModel]) -> UserError:
    """Turn what pydantic found into the error that a person sees: the first one in the file.

    An unknown field comes before a missing one: a misspelt field is both.
    """
    located = [(_in_file(root, one), one) for one in error.errors(include_url=False)]
    path, first = min(located, key=lambda each: (each[1]["type"] != "extra_forbidden", root.line_of(*each[0])))
    message, hint = _sentence(first, path, model)
    return UserError(message, file=file, line=root.line_of(*path), hint=hint)


def _in_file(root: Node, error: ErrorDetails) -> tuple[Step, ...]:
    """The path of an error as the file has it: pydantic's also names branches of unions and items of made-up lists."""
    path: list[Step] = []
    for step in error["loc"]:
        if root.at(*path, step) is None:
            break
        path.append(step)
    return (*path, error["loc"][-1]) if error["type"] == "missing" else tuple(path)


def _sentence(error: ErrorDetails, path: tuple[Step, ...], model: type[BaseModel]) -> tuple[str, str | None]:
    owner = show_path(path[:-1])
    context: Mapping[str, Any] = error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        name = str(path[-1])
        known = _fields(model.model_json_schema(), path[:-1])
        return f'unknown field "{name}"' + (f" in {owner}" if owner else ""), suggest(name, known, "known fields")
    if error["type"] == "missing":
        return f'{owner or "a topology"} needs the field "{path[-1]}"', None
    if error["type"] == "model_type":
        return f"{show_path(path) or 'a topology'} should be a mapping of fields, not {_show(error['input'])}", None
    if error["type"] == "lblab":
        return f"{show_path(path)}: {error['msg']}", context.get("hint")
    if error["type"] == "value_error":
        return f"{show_path(path)}: {error['msg'].removeprefix('Value error, ')}", None
    if error["type"] == "too_short":
        return f"{show_path(path)} is empty", None
    hint = None
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float):
        hint = "put it in quotes"
    # "Input should be a valid dictionary", "String should match pattern ..."
    should = re.sub(r"^[A-Z]\w+ should", "should", error["msg"]).replace("valid dictionary", "mapping")
    return f"{show_path(path)}: {should}, not {_show(error['input'])}", hint


def _show(value: object) -> str:
    """A value as it may stand in a sentence: as JSON, shortened."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else text[:36] + " ..."


def _fields(schema: Mapping[str, Any], path: Iterable[Step]) -> list[str]:
    """The fields that the JSON Schema knows at a path."""
    definitions = schema.get("$defs", {})

    def objects(part: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        if "$ref" in part:
            yield from objects(definitions[str(part["$ref"]).rsplit("/", 1)[-1]])
        elif "anyOf" in part:
            for branch in part["anyOf"]:
                yield from objects(branch)
        else:
            yield part

    here = list(objects(schema))
    for step in path:
        inner = []
        for part in here:
            child = part.get("items") if isinstance(step, int) else part.get("properties", {}).get(step)
            child = child or part.get("additionalProperties")
            if isinstance(child, Mapping):
                inner += list(objects(child))
        here = inner
    return [name for part in here for name in part.get("properties", {})]
