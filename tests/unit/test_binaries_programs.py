"""What is built for a lab, under which key, and what is said when it is not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import binaries
from harness.binaries import cache, gomod, programs
from harness.binaries.display import Display, Lines
from harness.cilium import semver
from harness.cilium.versions import KNOWN
from harness.errors import UserError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@dataclass(frozen=True)
class Fake:
    """A program whose "build" is a function of the test."""

    work: Callable[[Path, Display], None]
    name: str = "fake"
    version: str = "1.0.0"

    def content(self) -> str:
        return "abc"

    def make(self, folder: Path, display: Display, log: Path) -> dict[str, Any]:
        self.work(folder, display)
        return {"go": "go1.26.8"}


def test_a_program_is_built_once() -> None:
    built: list[Path] = []

    def work(folder: Path, _: Display) -> None:
        built.append(folder)
        (folder / "fake").write_text("program")

    told: list[str] = []
    first = programs.provide(Fake(work), Lines(told.append))
    assert programs.provide(Fake(work), Lines(told.append)) == first
    assert len(built) == 1
    assert told == ["fake 1.0.0: built in 0 s"]
    provenance = cache.read(first)
    assert provenance is not None
    assert provenance["program"] == "fake"
    assert provenance["go"] == "go1.26.8"
    assert provenance["files"]["fake"]["bytes"] == len("program")
    # sha256 of "program", by sha256sum
    assert provenance["files"]["fake"]["sha256"] == "1310ca2c8932dbd118668bd97442558a3e1f546b5e15c69699dfbd6024f548d8"


def test_a_full_disk_while_copying_is_one_sentence() -> None:
    def work(_: Path, __: Display) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"^fake 1\.0\.0 cannot be built: the disk is full"):
        programs.provide(Fake(work), Lines(lambda _: None))


def test_a_failed_build_can_be_tried_again() -> None:
    attempts: list[int] = []

    def work(folder: Path, _: Display) -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise UserError("fake 1.0.0 cannot be built: some reason")
        (folder / "fake").write_text("program")

    with pytest.raises(UserError, match="some reason"):
        programs.provide(Fake(work), Lines(lambda _: None))
    assert (programs.provide(Fake(work), Lines(lambda _: None)) / "fake").exists()


@pytest.mark.parametrize("version", [str(one) for one in KNOWN])
def test_every_known_version_has_a_key_of_its_own(version: str) -> None:
    keys = {programs.folder_of(programs.cilium(one)) for one in KNOWN}
    assert len(keys) == len(KNOWN)
    assert programs.folder_of(programs.cilium(semver.parse(version))).name.startswith(f"cilium-{version}-")


def test_the_key_of_a_seed_follows_kubernetes_and_cilium() -> None:
    cilium = programs.cilium(semver.parse("1.18.0"))
    seed = programs.SeedProgram(programs.KUBE, cilium)
    other = programs.GoProgram("kube", "1.34.4", (), "-X another=stamp")
    assert programs.SeedProgram(other, cilium).content() != seed.content()
    assert programs.SeedProgram(programs.KUBE, programs.cilium(semver.parse("1.20.2"))).content() != seed.content()


def test_the_key_of_cilium_follows_what_may_be_substituted(monkeypatch: pytest.MonkeyPatch) -> None:
    cilium = programs.cilium(semver.parse("1.20.2"))
    before = cilium.content()
    monkeypatch.setattr(gomod, "SUBSTITUTIONS", {20: gomod.Substitution("github.com/osrg/gobgp/v4", "v4.9.0", "newer")})
    assert cilium.content() != before


def test_kubernetes_is_the_version_that_its_module_requires() -> None:
    required = (programs.SOURCES / "kube" / "go.mod").read_text()
    assert f"k8s.io/kubernetes v{programs.KUBERNETES}\n" in required
    assert f"version.gitVersion=v{programs.KUBERNETES} " in programs.KUBE.stamp


def test_too_old_a_cilium() -> None:
    with pytest.raises(UserError, match=r"Cilium 1\.13\.18 cannot be built: lblab builds 1\.14 and later") as caught:
        binaries.ensure("1.13.18")
    assert caught.value.exit_code == 2


def test_without_building_what_is_missing_is_named() -> None:
    with pytest.raises(UserError) as caught:
        binaries.ensure("1.18.0", build=False)
    assert caught.value.message == (
        "cilium 1.18.0 and kube 1.34.4 and node-agent lblab and lablet lblab and seed 1.18.0 are not built"
    )
    assert caught.value.hint == "leave out --no-build, or run: lblab build cilium@1.18.0"


def test_what_is_there_is_given_without_building() -> None:
    cilium = programs.cilium(semver.parse("1.18.0"))
    seed = programs.SeedProgram(programs.KUBE, cilium)
    for one in (programs.KUBE, cilium, programs.NODE_AGENT, programs.LABLET, seed):
        with cache.making(programs.folder_of(one)) as (_, provenance):
            provenance.update(program=one.name, version=one.version, files={"x": {"bytes": 7}})
    found = binaries.ensure("1.18.0", build=False)
    assert found.kube == programs.folder_of(programs.KUBE) / "kube"
    assert found.cilium_bgp.parent == found.cilium_operator.parent == programs.folder_of(cilium)
    assert set(found.provenance) == {"kube", "cilium", "node-agent", "lablet", "seed"}

    with cache.making(cache.entry("kube", "1.33.0", "old")) as (_, provenance):
        provenance.update(program="kube", version="1.33.0", files={})
    listed = {(one.program, one.version): one for one in binaries.list_built()}
    assert listed["kube", "1.34.4"].current
    assert listed["seed", "1.18.0"].current
    assert listed["cilium", "1.18.0"].size == 7
    assert not listed["kube", "1.33.0"].current

    assert [(one.program, one.version) for one in binaries.prune()] == [("kube", "1.33.0")]
    assert len(binaries.list_built()) == 5


@pytest.mark.parametrize("target", ["kubelet", "kube@1.33", "", "cilium@latest", "node-agent@2"])
def test_targets_that_are_none(target: str) -> None:
    with pytest.raises(UserError):
        binaries.build([target])
