"""`lblab exec` and `lblab logs`: inside a lab's hosts."""

from __future__ import annotations

import fnmatch
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import JsonOption, LabOption, attach, print_json
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.backends.base import ProcessState
    from harness.lab import Lab


def exec_(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A node, router or client.")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="The command.")],
    lab: LabOption = None,
) -> None:
    """Run a command in a host's network.

    A host is a node, a router or a client. The exit code is the command's.
    """
    used = attach(lab)
    if host not in _hosts(used):
        raise UserError(f"there is no host '{host}'", hint=f"there are: {', '.join(_hosts(used))}")
    argv = used.backend.argv(host, command, interactive=sys.stdin.isatty())
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # the terminal, signals and the exit code are the command's own


def logs(
    process: Annotated[
        str | None, typer.Argument(metavar="PROCESS", help="Such as worker1/cilium-agent, cilium-agent or 'worker*/*'.")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Wait for more.")] = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a process' log; without PROCESS, list all."""
    states = attach(lab).backend.processes()
    if process is None:
        _list(states, as_json)
        return
    chosen = matching(list(states), process)
    if not chosen:
        raise UserError(f"there is no process '{process}'", hint=f"there are: {', '.join(states)}")
    files = [str(states[name].log) for name in chosen]
    if follow:
        os.execvp("tail", ["tail", "-n", "+1", "-F", *files])
    for name, file in zip(chosen, files, strict=True):
        if len(chosen) > 1:
            print(f"==> {name} <==")
        try:
            with open(file, errors="replace") as log:
                sys.stdout.writelines(log)
        except FileNotFoundError:
            continue  # it has not been started yet


def matching(names: list[str], wanted: str) -> list[str]:
    """Choose processes by full name, by program alone, or by a pattern of the shell."""
    return [
        name
        for name in names
        if wanted in (name, name.rpartition("/")[2], name.partition("/")[0]) or fnmatch.fnmatch(name, wanted)
    ]


def _hosts(lab: Lab) -> list[str]:
    return [*lab.topology.routers, *lab.topology.nodes, *lab.topology.clients]


def _list(states: dict[str, ProcessState], as_json: bool) -> None:
    if as_json:
        print_json(
            [{"name": s.name, "pid": s.pid, "exit_code": s.exit_code, "log": str(s.log)} for s in states.values()]
        )
        return
    width = max(map(len, states), default=0)
    for name, state in states.items():
        now = f"runs, pid {state.pid}" if state.pid is not None else f"ended, exit code {state.exit_code}"
        print(f"{name:<{width}}  {now}")
