"""The kinds of fault by their names."""

from __future__ import annotations

import difflib

import harness.faults as package
from harness.errors import UserError
from harness.faults.base import Fault

#: In the order of `harness.faults.__all__`.
KINDS: dict[str, type[Fault]] = {
    kind.name: kind
    for kind in map(package.__dict__.get, package.__all__)
    if isinstance(kind, type) and issubclass(kind, Fault) and kind is not Fault
}


def find(name: str) -> type[Fault]:
    """The kind of that name.

    Raises:
        UserError: when there is none.
    """
    if name not in KINDS:
        near = difflib.get_close_matches(name, KINDS, n=1)
        raise UserError(
            f"there is no fault '{name}'", hint=f"did you mean {near[0]}?" if near else "lblab fault list shows all"
        )
    return KINDS[name]


def summary(kind: type[Fault]) -> str:
    """What it does, in one sentence."""
    return (kind.__doc__ or "").strip().splitlines()[0]
