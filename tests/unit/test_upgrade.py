"""Cilium replaced part by part, in a lab that is made of nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.cli import main
from harness.errors import UserError
from harness.gate import pytest_run
from harness.upgrade import Cilium


class Part:
    """A process that notes what is done to it."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self._log = log

    def stop(self) -> int:
        """SIGTERM."""
        self._log.append(f"stop {self.name}")
        return 1

    def start(self) -> int:
        """Start anew."""
        self._log.append(f"start {self.name}")
        return 2


@pytest.fixture
def lab() -> Any:
    """Two nodes and an operator, of 1.18.0."""
    log: list[str] = []
    nodes = {name: SimpleNamespace(name=name, agent=Part(f"{name}/cilium-agent", log)) for name in ("w1", "w2")}
    backend = SimpleNamespace(
        cilium_version="1.18.0", replace=lambda process, version: log.append(f"{process} becomes {version}")
    )
    return SimpleNamespace(
        backend=backend,
        nodes=nodes,
        node=nodes.__getitem__,
        operator=Part("control-plane/cilium-operator", log),
        cluster=SimpleNamespace(cilium_version="1.18.0"),
        cilium_version="1.18.0",
        log=log,
    )


def test_an_agent_ends_when_its_successor_is_ready_to_start(lab: Any) -> None:
    """The program is there before the old one ends; the others stay as they are."""
    cilium = Cilium(lab)
    assert not cilium.mixed
    assert cilium.upgrade_agent("w1", "1.19") == 2
    assert lab.log == ["w1/cilium-agent becomes 1.19.4", "stop w1/cilium-agent", "start w1/cilium-agent"]
    assert cilium.versions == {
        "control-plane/cilium-operator": "1.18.0",
        "w1/cilium-agent": "1.19.4",
        "w2/cilium-agent": "1.18.0",
    }
    assert cilium.mixed
    assert lab.cilium_version == "1.18.0"


def test_the_operator_decides_which_api_there_is(lab: Any) -> None:
    """What is applied after it was replaced is checked against its version."""
    cilium = Cilium(lab)
    cilium.upgrade_operator("1.19.4")
    assert lab.cilium_version == lab.cluster.cilium_version == "1.19.4"
    for node in lab.nodes:
        assert cilium.mixed
        cilium.upgrade_agent(node, "1.19.4")
    assert not cilium.mixed


def test_a_version_that_does_not_exist_ends_nothing(lab: Any) -> None:
    """The agent goes on running."""
    with pytest.raises(UserError, match=r"1\.77"):
        Cilium(lab).upgrade_agent("w1", "1.77.0")
    assert lab.log == []


# -- the door --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "code"), [(["passed", "skipped"], 0), (["passed", "failed"], 1), (["untrusted"], 3), (["skipped"], 3)]
)
def test_lblab_upgrade(
    outcomes: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The scenarios of a rolling upgrade from A to B; what they say in a line each."""
    (tmp_path / "scenarios/upgrade").mkdir(parents=True)
    (tmp_path / "scenarios/upgrade/test_rollout.py").touch()
    monkeypatch.chdir(tmp_path)
    told: list[pytest_run.Command] = []

    def run(command: pytest_run.Command, _: object) -> int:
        told.append(command)
        lines = [
            {"kind": "scenario", "scenario": f"scenarios/upgrade/test_rollout.py::test_{number}", "outcome": outcome}
            for number, outcome in enumerate(outcomes)
        ]
        command.results.parent.mkdir(parents=True, exist_ok=True)
        command.results.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return int("failed" in outcomes)

    monkeypatch.setattr(pytest_run, "run", run)
    monkeypatch.setattr("sys.argv", ["lblab", "upgrade", "1.18", "1.19.4"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    assert told[0].cilium_version == "1.18.0"
    assert "--upgrade-to=1.19.4" in told[0].argv()
    out = capsys.readouterr().out
    assert all(outcome in out for outcome in outcomes)
    assert "results/upgrade-1.18.0-1.19.4.jsonl" in out
