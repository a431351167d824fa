"""Components that somebody else starts and starts again: found, ended, kept down, let go on; with processes of bash."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backends.kind.found import Found
from harness.backends.netns.processes import StartFailed
from harness.timeline import event
from harness.timeline.event import Event
from harness.wait import let_pass, until

AGENT = "worker1/cilium-agent"
#: A node: its first process, the runtime's shim, and an agent that is started anew whenever it has ended.
NODE = (
    "(exec -a containerd-shim-runc-v2 bash -c"
    " 'while :; do (exec -a cilium-agent sleep 1000); read -t 0.05 <> <(:); done'); wait"
)


@pytest.fixture
def node() -> Iterator[int]:
    first = subprocess.Popen(["bash", "-c", NODE], start_new_session=True)
    yield first.pid
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def found(node: int, told: list[Event]) -> Found:
    made = Found(lambda: [("worker1", node)], told.append)
    until("the agent to be found", lambda: made.knows(AGENT) and made.pid(AGENT), within=5)
    return made


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_what_is_killed_stays_down_until_it_is_started(found: Found, told: list[Event]) -> None:
    before = found.pid(AGENT)
    sent = found.signal(AGENT, signal.SIGKILL)
    ended = found.wait_ended(AGENT, 5)["at_ns"]
    assert ended is not None
    assert ended >= sent["at_ns"]
    held = until("the next one to be held", found.held, within=5)
    (pid,) = held
    assert pid != before
    assert found.pid(AGENT) is None
    let_pass(0.3)
    assert state_of(pid) == "T"
    started = found.start(AGENT)
    assert started["pid"] == pid == found.pid(AGENT)
    until("it to run", lambda: state_of(pid), lambda state: state != "T", within=5)
    kinds = [one.kind for one in told if one.subject == AGENT]
    assert kinds == [event.STARTED, event.SIGNALLED, event.ENDED, event.STARTED]


def test_what_ends_by_itself_is_found_again(found: Found, node: int) -> None:
    before = found.pid(AGENT)
    assert before is not None
    subprocess.run(["kill", "-KILL", str(before)], check=True)
    after = until("another one", lambda: found.pid(AGENT), lambda pid: pid not in (None, before), within=5)
    assert after is not None
    with pytest.raises(StartFailed, match="already running"):
        found.start(AGENT)


def test_an_unknown_component_is_named(found: Found) -> None:
    with pytest.raises(StartFailed, match=f"there is no process worker1/etcd; there are {AGENT}"):
        found.signal("worker1/etcd", signal.SIGKILL)
