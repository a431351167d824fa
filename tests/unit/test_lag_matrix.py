"""The lag matrix without a lab: which cells there are, what is predicted, and what follows from figures."""

from __future__ import annotations

import json

import pytest

from harness.lag.gaps import Gaps
from harness.lag.matrix import BASE, CHANGES, Cell, Figures, Matrix, decisive, every
from harness.lag.mechanisms import ABOUT, Mechanism
from harness.report import lag_matrix as report

CONDITIONS = {
    "time_scale": 0.02,
    "refreshes": 3,
    "players": 2,
    "cilium": "1.20.2",
    "backend": "netns",
    "stand_ins": ["nodes are namespaces <here>"],
    "not_scaled": "Linux",
}


def gaps(*spans: tuple[float, float], trusted: bool = True) -> Gaps:
    return Gaps(spans, (), (2 if spans else 0, 2), (), 5.0, trusted)


def matrix(**lagging: bool) -> Matrix:
    """The base lags each 1226 s; of the changes those that are named as lagging do."""
    beats = [(1196.0 + 1226 * n, 1226.0 + 1226 * n) for n in range(3)]
    cells = {BASE: Figures(gaps(*beats), moves=6)}
    for cell in decisive()[1:]:
        lags = lagging.get(cell.service.replace("-", "_"), False)
        cells[cell] = Figures(None) if not cell.reachable else Figures(gaps((1201, 1226)) if lags else gaps())
    return Matrix(cells, 30.0, CONDITIONS)


def test_every_change_is_one_change() -> None:
    axes = ("announcer", "address", "arp", "policy")
    for what, cell in CHANGES.items():
        changed = [axis for axis in axes if getattr(cell, axis) != getattr(BASE, axis)]
        assert changed == (["announcer", "address"] if what == "BGP" else changed[:1]), what


def test_the_whole_matrix_has_every_decisive_cell_once() -> None:
    cells = every()
    assert len(cells) == len(set(cells)) == 4 * 2 * 2 * 2 + 4
    assert set(decisive()) <= set(cells)
    assert len({cell.key for cell in cells}) == len(cells)
    assert [cell for cell in cells if not cell.reachable] == [
        cell for cell in cells if cell.announcer == "none" and cell.address == "on-link"
    ]


@pytest.mark.parametrize(
    ("cell", "late", "expected"),
    [
        (BASE, 30.0, (30.0, 1226.0)),
        (BASE, 2.0, (2.0, 1198.0)),
        (Cell("metallb"), 30.0, (25.0, 1256.0)),
        (Cell("metallb"), 4.0, (0.0, None)),  # it answers before the entry is deleted
        (Cell("cilium"), 30.0, (0.0, None)),
        (Cell(arp="linux"), 30.0, (0.0, None)),
        (Cell(policy="Local"), 30.0, (0.0, None)),
        (Cell("none", "BGP"), 30.0, (0.0, None)),
    ],
)
def test_predictions(cell: Cell, late: float, expected: tuple[float, float | None]) -> None:
    length, period = cell.predicted(late)
    assert length == pytest.approx(expected[0])
    assert period == (None if expected[1] is None else pytest.approx(expected[1]))


def test_the_verdict_names_what_removes_the_lag_and_what_does_not() -> None:
    first, good, bad, linux, static = matrix(metallb_on_link_cluster=True).verdict()
    assert "gaps of 30.0 s, every 1226 s" in first
    assert good.startswith("Removes the lag: take MetalLB away; route the address")
    assert bad == "Does not remove it: take Cilium's announcer away."
    assert "here the late answer came 0.6 s after the first" in linux
    assert "not BGP itself" in static
    prompt = Matrix(matrix().cells, 0.5, CONDITIONS)
    assert all("Linux's timers" not in sentence for sentence in prompt.verdict())


def test_without_a_lag_nothing_is_said() -> None:
    found = matrix()
    found.cells[BASE] = Figures(gaps())
    assert found.verdict() == ["The set-up that lagged did not lag here: nothing can be said of what removes it."]
    del found.cells[BASE]
    assert all(removes is None for _, _, removes in found.changes())


def test_json_and_html() -> None:
    found = matrix(both_static_route_cluster=True)
    found.cells[CHANGES["BGP"]] = Figures(gaps(trusted=False))
    facts = json.loads(json.dumps(found.facts()))
    cells = {cell["key"]: cell for cell in facts["cells"]}
    assert cells["both-on-link-cluster-freebsd"]["period_s"] == 1226.0
    assert cells["both-on-link-cluster-freebsd"]["router_moves"] == 6
    assert (
        cells["none-on-link-cluster-freebsd"] | {"reachable": False, "lags": True}
        == cells["none-on-link-cluster-freebsd"]
    )
    assert not facts["trusted"]
    assert all("BGP itself" not in sentence for sentence in facts["verdict"])
    page = report.html(found)
    assert "30.0 s" in page
    assert "&lt;here&gt;" in page
    assert "no answer at all" in page


def test_every_mechanism_is_described() -> None:
    assert set(ABOUT) == set(Mechanism)
    assert [each for each in Mechanism if not each.about.network] == [Mechanism.SERVER_STALL]
    assert all(each.about.sentence.endswith(".") for each in Mechanism)
