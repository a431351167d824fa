"""What a run leaves behind besides its results: a page for people, and its place in the history of many runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import machine
from harness.errors import UserError
from harness.results import history
from harness.testing import results, timelines

#: Options of a run that decide what is run, with their defaults: they stand in its results, so that it can be made
#: again.
_DECIDE: Mapping[str, object] = {
    "--topology": None,
    "--cilium-version": "auto",
    "--metallb-version": "auto",
    "--metallb-manifest": None,
    "--manifests": [],
    "--timers": "quick",
    "--runs": 1,
    "--lab-backend": "netns",
}
_temporary = pytest.StashKey[Path]()


def add_options(group: pytest.OptionGroup) -> None:
    """Add the options that say what is kept."""
    group.addoption("--lab-results", metavar="FILE.jsonl", help="write a JSON line for each lab and scenario")
    group.addoption(
        "--lab-html", metavar="FILE.html", help="write one page with everything; its results stand beside it"
    )
    group.addoption(
        "--lab-history",
        metavar="FILE.jsonl",
        default=os.environ.get(history.VARIABLE) or None,
        help=f"append what was measured, for `lblab history`; also by the variable {history.VARIABLE}",
    )


def start(config: pytest.Config) -> None:
    """Begin the file of results that everything else is made from: the one asked for, or one that goes with the run.

    Raises:
        UserError: it cannot be written.
    """
    for name in ("lab_results", "lab_html", "lab_history"):  # scenarios may change the folder
        if (path := config.getoption(name)) is not None:
            setattr(config.option, name, str(Path(path).absolute()))
    wanted = config.getoption("lab_results")
    if wanted is None and (page := config.getoption("lab_html")) is not None:
        wanted = Path(page).with_suffix(".jsonl")
    if wanted is None and config.getoption("lab_history") is not None:
        config.stash[_temporary] = Path(tempfile.mkdtemp(prefix="lblab-results-"))
        wanted = config.stash[_temporary] / "results.jsonl"
    if wanted is None:
        return
    config.option.lab_results = str(wanted)
    results.start(Path(wanted))
    timelines.start(Path(wanted))
    results.append(
        Path(wanted),
        results.run_line(
            arguments=config.invocation_params.args,
            options=_options(config),
            lblab=machine.lblab(),
            machine=machine.facts(),
        ),
    )


def hand_over(node: Any) -> None:
    """Tell a worker of xdist, which is about to start, where the results are."""
    node.workerinput["lab_results"] = node.config.getoption("lab_results")


def join(config: pytest.Config) -> None:
    """Write a worker's results where those of the whole run are."""
    workerinput: Mapping[str, Any] = getattr(config, "workerinput", {})
    config.option.lab_results = workerinput.get("lab_results")


def _options(config: pytest.Config) -> dict[str, object]:
    """What was asked for that decides what is run, without what is the default."""
    given = {name: config.getoption(name.removeprefix("--").replace("-", "_")) for name in _DECIDE}
    return {name: value for name, value in given.items() if value not in (None, [], _DECIDE[name])}


def finish(config: pytest.Config) -> Sequence[str]:
    """Make what was asked for of the results; to be called when the last of them is written.

    Returns:
        What was made, or why it could not be, in a line each.
    """
    told: list[str] = []
    try:
        told += _finish(config)
    except UserError as error:
        told.append(f"lblab: {error}")
    finally:
        temporary = config.stash.get(_temporary, None)
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return told


def _finish(config: pytest.Config) -> Sequence[str]:
    path, page, kept = (config.getoption(name) for name in ("lab_results", "lab_html", "lab_history"))
    if path is None or (page is None and kept is None):
        return []
    from harness.results import saved

    found = saved.load(Path(path))
    told = []
    if kept is not None and found.scenarios:
        told.append(f"{history.add(Path(kept), found)} results added to {kept}")
    if page is not None:
        from harness.report import build, html
        from harness.report.files import write

        write(Path(page), html.render(build.page([found])))
        told.append(f"report: {page}")
    return told
