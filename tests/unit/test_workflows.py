"""Workflows and their examples: pinned actions, least rights, nothing of a caller's in a shell script's text.

What actionlint checks (syntax, expressions, types of inputs, shellcheck) is checked by it, by hand; see docs/ci.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import yamlfile
from harness.commands import compare, report

ROOT = Path(__file__).parents[2]
WORKFLOWS = [
    *sorted((ROOT / ".github/workflows").glob("*.yml")),
    *sorted((ROOT / "docs/examples/github/.github/workflows").glob("*.yml")),
]
GATE = ROOT / ".github/workflows/gate.yml"


def read(file: Path) -> dict[str, Any]:
    [document] = yamlfile.load_file(file)
    return dict(document.value)


def jobs(file: Path) -> Iterator[dict[str, Any]]:
    yield from read(file)["jobs"].values()


def steps(file: Path) -> Iterator[dict[str, Any]]:
    for job in jobs(file):
        yield from job.get("steps", ())


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_to_commits(file: Path) -> None:
    used = [step["uses"] for step in steps(file) if "uses" in step] + [
        job["uses"] for job in jobs(file) if "uses" in job
    ]
    assert used
    for one in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one), f"{one} is not pinned"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_rights_are_given_one_by_one(file: Path) -> None:
    assert read(file)["permissions"] == {"contents": "read"}
    writing = {
        name: job["permissions"] for name, job in read(file)["jobs"].items() if "write" in str(job.get("permissions"))
    }
    assert writing in ({}, {"comment": {"pull-requests": "write"}})
    for name in writing:
        assert not any("lblab" in str(step.get("uses")) for step in read(file)["jobs"][name]["steps"])


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_checkout_keeps_no_credentials(file: Path) -> None:
    for step in steps(file):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_no_expression_stands_in_a_scripts_text(file: Path) -> None:
    """Whoever names a branch or gives an input would write the script: such values come by the environment."""
    for step in steps(file):
        assert "${{" not in str(step.get("run", "")), step.get("name")


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_every_job_ends_in_time(file: Path) -> None:
    assert all("uses" in job or "timeout-minutes" in job for job in jobs(file))


def test_the_gate_uses_options_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    scripts = "\n".join(str(step.get("run", "")) for step in steps(GATE))
    import typer.main

    for name, function in (("compare", compare.compare), ("report", report.report)):
        app = typer.Typer()
        app.command()(function)
        known = {option for parameter in typer.main.get_command(app).params for option in parameter.opts}
        [call] = re.findall(rf"lblab {name} (.*?)(?:\|\||\n\S|\Z)", scripts.replace("\\\n", " "), re.DOTALL)
        used = set(re.findall(r"(?<=\s)--[a-z-]+", " " + call.partition("\n")[0]))
        assert used, call
        assert used <= known, used - known


def test_the_example_gives_inputs_that_the_workflow_takes() -> None:
    taken = read(GATE)["on"]["workflow_call"]["inputs"]
    for job in jobs(ROOT / "docs/examples/github/.github/workflows/cilium.yml"):
        if "uses" in job:
            assert set(job["with"]) <= set(taken)
            assert {name for name, about in taken.items() if about.get("required")} <= set(job["with"])


def test_the_example_for_gitlab_is_one() -> None:
    folder = ROOT / "docs/examples/gitlab"
    content = read(folder / ".gitlab-ci.yml")
    assert all(isinstance(line, str) for line in (*content[".gate"]["script"], *content[".gate"]["before_script"]))
    assert all(content[job]["extends"] == ".gate" for job in ("embedded", "kind"))
    assert (folder / "note.sh").stat().st_mode & 0o111, "it is run as a program"
