"""Cilium replaced part by part, in a lab that is made of nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import UserError
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
