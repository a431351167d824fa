"""What a kind lab leaves in Docker when its owner is killed: nothing; and what is not its own stays. Needs no image."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.backends import registry
from harness.backends.kind import management, names, reaper, removal, tools
from harness.errors import LabError, MissingCapability, UserError
from harness.topology import load
from harness.wait import until

SMALL = Path(__file__).parents[2] / "topologies" / "small.yaml"
#: Seconds for a reaper to remove a network: it looks twice, half a second apart, and Python starts.
_REMOVED_WITHIN = 30.0

#: Claims a lab, makes its network and waits to be killed.
_OWNER = """
import os, sys, time
from pathlib import Path
from harness.backends import registry
from harness.backends.kind import management, reaper, tools
from harness.topology import load
folder, lock = registry.claim(sys.argv[1])
owned = reaper.start(folder, lock)
os.close(lock)
management.make(tools.engine(), sys.argv[1], load(Path(sys.argv[2])), ipv6=False)
print("up", owned.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Docker, with a folder of labs that nobody else sweeps."""
    try:
        tools.docker_command()
        found = tools.engine()
    except MissingCapability as error:
        pytest.skip(f"Docker: {error}")
    folder = Path(f"/tmp/lblab-test-{uuid.uuid4().hex[:8]}")
    monkeypatch.setenv("LBLAB_RUN", str(folder))
    yield found
    registry.sweep()
    folder.rmdir()


@pytest.fixture
def name() -> str:
    """A name that nobody else has."""
    return f"t-{uuid.uuid4().hex[:8]}"


def owner(lab: str) -> tuple[subprocess.Popen[str], int]:
    """Start a process that owns a lab; gives it and its reaper's PID."""
    started = subprocess.Popen([sys.executable, "-c", _OWNER, lab, str(SMALL)], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    word, pid = started.stdout.readline().split()
    assert word == "up"
    return started, int(pid)


def test_a_killed_owner_leaves_nothing(engine: Any, name: str) -> None:
    started, _ = owner(name)
    assert str(removal.ours(engine, name)) == f"network lblab-{name}"
    started.kill()
    started.wait()
    folder = registry.root() / name
    until("the reaper to remove the lab", folder.exists, lambda there: not there, within=_REMOVED_WITHIN)
    assert not removal.ours(engine, name)


def test_a_killed_reaper_is_made_up_for_by_the_next_lblab(engine: Any, name: str) -> None:
    started, pid = owner(name)
    folder = registry.root() / name
    os.kill(pid, signal.SIGKILL)
    started.kill()
    started.wait()
    until("the reaper to be gone", lambda: registry.lock_is_free(folder / registry.LOCK_FILE), within=10)
    assert removal.ours(engine, name)
    reaper.end(folder, pid)
    assert not folder.exists()
    assert not removal.ours(engine, name)


def test_a_foreign_network_of_the_labs_name_is_refused_and_stays(engine: Any, name: str) -> None:
    foreign = engine.networks.create(names.cluster(name))
    try:
        with pytest.raises(UserError, match="that is not this lab's"):
            removal.refuse_foreign(engine, name)
        assert removal.remove(engine, name, Path("/nowhere")) == []
        foreign.reload()
    finally:
        foreign.remove()


def test_two_labs_have_networks_of_their_own(engine: Any, name: str) -> None:
    topology = load(SMALL)
    try:
        subnets = set()
        for one in (name, f"{name}-2"):
            management.make(engine, one, topology, ipv6=False)
            (network,) = engine.networks.list(names=[f"^{names.cluster(one)}$"])
            subnets.add(network.attrs["IPAM"]["Config"][0]["Subnet"])
        assert len(subnets) == 2
        assert all(subnet.startswith("198.1") for subnet in subnets)
        with pytest.raises(LabError, match="Docker does not make the network"):
            management.make(engine, name, topology, ipv6=False)
    finally:
        for one in (name, f"{name}-2"):
            removal.remove(engine, one, Path("/nowhere"))
