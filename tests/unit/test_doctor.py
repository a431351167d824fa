from __future__ import annotations

from pathlib import Path

import pytest

from harness import doctor, kernel_probe


def test_every_probe_of_the_kernel_is_explained() -> None:
    checks = list(doctor.features(dict.fromkeys(kernel_probe.PROBES)))
    assert [check.name for check in checks] == [f"kernel: {name}" for name in kernel_probe.PROBES]
    assert all(check.ok and check.remedy is None and check.fallback is None for check in checks)


def test_a_missing_feature_has_its_reason_and_its_fallback() -> None:
    (check,) = doctor.features({"netem": "No such file or directory"})
    assert not check.ok
    assert check.found == "No such file or directory"
    assert check.fallback
    assert check.remedy


def test_memory_is_what_the_kernel_calls_available() -> None:
    assert doctor.memory_available("MemTotal:  100 kB\nMemAvailable:      42 kB\n") == 42 * 1024


def test_the_go_that_is_wanted_is_the_newest_any_module_asks_for(tmp_path: Path) -> None:
    for name, version in (("a", "1.24.0"), ("b", "1.25"), ("c", "1.9.9")):
        (tmp_path / name).write_text(f"module x\n\ngo {version}\n")
    assert doctor.go_wanted(tmp_path.iterdir()) == (1, 25)


def test_a_machine_without_unshare_or_docker_is_examined_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = {check.name: check for check in doctor.examine()}
    assert not checks["unshare"].ok
    assert checks["unshare"].remedy == "apt-get install util-linux"
    assert (checks["Docker"].ok, checks["Docker"].found) == (False, "not installed")
    assert checks["kind"].fallback


def test_an_examination_covers_the_ladder() -> None:
    names = [check.name for check in doctor.examine()]
    for name in ("FRR", "nft", "memory", "disk space", "Go", "nginx", "Docker"):
        assert name in names
