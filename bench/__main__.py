"""`make bench` (python -m bench): measures lblab and prints each number beside its bar (issue 3).

A busy machine is no reason to refuse: the load is printed, and figures that were taken while other programs used the
CPU are called untrusted instead of ok or over.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import against_munet, labs, machine, programs
from bench.figures import Collection, Figure, lines, per_node, remarks
from harness.binaries import ensure
from harness.bringup import choose
from harness.errors import LblabError, MissingCapability
from harness.topology import load

TOPOLOGIES = programs.ROOT / "topologies"
SMALL, LARGE = TOPOLOGIES / "small.yaml", TOPOLOGIES / "sixteen.yaml"
PARTS = ("small", "killed", "munet", "sixteen", "scenarios")
#: Memory that sixteen nodes and what measures them need: 1.2 GB and 220 MB for each added node, by the bars.
_LARGE_MEMORY = 1.2e9 + 14 * 220e6
_MB = 1e6


def main() -> int:
    """Measure what the command line asks for."""
    options = _options()
    began = time.monotonic()
    facts = machine.facts()
    say(
        f"{facts['cores']} cores, {facts['cpu']}, Linux {facts['kernel']}, load {facts['load'][0]:.1f}, {facts['user']}"
    )
    try:
        cilium, _ = choose(load(SMALL), options.cilium_version)
        ensure(cilium, progress=say)
        figures = [figure for part in options.parts for figure in _measure(part, options.runs, cilium)]
        if options.first_build:
            figures += list(_first_build())
    except LblabError as error:
        print(f"lblab: {error}", file=sys.stderr)
        return error.exit_code
    table = Table("what", "median", "range", "runs", "bar", "", box=None, pad_edge=False)
    for row in lines(figures):
        colour = {"ok": "green", "over": "red", "untrusted": "yellow", "skipped": "yellow"}.get(row[-1])
        table.add_row(*row, style=colour if row[-1] == "over" else None)
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(table)
    for remark in remarks(figures):
        console.print(remark, markup=False)
    console.print(f"Cilium {cilium}; measured in {time.monotonic() - began:.0f} s; load now {os.getloadavg()[0]:.1f}")
    if options.json is not None:
        content = {"machine": facts, "cilium_version": cilium, "figures": [figure.as_dict() for figure in figures]}
        text = json.dumps(content, indent=2) + "\n"
        if options.json == "-":
            sys.stdout.write(text)
        else:
            Path(options.json).write_text(text)
    return int(options.strict and any(figure.verdict == "over" for figure in figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="runs behind each median (default: 10)")
    parser.add_argument("--json", metavar="FILE", help="write the samples, too; - is stdout")
    parser.add_argument("--only", dest="parts", nargs="+", choices=PARTS, default=PARTS, help="measure only these")
    parser.add_argument("--cilium-version", help="instead of the newest known")
    parser.add_argument("--first-build", action="store_true", help="also build everything out of empty caches")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a trusted figure is over its bar")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    return options


def say(text: str) -> None:
    """Show progress at once."""
    print(text, file=sys.stderr, flush=True)


def _measure(part: str, runs: int, cilium: str) -> Iterator[Figure]:
    match part:
        case "small":
            yield from _small(_ups("small", SMALL, runs, cilium))
        case "killed":
            yield from _killed(runs, cilium)
        case "munet":
            yield from _munet(runs)
        case "sixteen":
            yield from _sixteen(runs, cilium)
        case "scenarios":
            yield from _scenarios(cilium)


def _ups(part: str, topology: Path, runs: int, cilium: str, *, full: bool = True) -> Collection:
    """Bring a topology up again and again; `full` measures also what is done with a lab that is up."""
    found = Collection()
    for run in range(1, runs + 1):
        doubt = machine.doubt()
        with labs.started(topology, f"bench-{part}-{os.getpid()}", cilium) as up:
            taken = machine.memory(up.pids)
            measured = {**up.seconds, "pss": taken.pss / _MB, "rss": taken.rss / _MB}
            if full:
                measured |= {"bgp": labs.bgp_read(up.lab), "reset": labs.reset(up.lab)}
            measured["down"] = labs.down(up)
        found.add(measured, doubt)
        say(f"{part}, run {run} of {runs}: " + ", ".join(f"{name} {value:.2f}" for name, value in measured.items()))
    return found


def _small(found: Collection) -> Iterator[Figure]:
    def figure(name: str, what: str, bar: float | None, unit: str = "s", note: str = "") -> Figure:
        return Figure(what, unit, found.samples.get(name, []), bar, doubts=found.doubts, note=note)

    yield figure("answer", "lblab up, small: command to first HTTP answer", 6)
    yield figure("network", "of it namespaces, links, FRR", 0.5, note="while Kubernetes starts on the same cores")
    yield figure("reset", "reset after a scenario that announced a service", 1)
    yield figure("down", "lblab down, nothing left", 0.5)
    yield figure("bgp", "one read of the router's BGP state", 1, "ms")
    yield figure("pss", "memory, small (PSS)", 1200, "MB")
    yield figure("rss", "memory, small (RSS, shared pages counted again)", None, "MB")


def _killed(runs: int, cilium: str) -> Iterator[Figure]:
    found = Collection()
    for run in range(1, runs + 1):
        doubt = machine.doubt()
        seconds = labs.killed(SMALL, f"bench-killed-{os.getpid()}", cilium)
        found.add({"gone": seconds}, doubt)
        say(f"killed, run {run} of {runs}: gone after {seconds:.3f} s")
    yield Figure("cleanup after SIGKILL of the owner", "s", found.samples["gone"], 0.5, doubts=found.doubts)


def _munet(runs: int) -> Iterator[Figure]:
    what = "munet 0.17: two FRR routers on a link, up"
    found = Collection()
    try:
        say("munet: installing it into a virtual environment of its own")
        python = against_munet.install()
        for run in range(1, runs + 1):
            doubt = machine.doubt()
            found.add(against_munet.run(python), doubt)
            say(f"munet, run {run} of {runs}: ready after {found.samples['ready'][-1]:.2f} s")
    except MissingCapability as error:
        yield Figure(what, skipped=str(error))
        return
    yield Figure(what, "s", found.samples["ready"], doubts=found.doubts, note="two routers and nothing else")
    yield Figure("munet 0.17: down", "s", found.samples["deleted"], doubts=found.doubts)


def _sixteen(runs: int, cilium: str) -> Iterator[Figure]:
    what = "lblab up, 16 nodes: command to all sessions up"
    if machine.available() < _LARGE_MEMORY:
        yield Figure(what, skipped=f"{_LARGE_MEMORY / 1e9:.1f} GB of memory are needed")
        return
    small = _ups("two", SMALL, min(runs, 3), cilium, full=False)
    large = _ups("sixteen", LARGE, runs, cilium, full=False)
    doubts = [*small.doubts, *large.doubts]
    added = len(load(LARGE).nodes) - len(load(SMALL).nodes)
    yield Figure(what, "s", large.samples.get("sessions", []), 20, doubts=large.doubts)
    yield Figure("lblab up, 16 nodes: command to first HTTP answer", "s", large.samples["answer"], doubts=large.doubts)
    yield Figure(
        "time per added node, to all sessions up",
        "s",
        per_node(small.median("sessions"), large.median("sessions"), added),
        doubts=doubts,
    )
    yield Figure(
        "memory per added node (PSS)",
        "MB",
        per_node(small.median("pss"), large.median("pss"), added),
        220,
        doubts=doubts,
    )
    yield Figure(
        "memory per added node (RSS)", "MB", per_node(small.median("rss"), large.median("rss"), added), doubts=doubts
    )


def _scenarios(cilium: str) -> Iterator[Figure]:
    say("pytest scenarios/advertisement -n 2")
    doubts = [doubt for doubt in (machine.doubt(),) if doubt is not None]
    ran = programs.scenarios("advertisement", 2, cilium)
    if set(ran.outcomes) - {"passed", "skipped", "xfailed"}:
        doubts.append("not every scenario passed")
    counted = ", ".join(f"{count} {outcome}" for outcome, count in sorted(ran.outcomes.items()))
    yield Figure("pytest scenarios/advertisement -n 2", "s", [ran.seconds], 120, doubts=doubts, note=counted)
    yield Figure("resets in that run", "s", ran.resets, doubts=doubts, note="some wait for sessions")


def _first_build() -> Iterator[Figure]:
    if not programs.space_for_first_build():
        yield Figure("first build, empty caches", skipped="8 GB of disk are needed")
        return
    doubts = [doubt for doubt in (machine.doubt(),) if doubt is not None]
    built = programs.first_build()
    yield Figure("first build, empty caches", "s", [built.seconds], 720, doubts=doubts)
    yield Figure("longest silence of its progress", "s", [built.silence], 10)


if __name__ == "__main__":
    sys.exit(main())
