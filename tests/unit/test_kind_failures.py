"""What a person is told when Docker, kind or a node fails: one message with its reason and what to do."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.backends import registry
from harness.backends.kind import commands, failures, names, reaper, removal, tools
from harness.backends.kind.commands import Completed
from harness.backends.kind.tools import Tools
from harness.errors import LabError, MissingCapability, UserError

docker = pytest.importorskip("docker", reason="the Python package docker is not installed")


@pytest.mark.parametrize(
    ("why", "said", "hint"),
    [
        ("('Connection aborted.', PermissionError(13, 'Permission denied'))", "refuses this user", "group|usermod"),
        ("('Connection aborted.', FileNotFoundError(2, 'No such file'))", "no Docker daemon answers", "DOCKER_HOST"),
        ("Max retries: Connection refused", "no Docker daemon answers", "DOCKER_HOST"),
        ("something\nelse", "cannot be used: else", "docker version"),
    ],
)
def test_a_docker_that_cannot_be_used_is_a_missing_capability(why: str, said: str, hint: str) -> None:
    error = tools.refused("unix:///x", why)
    assert isinstance(error, MissingCapability)
    assert said in error.message
    assert any(word in str(error.hint) for word in hint.split("|"))


def test_no_docker_command_is_a_missing_capability(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingCapability, match="there is no docker command"):
        tools.docker_command()


def test_nobody_at_docker_host_is_said_with_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(MissingCapability, match=rf"answers at unix://{tmp_path}/none\.sock"):
        tools.engine()


def test_the_context_in_use_says_where_docker_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from docker import context

    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    asked: list[str | None] = []

    def get(name: str | None) -> Any:
        asked.append(name)
        return SimpleNamespace(Host="ssh://somewhere", TLSConfig=None)

    monkeypatch.setattr(context.ContextAPI, "get_context", get)
    assert tools.endpoint({}) == ("ssh://somewhere", False)
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    assert tools.endpoint_environment() == {"DOCKER_CONTEXT": "far"}
    tools.endpoint(tools.endpoint_environment())
    assert asked == [None, "far"]


# -- commands --------------------------------------------------------------------------------------------------------


def test_lines_of_a_command_are_seen_as_they_come() -> None:
    seen: list[str] = []
    script = "import sys; print('a'); print('b', file=sys.stderr); sys.exit(3)"
    done = commands.run([sys.executable, "-c", script], within=20, on_line=seen.append)
    assert done.code == 3
    assert sorted(done.output) == sorted(seen) == ["a", "b"]


def test_a_command_that_hangs_is_ended_and_its_last_words_are_told() -> None:
    script = "import time; print('waiting', flush=True); time.sleep(60)"
    with pytest.raises(LabError, match=r"has not ended after 1 s; it said last: waiting"):
        commands.run([sys.executable, "-c", script], within=1)


def test_a_command_that_is_not_there_is_said_so() -> None:
    with pytest.raises(LabError, match="cannot be run"):
        commands.run(["/nowhere/kind"], within=1)


def test_a_command_is_stopped_when_its_lab_fails() -> None:
    done = commands.run([sys.executable, "-c", "import time; time.sleep(60)"], within=50, stopped=lambda: True)
    assert done.code < 0


# -- kind and nodes --------------------------------------------------------------------------------------------------


class Engine:
    """Docker, as far as a failure is explained by it."""

    def __init__(self, **containers: Any) -> None:
        self.containers = SimpleNamespace(get=lambda name: containers[name.replace("-", "_")])


def container(status: str, code: int, log: str) -> Any:
    return SimpleNamespace(status=status, attrs={"State": {"ExitCode": code}}, logs=lambda tail: log.encode())


def explained(output: list[str], asked: Mapping[str, str] | None = None, **containers: Any) -> LabError:
    def runner(argv: list[str], **_: Any) -> Completed:
        text = next((text for word, text in (asked or {}).items() if word in argv), "")
        return Completed(argv, 0, text.splitlines())

    used = Tools(Engine(**containers), Path("docker"), Path("kind"), Path("helm"), runner=runner)
    nodes = {name.replace("_", "-"): name.replace("_", "-") for name in containers}
    return failures.of_create(Completed(["kind"], 1, output), nodes, used)


def test_kinds_last_lines_and_what_the_containers_say_are_in_one_message() -> None:
    error = explained(
        [f"line {number}" for number in range(30)], worker=container("exited", 255, "Failed to mount cgroup")
    )
    text = str(error)
    assert "exit code 1" in text
    assert "line 29" in text
    assert "line 3\n" not in text
    assert "worker: container worker is exited, exit code 255" in text
    assert "Failed to mount cgroup" in text


@pytest.mark.parametrize(
    ("output", "first"),
    [
        (["ERROR: failed to create cluster: x", "", "Command Output: docker: Error response from daemon: y."], "y."),
        (["• Preparing nodes", "ERROR: failed to create cluster: could not find a log line"], "a log line"),
        (["just this"], "just this"),
        ([], "it said nothing"),
    ],
)
def test_the_first_line_says_why(output: list[str], first: str) -> None:
    message = explained(output, control_plane=container("running", 0, "")).message
    assert message.partition("\n")[0].endswith(first)


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Bind for 127.0.0.1:6443 failed: port is already allocated", "a port of the machine is taken"),
        ("invalid pool request: Pool overlaps with other one on this address space", "a subnet is taken"),
        ("write /var/lib: no space left on device", "the disk is full"),
        ("inotify_add_watch: too many open files", "fs.inotify.max_user_instances"),
    ],
)
def test_what_can_be_done_about_it_is_said(said: str, hint: str) -> None:
    assert hint in str(explained([said], control_plane=container("running", 0, "")).hint)


def test_a_node_that_does_not_get_ready_is_shown_with_its_conditions() -> None:
    nodes = (
        '{"items": [{"metadata": {"name": "worker1"}, "status": {"conditions": [{"type": "Ready", "status": "False",'
        ' "reason": "KubeletNotReady", "message": "container runtime network not ready"}]}}]}'
    )
    said = {"kubectl": nodes, "journalctl": "ok\nE1123 failed to load kubelet config\n"}
    text = str(explained(["ERROR: failed"], said, control_plane=container("running", 0, "")))
    assert "control-plane, kubelet: E1123 failed to load kubelet config" in text
    assert "node worker1: Ready=False (KubeletNotReady: container runtime network not ready)" in text


class FakeCluster:
    """A cluster with one node and one pod that do not get ready."""

    def get(self, kind: str, name: str) -> dict[str, Any]:
        condition = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "stopped posting"}
        return {"metadata": {"name": name}, "status": {"conditions": [condition]}}

    def events(self, kind: str, name: str, *, namespace: str | None = None) -> list[dict[str, Any]]:
        return [
            {"type": "Normal", "reason": "Starting", "message": "x"},
            {"type": "Warning", "reason": "Failed", "message": 'Failed to pull image "a:1"'},
        ]

    def list(self, kind: str, *, namespace: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        waiting = {"waiting": {"reason": "ErrImageNeverPull", "message": "not present"}}
        status = {"phase": "Pending", "containerStatuses": [{"name": "agent", "state": waiting}]}
        return [{"metadata": {"name": "cilium-x"}, "status": status}]


def test_an_unready_node_is_shown_with_its_conditions_and_events() -> None:
    text = str(failures.of_nodes(FakeCluster(), ["worker1"], 60))  # type: ignore[arg-type]
    assert "after 60 s" in text
    assert "Ready=Unknown (NodeStatusUnknown: stopped posting)" in text
    assert 'Failed: Failed to pull image "a:1"' in text
    assert "Starting" not in text


def test_an_unready_pod_says_what_it_waits_for() -> None:
    lines = failures.of_pods(FakeCluster(), "kube-system", {})  # type: ignore[arg-type]
    assert lines[0] == "pod cilium-x: Pending; agent waits: ErrImageNeverPull not present"


# -- removal ---------------------------------------------------------------------------------------------------------


class Things:
    """Containers or networks of Docker, by the filters that are used of its API."""

    def __init__(self, *things: Any) -> None:
        self.things = list(things)

    def list(self, *, all: bool = False, filters: Any = None, names: Any = None, ignore_removed: bool = False) -> Any:
        wanted = (filters or {}).get("label")
        if wanted is None:
            return list(self.things)
        name, _, value = wanted.partition("=")
        return [one for one in self.things if one.labels.get(name) == value]


def thing(name: str, labels: dict[str, str] | None = None, network: str = "bridge") -> Any:
    attrs = {"Labels": labels or {}, "NetworkSettings": {"Networks": {network: {}}}}
    return SimpleNamespace(id=name, name=name, labels=labels or {}, attrs=attrs)


KIND = {names.KIND_LABEL: "lblab-lab"}


def test_only_what_is_the_labs_own_is_removed() -> None:
    mine = names.labels("lab")
    node = thing("lblab-lab-worker", KIND, "lblab-lab")
    engine: Any = SimpleNamespace(
        containers=Things(thing("lblab-lab-host", mine), node, thing("lblab-lab-mine"), thing("x", {"a": "b"})),
        networks=Things(thing("lblab-lab", mine)),
    )
    assert str(removal.ours(engine, "lab")) == "container lblab-lab-host, container lblab-lab-worker, network lblab-lab"


def test_a_kind_cluster_of_that_name_in_another_network_is_not_ours() -> None:
    engine: Any = SimpleNamespace(containers=Things(thing("lblab-lab-worker", KIND, "kind")), networks=Things())
    assert not removal.ours(engine, "lab")
    with pytest.raises(UserError, match="a kind cluster 'lblab-lab' that is not this lab's"):
        removal.refuse_foreign(engine, "lab")


@pytest.mark.parametrize(
    ("containers", "networks", "said"),
    [
        ([thing("lblab-lab-host")], [], "a Docker container 'lblab-lab-host'"),
        ([thing("lblab-lab-host", {**names.labels("lab"), names.OWNER_LABEL: "1@other:/x"})], [], "a Docker container"),
        ([], [thing("lblab-lab")], "a Docker network 'lblab-lab'"),
    ],
)
def test_a_foreign_thing_of_the_same_name_is_refused(containers: list[Any], networks: list[Any], said: str) -> None:
    engine: Any = SimpleNamespace(containers=Things(*containers), networks=Things(*networks))
    with pytest.raises(UserError, match=said) as caught:
        removal.refuse_foreign(engine, "lab")
    assert caught.value.exit_code == 2


def test_a_lab_whose_name_begins_the_same_is_no_stranger() -> None:
    other = thing("lblab-lab-2-host", names.labels("lab-2"))
    node = thing("lblab-lab-2-worker", {names.KIND_LABEL: "lblab-lab-2"})
    engine: Any = SimpleNamespace(containers=Things(other, node), networks=Things())
    removal.refuse_foreign(engine, "lab")


def test_commands_of_a_lab_are_ended_by_their_environment(tmp_path: Path) -> None:
    import subprocess

    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    mine = subprocess.Popen(sleeper, env={**os.environ, names.ENVIRONMENT: str(tmp_path)})
    other = subprocess.Popen(sleeper, env={**os.environ, names.ENVIRONMENT: str(tmp_path / "other")})
    try:
        assert removal.end_commands(tmp_path) == [mine.pid]
        assert mine.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        for one in (mine, other):
            one.kill()
            one.wait(10)


@pytest.mark.parametrize("last", [b"", registry.LEAVE])
def test_a_reaper_waits_for_its_owners_end_and_not_for_a_lab_that_is_to_stay(last: bytes) -> None:
    """Run where signals may be handled: the test's main thread. A lab that stays is ended by SIGTERM."""
    read, write = os.pipe()
    before = signal.getsignal(signal.SIGTERM)
    try:
        os.write(write, last)
        os.close(write)
        if last:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        reaper.wait_for_the_end(read)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, before)
        os.close(read)
