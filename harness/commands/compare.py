"""`lblab compare`: the same scenarios with Cilium A and Cilium B, and whether B is worse."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from harness.commands.common import print_json, progress, show

#: Where results go that nobody named a file for; git ignores it.
_FOLDER = Path("results")


def compare(
    versions: Annotated[
        list[str], typer.Argument(metavar="A B", help="The Cilium version that is known, and the one to judge.")
    ],
    runs: Annotated[int, typer.Option(min=1, max=200, help="Runs of each version.")] = 3,
    scenarios: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="A path, a node id, a family, or a marker expression; repeatable."),
    ] = None,
    slow: Annotated[bool, typer.Option("--slow", help="With slow scenarios, too.")] = False,
    backend: Annotated[str, typer.Option(help="netns or kind.")] = "netns",
    timers: Annotated[str, typer.Option(help="quick or manifest, as in pytest.")] = "quick",
    workers: Annotated[int, typer.Option("--workers", "-n", min=1, max=16, help="Labs at once.")] = 1,
    again: Annotated[int, typer.Option(min=0, max=200, help="At most so many more runs of what is not settled.")] = 10,
    file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where the result goes; - is stdout, too.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A saved result with runs of A, made under these conditions.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted comparison.")] = False,
    seed: Annotated[int, typer.Option(help="Of the comparison, as a saved result tells it.")] = 1,
    build: Annotated[bool, typer.Option(help="Build what is missing.")] = True,
) -> None:
    """Run the same scenarios with two versions of Cilium, in turns, and say whether the second one is worse.

    Exit code 0: no worse; 1: worse, or a new failure; 2: bad input; 3: these runs cannot tell.
    """
    from harness.gate import model, run, start
    from harness.report import gate as report

    _check("backend", backend, ("netns", "kind"))
    _check("timers", timers, ("quick", "manifest"))
    a, b = (start.exact(one) for one in _two(versions, baseline))
    target = None if file is None or str(file) == "-" else file
    wanted = start.Wanted(
        a=a,
        b=b,
        runs=runs,
        scenarios=tuple(scenarios or ()),
        file=target or _FOLDER / f"compare-{a.version}-{b.version}.json",
        slow=slow,
        backend=backend,
        timers=timers,
        workers=workers,
        again=again,
        seed=seed,
        build=build,
    )
    _check_file(wanted.file, resume, baseline)
    signal.signal(signal.SIGTERM, _interrupt)
    result = start.resume(wanted) if resume else start.begin(wanted, baseline)
    try:
        with progress("compare") as tell:
            run.make(result, wanted, tell)
    except KeyboardInterrupt:
        done = len(result.invocations)
        said = f"interrupted; {done} runs are in {wanted.file}: the same command with --resume goes on"
        print(f"lblab: {said}", file=sys.stderr)
        raise
    if str(file) == "-":
        print_json(result.model_dump(mode="json"))
    else:
        show(report.render(result))
        print(f"\nresult: {wanted.file}\nrun it again: {result.reproduce}")
    raise typer.Exit(model.CODES[result.verdict])


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _two(versions: list[str], baseline: Path | None) -> list[str]:
    """A and B; with a baseline the version that was judged last is the one that is known now."""
    from harness.errors import UserError
    from harness.gate import model

    if len(versions) == 1 and baseline is not None:
        return [model.read(baseline).b.version, *versions]
    if len(versions) != 2:
        raise UserError(
            f"two versions are compared, not {len(versions)}", hint="lblab compare 1.19.4 1.20.2, or --baseline FILE"
        )
    return versions


def _check(what: str, given: str, known: Sequence[str]) -> None:
    from harness.errors import UserError

    if given not in known:
        raise UserError(f"there is no {what} '{given}'", hint=" or ".join(known))


def _check_file(file: Path, resume: bool, baseline: Path | None) -> None:
    from harness.errors import UserError
    from harness.gate import model

    if resume and baseline is not None:
        raise UserError("--resume goes on with a comparison that has its baseline already", hint="leave out --baseline")
    if resume or not file.exists():
        return
    if baseline is not None and file.resolve() == baseline.resolve():
        raise UserError("the result would overwrite its baseline", file=file, hint="give another --json FILE")
    try:
        unfinished = not model.read(file).ended_at
    except UserError:
        raise UserError("it is there and no result of lblab compare", file=file, hint="give another file") from None
    if unfinished:
        raise UserError(
            "it is a comparison that was interrupted", file=file, hint="--resume goes on; or remove it to begin anew"
        )
