"""The command line without a lab: sentences, exit codes, what is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness import cli
from harness.backends.registry import LabInfo
from harness.commands import common, hosts, labs
from harness.errors import LabError, UserError

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "topologies" / "small.yaml"


def lblab(*argv: str | Path, run: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", *map(str, argv)]
    environment = {**os.environ, "LBLAB_RUN": str(run), "COLUMNS": "80"}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment, input=stdin, timeout=60, check=False
    )


@pytest.fixture
def run() -> Iterator[Path]:
    """A folder of labs in which none runs; pytest's own are too long for UNIX sockets."""
    with tempfile.TemporaryDirectory(prefix="lblab-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["status"], "lblab: no lab is running (lblab up topologies/small.yaml)"),
        (["down", "--lab", "x"], "lblab: no lab is running (lblab up topologies/small.yaml)"),
        (["apply", "x.yaml"], "lblab: no lab is running (lblab up topologies/small.yaml)"),
        (["exec", "client", "--", "curl", "-s", "x"], "lblab: no lab is running (lblab up topologies/small.yaml)"),
        (["logs", "-f"], "lblab: no lab is running (lblab up topologies/small.yaml)"),
        (["graph"], "lblab: no lab is running (lblab up topologies/small.yaml)"),
        (["up", "nowhere.yaml"], "lblab: nowhere.yaml: cannot be read: No such file or directory"),
        (["graph", "nowhere.yaml"], "lblab: nowhere.yaml: cannot be read: No such file or directory"),
        (["up", SMALL, "--backend", "xen"], "lblab: there is no backend 'xen' (there are: netns, kind)"),
        (["up", SMALL, "--backend", "kind", "--frr-version", "x"], 'lblab: "x" is not an FRR version'),
        (["images", "load", "nowhere.tar"], "lblab: "),
        (["conform", "scenarios/nowhere.py"], "lblab: there is no scenarios/nowhere.py here"),
        (["build", "nonsense"], "lblab: 'nonsense' is nothing that can be built (one of kube,"),
        (["graph", SMALL, "-o", "/proc/nowhere"], "lblab: /proc/nowhere: the drawing cannot be written: "),
    ],
)
def test_a_user_error_is_one_sentence_and_exit_code_2(run: Path, argv: list[str | Path], sentence: str) -> None:
    done = lblab(*argv, run=run)
    assert done.returncode == 2
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_mistake_in_a_topology_has_its_file_and_line(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(SMALL.read_text() + "\nnodez: {}\n")
    line = file.read_text().splitlines().index("nodez: {}") + 1
    done = lblab("up", file, run=run)
    assert done.returncode == 2
    assert done.stderr.startswith(f"lblab: {file}:{line}: ")
    assert not list(run.glob("*")), "nothing is left behind"


def test_a_cilium_version_that_does_not_exist_is_a_user_error(run: Path) -> None:
    done = lblab("up", SMALL, "--cilium-version", "9.9.9", run=run)
    assert done.returncode == 2
    assert "9.9.9" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("argv", [["nonsense"], ["up"], ["up", "--nonsense"], ["graph", SMALL, "--format", "png"]])
def test_a_wrong_command_line_is_exit_code_2(run: Path, argv: list[str | Path]) -> None:
    done = lblab(*argv, run=run)
    assert done.returncode == 2
    assert "Usage: " in done.stderr
    assert "Traceback" not in done.stderr


def test_schema_graph_and_list_need_no_lab(run: Path, tmp_path: Path) -> None:
    assert json.loads(lblab("schema", run=run).stdout)["title"] == "lblab topology"
    assert lblab("graph", SMALL, "--format", "mermaid", run=run).stdout.startswith("flowchart TB\n")
    drawing = tmp_path / "small.svg"
    assert lblab("graph", SMALL, "-o", drawing, run=run).returncode == 0
    assert drawing.read_text().startswith("<svg ")
    assert json.loads(lblab("list", "--json", run=run).stdout) == []
    assert lblab("list", run=run).stdout == "no lab is running\n"


def test_build_lists_what_is_there(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(run))
    assert lblab("build", "--list", run=run).stdout == "nothing is built\n"
    assert json.loads(lblab("build", "--list", "--json", run=run).stdout) == []


def test_doctor_prints_facts_and_strict_fails_when_something_is_missing(run: Path) -> None:
    done = lblab("doctor", "--json", run=run)
    checks = json.loads(done.stdout)
    assert done.returncode == 0
    assert {"name", "ok", "found", "needed_for", "remedy", "fallback"} == set(checks[0])
    strict = lblab("doctor", "--strict", "--json", run=run)
    assert strict.returncode == int(not all(check["ok"] for check in json.loads(strict.stdout)))


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    heavy = "{'rich', 'pydantic', 'pyroute2', 'ruamel.yaml', 'http.client', 'harness.lab', 'harness.cluster'}"
    code = f"import sys, harness.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"


def end(monkeypatch: pytest.MonkeyPatch, error: BaseException, *argv: str) -> int:
    def broken() -> list[LabInfo]:
        raise error

    monkeypatch.setattr(labs, "running", broken)
    monkeypatch.setattr(sys, "argv", ["lblab", *argv])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    code: Any = caught.value.code
    return int(code)


def test_ctrl_c_is_exit_code_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert end(monkeypatch, KeyboardInterrupt(), "list") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_lab_error_is_one_sentence_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end(monkeypatch, LabError("bgpd did not start"), "list") == 1
    assert capsys.readouterr().err == "lblab: bgpd did not start\n"


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labs, "running", lambda: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["lblab", "list"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def info(name: str, created: float) -> LabInfo:
    """A running lab, as far as the choice among several looks at it."""
    return cast(LabInfo, SimpleNamespace(name=name, created=created))


def test_the_lab_that_was_brought_up_last_is_the_one_meant() -> None:
    running = [info("old", 1), info("new", 3), info("middle", 2)]
    assert common.choose(running, None).name == "new"
    assert common.choose(running, "old").name == "old"
    with pytest.raises(UserError, match=r"no lab named 'other' is running \(running: old, new, middle\)"):
        common.choose(running, "other")


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("worker1/cilium-agent", ["worker1/cilium-agent"]),
        ("cilium-agent", ["worker1/cilium-agent", "worker2/cilium-agent"]),
        ("worker2", ["worker2/cilium-agent"]),
        ("worker*/*", ["worker1/cilium-agent", "worker2/cilium-agent"]),
        ("opnsense/bgp", []),
    ],
)
def test_processes_are_chosen_by_name_program_host_or_pattern(wanted: str, chosen: list[str]) -> None:
    assert hosts.matching(["worker1/cilium-agent", "worker2/cilium-agent", "opnsense/bgpd"], wanted) == chosen


class FakeLab(SimpleNamespace):
    """What the commands that work with objects use of a lab."""

    def apply(self, what: Path | str) -> list[Any]:
        self.got.append(what)
        return [Applied()]


class Applied(SimpleNamespace):
    kind, namespace, name, created, warnings = "Service", "default", "x", True, ("v1 Thing is old",)

    def __str__(self) -> str:
        return "Service default/x"


def test_apply_says_what_it_did_and_warns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.commands import objects

    lab = FakeLab(got=[])
    monkeypatch.setattr(objects, "attach", lambda name: lab)
    objects.apply(["a.yaml"])
    captured = capsys.readouterr()
    assert captured.out == "Service default/x created\n"
    assert captured.err == "warning: Service default/x: v1 Thing is old\n"
    objects.apply(["a.yaml"], as_json=True)
    (fact,) = json.loads(capsys.readouterr().out)
    assert fact == {
        "kind": "Service",
        "namespace": "default",
        "name": "x",
        "created": True,
        "warnings": ["v1 Thing is old"],
    }
    assert lab.got == [Path("a.yaml"), Path("a.yaml")]


def test_delete_takes_a_kind_and_a_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.commands import objects

    asked: list[tuple[Any, ...]] = []

    def delete(kind: str, name: str, *, namespace: str | None) -> list[str]:
        asked.append((kind, name, namespace))
        return [f"Service {name}"] if name == "x" else []

    monkeypatch.setattr(objects, "attach", lambda name: SimpleNamespace(cluster=SimpleNamespace(delete=delete)))
    objects.delete(["svc", "games/x"])
    assert asked == [("svc", "x", "games")]
    assert capsys.readouterr().out == "Service x deleted\n"
    with pytest.raises(UserError, match="there is no svc 'y'"):
        objects.delete(["svc", "y"])
