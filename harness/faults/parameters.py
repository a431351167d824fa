"""The parameters of faults: what they are, and how the command line and schedules write them.

The types here are the ones that a fault's fields are declared with; the text in them is their help.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from harness.errors import UserError
from harness.faults.base import Fault

#: Marks a number as a time in seconds, written as "500ms", "3s", "2m" or a plain number.
DURATION = object()

NodeName = Annotated[str, "A node."]
HostName = Annotated[str, "A node, router or client."]
RouterName = Annotated[str | None, "A router; the first one if left out."]
NetworkName = Annotated[str | None, "A network; all of the host's if left out."]
ServiceName = Annotated[str, "A Service: name or namespace/name."]
RestartAfter = Annotated[float | None, DURATION, "Start it again after this time; if left out, when it is undone."]
Duration = Annotated[float, DURATION]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|)")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kind of fault."""

    #: The field of the dataclass.
    field: str
    #: As the command line and schedules write it.
    name: str
    #: str, float, int or bool.
    type: type
    required: bool
    default: Any
    #: What it may be, if that is a list.
    choices: tuple[str, ...]
    duration: bool
    help: str


def duration(value: object) -> float:
    """Read a time: "500ms", "3s", "2m", or a number of seconds.

    Raises:
        ValueError: with what is wrong.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is no duration: write 500ms, 3s or 2m")
    return float(found[1]) * _UNITS[found[2]]


def time_of(name: str, value: object) -> float | None:
    """Read a time that need not be given.

    Raises:
        UserError: when it is none.
    """
    try:
        return None if value is None else duration(value)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error


def of(kind: type[Fault]) -> Iterator[Parameter]:
    """The parameters of a kind of fault, the required ones first."""
    hints = get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        annotation = hints[field.name]
        notes = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
        plain = get_args(annotation)[0] if notes else annotation
        if get_origin(plain) in (Union, types.UnionType):
            plain = next(one for one in get_args(plain) if one is not type(None))
        choices = get_args(plain) if get_origin(plain) is Literal else ()
        required = field.default is dataclasses.MISSING
        yield Parameter(
            field=field.name,
            name=field.name.replace("_", "-"),
            type=str if choices else plain,
            required=required,
            default=None if required else field.default,
            choices=choices,
            duration=DURATION in notes,
            help=next((note for note in notes if isinstance(note, str)), ""),
        )


def build(kind: type[Fault], given: Mapping[str, object]) -> Fault:
    """Make a fault of what a person wrote.

    Args:
        kind: Which.
        given: Values by the parameters' names.

    Raises:
        UserError: for a parameter that is missing, unknown or not of its type.
    """
    known = {parameter.name: parameter for parameter in of(kind)}
    for name in given:
        if name not in known:
            hint = f"it has {', '.join(known)}" if known else "it has none"
            raise UserError(f"{kind.name} has no parameter '{name}'", hint=hint)
    missing = [name for name, parameter in known.items() if parameter.required and given.get(name) is None]
    if missing:
        raise UserError(f"{kind.name} needs {' and '.join(missing)}")
    values = {known[name].field: _value(kind, known[name], value) for name, value in given.items() if value is not None}
    try:
        return kind(**values)
    except ValueError as error:
        raise UserError(f"{kind.name}: {error}") from error


def _value(kind: type[Fault], parameter: Parameter, value: object) -> object:
    where = f"{kind.name}: {parameter.name}"
    if parameter.duration:
        return time_of(where, value)
    if parameter.choices and value not in parameter.choices:
        raise UserError(f"{where} is {' or '.join(parameter.choices)}, not {value!r}")
    if parameter.type is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is not parameter.type:
        wanted = {str: "a name", float: "a number", int: "a whole number", bool: "true or false"}[parameter.type]
        raise UserError(f"{where} is {wanted}, not {value!r}")
    return value
