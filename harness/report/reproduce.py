"""The command lines that make a result again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.results.saved import Results, Scenario

#: Options that say where a run leaves what it found, not what it does.
_OUTPUT = ("--lab-results", "--lab-html", "--lab-history", "--junitxml", "--junit-xml")


def whole(results: Results) -> str:
    """The command of the run, or, for a file that does not tell it, one that runs the same scenarios.

    A run that left versions to `auto` is made with those that were chosen then.
    """
    arguments = results.run.get("arguments")
    if arguments is None:
        return _pytest(["scenarios/"], pins(scenario.lab for scenario in results.scenarios))
    told = _without_output(arguments)
    versions = pins((scenario.lab for scenario in results.scenarios), told)
    return _pytest(told, versions)


def one(scenario: Scenario, results: Results) -> str:
    """The command that runs one scenario as it was run."""
    options = results.run.get("options") or {}
    told = [part for name, value in options.items() for part in _option(name, value)]
    return _pytest([scenario.name], [*pins([scenario.lab], told), *told])


def pins(labs: Iterable[Mapping[str, Any]], told: Sequence[str] = ()) -> list[str]:
    """Options that name the versions that ran, where each was the same in all labs and is not told already."""
    found: dict[str, set[str]] = {"--cilium-version": set(), "--metallb-version": set()}
    for lab in labs:
        for option, key in (("--cilium-version", "cilium_version"), ("--metallb-version", "metallb_version")):
            if lab.get(key):
                found[option].add(str(lab[key]))
    said = {part.partition("=")[0] for part in told}
    return [
        part
        for option, versions in found.items()
        if len(versions) == 1 and option not in said
        for part in (option, *versions)
    ]


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, list):
        return [part for each in value for part in (name, str(each))]
    return [name] if value is True else [name, str(value)]


def _without_output(arguments: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for argument in arguments:
        name, given, _value = argument.partition("=")
        if skip:
            skip = False
        elif name in _OUTPUT:
            skip = not given
        else:
            kept.append(argument)
    return kept


def _pytest(arguments: Sequence[str], options: Sequence[str]) -> str:
    return shlex.join(["pytest", *arguments, *options])
