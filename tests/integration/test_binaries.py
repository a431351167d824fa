"""Real builds of a small program, and what a lab is given: needs Go, as a lab does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import wait
from harness.binaries import cache, ensure, gocommand, programs, toolchain
from harness.binaries.display import Lines
from harness.errors import UserError

#: Builds the smallest program in a process of its own, so that it can be interrupted.
BUILDER = "from harness.binaries import build; build(['lablet'], progress=lambda line: print(line, flush=True))"


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of programs; Go's own cache of compiled packages stays the user's."""
    compiled = gocommand.ask(toolchain.provide((1, 24)), "env", "GOCACHE").stdout.strip()
    monkeypatch.setenv("GOCACHE", compiled)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lblab"


@contextlib.contextmanager
def builder(**environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process that builds the lablet. SIGINT reaches it even where the shell that started pytest ignores it."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import signal; signal.signal(2, signal.default_int_handler); {BUILDER}"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def go_processes_of(cache_folder: Path) -> list[str]:
    """Go commands that write into a cache folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if f"-o {cache_folder}" in command:
                found.append(command)
    return found


@pytest.mark.usefixtures("own_cache")
def test_two_builders_at_once_build_once() -> None:
    with builder() as first, builder() as second:
        said = [one.communicate(timeout=300)[0] for one in (first, second)]
        assert first.returncode == second.returncode == 0
    assert sum(text.count("lablet lblab: built in") for text in said) == 1
    program = programs.folder_of(programs.LABLET) / "lablet"
    assert os.access(program, os.X_OK)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_build_ends_with_its_compilers_and_can_be_repeated(
    number: signal.Signals, own_cache: Path, tmp_path: Path
) -> None:
    with builder(GOCACHE=str(tmp_path / "nothing-compiled")) as process:  # compiling the standard library takes a while
        wait.until("the compiler to run", lambda: go_processes_of(own_cache), within=60)
        process.send_signal(number)
        assert process.wait(10) != 0
    wait.until("the compiler to be gone", lambda: not go_processes_of(own_cache), within=10)
    assert not list(cache.entries())

    with builder() as again:
        again.communicate(timeout=300)
        assert again.returncode == 0
    assert [one.name for one in (own_cache / "bin").iterdir()] == [programs.folder_of(programs.LABLET).name]


@pytest.mark.usefixtures("own_cache")
def test_a_program_that_does_not_compile_is_one_sentence_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "sources"
    (sources / "broken").mkdir(parents=True)
    (sources / "broken" / "go.mod").write_text("module broken\n\ngo 1.24\n")
    (sources / "broken" / "main.go").write_text("package main\n\nfunc main() { undefinedFunction() }\n")
    monkeypatch.setattr(programs, "SOURCES", sources)
    told: list[str] = []
    with pytest.raises(UserError) as caught:
        programs.provide(programs.GoProgram("broken", "1", ()), Lines(told.append))
    assert caught.value.message == "broken 1 cannot be built: ./main.go:3:15: undefined: undefinedFunction"
    assert caught.value.file
    log = Path(caught.value.file).read_text()
    assert "$ go build" in log
    assert "undefined: undefinedFunction" in log
    assert not list(cache.entries())


def test_what_a_lab_is_given_says_what_it_is() -> None:
    found = ensure("1.18.0")
    version = subprocess.run([found.kube, "kube-apiserver", "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.strip() == f"Kubernetes v{programs.KUBERNETES}"
    for program in (found.cilium_bgp, found.cilium_operator):
        done = subprocess.run([program], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.strip() == f"{program.name}: --kubeconfig is missing"
    assert found.provenance["cilium"]["modules"]["github.com/cilium/cilium"] == "v1.18.0"
    assert found.provenance["kube"]["modules"]["k8s.io/kubernetes"] == f"v{programs.KUBERNETES}"
    assert re.fullmatch(r"go1\.\d+(\.\d+)?", found.provenance["kube"]["go"])


def test_the_seed_serves_this_versions_crds_and_belongs_to_no_api_server() -> None:
    found = ensure("1.18.0")
    kinds = found.provenance["seed"]["kinds"]
    assert {"CiliumBGPPeeringPolicy.cilium.io/v2alpha1", "CiliumBGPClusterConfig.cilium.io/v2"} <= set(kinds)
    with tarfile.open(found.seed) as tar:
        database = tar.extractfile("member/snap/db")
        assert database is not None
        content = database.read()
    assert b"/registry/apiextensions.k8s.io/customresourcedefinitions/ciliumnodes.cilium.io" in content
    # defragmented, so what was deleted is not in the file either
    assert b"/registry/servicecidrs/" not in content
    assert b"/registry/services/specs/default/kubernetes" not in content
