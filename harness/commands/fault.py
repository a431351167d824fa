"""`lblab fault`: make something happen to a running lab, now or on a schedule, and undo it."""

from __future__ import annotations

import contextlib
import inspect
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands.common import JsonOption, LabOption, attach, print_json
from harness.faults import parameters, registry

if TYPE_CHECKING:
    from harness.faults.base import Fault
    from harness.faults.parameters import Parameter
    from harness.timeline.event import Event

app = typer.Typer(help="Make a fault happen in a lab, stamped when it takes effect, and undo it.", no_args_is_help=True)

ForOption = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="Undo it after 500ms, 3s or 2m; without it: on Ctrl-C.")
]
KeepOption = Annotated[bool, typer.Option("--keep", help="Return at once and leave it; `lblab fault undo` ends it.")]


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List the kinds of fault and their parameters."""
    if as_json:
        print_json(
            [
                {
                    "name": name,
                    "text": registry.summary(kind),
                    "parameters": [
                        {"name": one.name, "required": one.required, "default": one.default, "help": one.help}
                        for one in parameters.of(kind)
                    ],
                }
                for name, kind in registry.KINDS.items()
            ]
        )
        return
    width = max(map(len, registry.KINDS))
    for name, kind in registry.KINDS.items():
        print(f"{name:<{width}}  {registry.summary(kind)}")
        for one in parameters.of(kind):
            print(f"{'':<{width}}    {_spelled(one):<18}  {one.help}")


@app.command()
def schedule(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Entries {at: 2s, fault: agent-kill, node: worker1}.")],
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make faults happen at set times.

    The file is a YAML list; an entry says at, fault, the fault's parameters, and for how long if it does not end by
    itself. When the last one has ended, or on Ctrl-C, all are undone.
    """
    from harness.faults import schedule as schedules

    entries = schedules.load(file)
    used = attach(lab)
    for number in (signal.SIGTERM, signal.SIGHUP):  # undo everything, as after Ctrl-C
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    schedules.run(used, entries, _teller(as_json))


@app.command()
def undo(lab: LabOption = None, as_json: JsonOption = False) -> None:
    """Undo what faults have left: links, packet filters, processes that are stopped or have ended."""
    used = attach(lab)
    undone = used.undo_faults()
    for name, state in used.backend.processes().items():
        if state.pid is None:
            used.backend.start(name)
            undone.append(f"started {name}")
    if as_json:
        print_json(undone)
        return
    for line in undone or ["there was nothing to undo"]:
        print(line)


def _spelled(parameter: Parameter) -> str:
    return parameter.name.upper() if parameter.required else f"--{parameter.name}"


def _teller(as_json: bool) -> Callable[[Event], None]:
    start = time.monotonic_ns()

    def tell(event: Event) -> None:
        if as_json:
            sys.stdout.write(event.line().decode())
        else:
            print(f"{(event.at_ns - start) / 1e9:9.4f} s  {event.subject}: {event.text}")
        sys.stdout.flush()

    return tell


def _inject(fault: Fault, lab: str | None, lasting: float | None, keep: bool, as_json: bool) -> None:
    """Make one fault happen, and hold it until its time is over or the user has had enough."""
    used, tell = attach(lab), _teller(as_json)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C
    told = 0
    with used.fault(fault, lasting=lasting) as injected:
        for event in injected.events:
            tell(event)
            told += 1
        if keep:
            injected.forget()
        elif injected.undoable:
            with contextlib.suppress(KeyboardInterrupt):  # that is how a user ends it
                pause = threading.Event()
                while injected.active:
                    pause.wait(0.05)
    for event in injected.events[told:]:
        tell(event)


def _command(kind: type[Fault]) -> Callable[..., None]:
    """Make a command of a kind of fault: required parameters are arguments, the others options."""
    known = list(parameters.of(kind))

    def command(**given: Any) -> None:
        lab, lasting, keep, as_json = (given.pop(name) for name in ("lab", "lasting", "keep", "as_json"))
        fault = parameters.build(kind, {one.name: given[one.field] for one in known})
        _inject(fault, lab, parameters.time_of("--for", lasting), keep, as_json)

    own = [
        inspect.Parameter(one.field, inspect.Parameter.KEYWORD_ONLY, default=_default(one), annotation=_annotation(one))
        for one in known
    ]
    common = [
        inspect.Parameter("lasting", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ForOption),
        inspect.Parameter("keep", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=KeepOption),
        inspect.Parameter("lab", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=LabOption),
        inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption),
    ]
    # typer reads a command's options from its signature and annotations
    command.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in [*own, *common]}
    command.__doc__ = kind.__doc__
    return command


def _default(one: Parameter) -> Any:
    if one.required:
        return inspect.Parameter.empty
    return f"{one.default:g}s" if one.duration and one.default is not None else one.default


def _annotation(one: Parameter) -> Any:
    # durations and choices are read and explained by `parameters`, in the words that schedules get too
    plain: Any = str if one.duration or one.choices else one.type
    text = one.help + (f" {', '.join(one.choices)}." if one.choices else "")
    if one.required:
        return Annotated[plain, typer.Argument(metavar=one.name.upper(), help=text)]
    optional = plain if one.default is not None else plain | None
    if one.type is bool:
        return Annotated[optional, typer.Option(f"--{one.name}/--no-{one.name}", help=text)]
    return Annotated[optional, typer.Option(f"--{one.name}", metavar=one.name.upper(), help=text)]


for _name, _kind in registry.KINDS.items():
    app.command(_name)(_command(_kind))
