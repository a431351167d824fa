from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import LabError
from harness.testing.pool import LabPool, Settings, lab_name, provenance_hash
from harness.testing.results import family
from harness.testing.summary import Outcome, summarise

SMALL = Path("topologies/small.yaml")


@pytest.mark.parametrize(
    ("asked", "worker", "number", "name"),
    [
        (None, None, 1, "two-routers-4711"),
        (None, None, 2, "two-routers-4711-2"),
        (None, "gw1", 1, "two-routers-gw1-4711"),
        ("mine", None, 1, "mine"),
        ("mine", "gw1", 3, "mine-gw1-3"),
        ("A lab, of mine!", None, 1, "a-lab-of-mine"),
        ("x" * 40, "gw0", 2, "x" * 26 + "-gw0-2"),
    ],
)
def test_labs_have_names_of_their_own(asked: str | None, worker: str | None, number: int, name: str) -> None:
    found = lab_name(asked, "two_routers", worker, 4711, number)
    assert found == name
    assert len(found) <= 32


def test_equal_provenance_has_an_equal_hash() -> None:
    one = provenance_hash({"kube": "1.34.4", "go": {"version": "1.26.8"}})
    assert one == provenance_hash({"go": {"version": "1.26.8"}, "kube": "1.34.4"})
    assert one != provenance_hash({"kube": "1.34.5", "go": {"version": "1.26.8"}})
    assert len(one) == 12
    built = {"version": "1.18.0", "content": "abc"}
    machines = [provenance_hash({"cilium": {**built, "seconds": s, "files": {"x": s}}}) for s in (80, 200)]
    assert machines[0] == machines[1] == provenance_hash({"cilium": built})


def fake_lab(name: str) -> Any:
    backend = SimpleNamespace(kind="netns", provenance={}, stages={}, stand_ins=[])
    return SimpleNamespace(
        name=name,
        backend=backend,
        topology=SimpleNamespace(name="small"),
        cilium_version="1.18.0",
        metallb_version=None,
        kubeconfig="/k",
        quickened=[],
        mark_clean=lambda: None,
        close=lambda: None,
    )


def test_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("harness.testing.pool.time.monotonic", lambda: now)
    told: list[str] = []

    def opener(topology: Path, *, name: str, progress: Callable[[str], None], **_: Any) -> Any:
        nonlocal now
        for now in (1.0, 2.0, 5.0, 6.0, 8.9, 9.5):
            progress(f"compiling at {now:g}")
        return fake_lab(name)

    LabPool(Settings(name="x"), told.append, opener=opener).take(SMALL)
    assert told == ["x: compiling at 5", "x: compiling at 9.5", "x: up in 9.5 s, Cilium 1.18.0"]


def test_a_lab_that_cannot_even_be_marked_clean_is_closed() -> None:
    closed: list[str] = []

    def opener(topology: Path, *, name: str, **_: Any) -> Any:
        lab = fake_lab(name)

        def mark_clean() -> None:
            raise LabError("no API server")

        lab.mark_clean, lab.close = mark_clean, lambda: closed.append(name)
        return lab

    with pytest.raises(LabError, match="no API server"):
        LabPool(Settings(name="x"), lambda _: None, opener=opener).take(SMALL)
    assert closed == ["x"]


@pytest.mark.parametrize(
    ("scenario", "name"),
    [
        ("scenarios/failover/test_a.py::test_b[1]", "failover"),
        ("scenarios/failover/deep/test_a.py::test_b", "failover"),
        ("scenarios/test_a.py::test_b", "scenarios"),
        ("elsewhere/mine/test_a.py::test_b", "elsewhere/mine"),
        ("test_a.py::test_b", "."),
    ],
)
def test_the_family_of_a_scenario_is_its_folder(scenario: str, name: str) -> None:
    assert family(scenario) == name


def test_the_summary_is_worst_first_and_groups_labs_and_reasons() -> None:
    outcomes = [
        Outcome("scenarios/lag/test_a.py::a", "passed", 1.0),
        Outcome("scenarios/failover/test_a.py::b", "skipped", 0.0, "no netem here"),
        Outcome("scenarios/failover/test_a.py::c", "skipped", 0.0, "no netem here"),
        Outcome("scenarios/failover/test_a.py::d", "failed", 2.5),
    ]
    lab = {"topology": "small", "backend": "netns", "cilium_version": "9.9.9", "provenance": "abc", "stand_ins": ["x"]}
    lines = summarise(outcomes, [{**lab, "up_seconds": 5.04}, {**lab, "up_seconds": 6.0}])
    assert [(line.text, line.colour) for line in lines] == [
        ("failover  1 failed, 2 skipped in 2.5 s", "red"),
        ("lag       1 passed in 1.0 s", "green"),
        ("skipped 2: no netem here", "yellow"),
        ("small on netns: Cilium 9.9.9, programs abc; 2 labs, each up in 5.0, 6.0 s", None),
        ("embedded figures: Cilium 9.9.9: not confirmed on kind (lblab conform --cilium-version 9.9.9)", None),
        ("stand-in: x", None),
    ]


def test_another_time_scale_is_another_lab() -> None:
    scales: list[float | None] = []

    def opener(topology: Path, *, name: str, time_scale: float | None, **_: Any) -> Any:
        scales.append(time_scale)
        return fake_lab(name)

    pool = LabPool(Settings(name="x"), lambda _: None, opener=opener)
    given = [pool.take(SMALL, time_scale=scale) for scale in (None, None, 1.0, 1.0, None)]
    assert scales == [None, 1.0, None]
    assert given[0] is given[1]
    assert given[2] is given[3]


def test_a_costly_lab_that_did_not_come_up_has_one_more_try(tmp_path: Path) -> None:
    tries: list[str] = []

    def opener(topology: Path, **_: Any) -> Any:
        tries.append(topology.stem)
        raise LabError("kind did not make the cluster")

    for backend, expected in (("netns", 1), ("kind", 2)):
        tries.clear()
        pool = LabPool(Settings(backend=backend), lambda _: None, opener=opener)
        for _ in range(4):
            with pytest.raises(LabError, match="kind did not make"):
                pool.take(tmp_path / "small.yaml")
        assert len(tries) == expected, backend


@pytest.mark.parametrize("fresh", [True, False])
def test_a_scenario_with_a_costly_lab_of_its_own_may_leave_it_unclean(fresh: bool) -> None:
    closed: list[str] = []

    def opener(topology: Path, *, name: str, **_: Any) -> Any:
        lab = fake_lab(name)

        def reset(thorough: bool = False) -> list[str]:
            raise LabError("drained pods stay where they went")

        lab.reset, lab.close = reset, lambda: closed.append(name)
        return lab

    pool = LabPool(Settings(backend="kind", name="x"), lambda _: None, opener=opener)
    given = pool.take(SMALL, fresh=fresh)
    if fresh:
        assert pool.give_back(given, failed=False) == ["nothing: the lab was ended, drained pods stay where they went"]
    else:
        with pytest.raises(LabError, match="did not come back clean"):
            pool.give_back(given, failed=False)
    assert closed == ["x"]
    assert pool.take(SMALL) is not given
