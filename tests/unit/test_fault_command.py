"""`lblab fault` without a lab: what it lists, what it explains, and how it says what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.faults import registry

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run() -> Iterator[Path]:
    """A folder of labs in which none runs."""
    with tempfile.TemporaryDirectory(prefix="lblab-", dir="/tmp") as folder:
        yield Path(folder)


def fault(*argv: str | Path, run: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", "fault", *map(str, argv)]
    environment = {**os.environ, "LBLAB_RUN": str(run), "COLUMNS": "100"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60, check=False)


def test_list_shows_every_kind_and_its_parameters(run: Path) -> None:
    done = fault("list", run=run)
    assert done.returncode == 0
    for name in registry.KINDS:
        assert f"\n{name} " in f"\n{done.stdout}"
    assert "--restart-after" in done.stdout
    facts = json.loads(fault("list", "--json", run=run).stdout)
    assert [one["name"] for one in facts] == list(registry.KINDS)
    (loss,) = (one for one in facts if one["name"] == "packet-loss")
    assert [(one["name"], one["required"]) for one in loss["parameters"]] == [
        ("host", True),
        ("percent", True),
        ("network", False),
        ("direction", False),
    ]


def test_a_kind_explains_itself(run: Path) -> None:
    done = fault("router-reboot", "--help", run=run)
    assert done.returncode == 0
    for text in ("--down-for", "[default: 5s]", "--orderly / --no-orderly", "--for TIME", "--keep", "--json"):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["agent-kill", "worker1"], "no lab is running (lblab up topologies/small.yaml)"),
        (["undo"], "no lab is running (lblab up topologies/small.yaml)"),
        (
            ["agent-kill", "worker1", "--restart-after", "soon"],
            "agent-kill: restart-after: 'soon' is no duration: write 500ms, 3s or 2m",
        ),
        (["node-silent", "worker1", "--for", "3x"], "--for: '3x' is no duration: write 500ms, 3s or 2m"),
        (["link-down", "w", "--where", "sky"], "link-down: where is host or switch or path, not 'sky'"),
        (["packet-loss", "w", "0"], "packet-loss: percent is above 0 and at most 100, not 0"),
        (["schedule", "nowhere.yaml"], "nowhere.yaml: cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_code_2(run: Path, argv: list[str], sentence: str) -> None:
    done = fault(*argv, run=run)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"lblab: {sentence}\n")


def test_a_schedule_is_checked_before_a_lab_is_asked_for(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("- at: 1s\n  fault: agent-kill\n  node: worker1\n  restart-after: soon\n")
    done = fault("schedule", file, run=run)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lblab: {file}:4: agent-kill: restart-after: 'soon' is no duration")
    file.write_text("- {at: 1s, fault: agent-kill, node: worker1}\n")
    assert fault("schedule", file, run=run).stderr == "lblab: no lab is running (lblab up topologies/small.yaml)\n"
