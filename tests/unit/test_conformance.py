"""How far an embedded lab is confirmed: figures beside those of a cluster, and the records that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import conformance as records
from harness.conformance import run
from harness.errors import UserError
from harness.report import conform as report
from harness.testing import summary
from harness.verdict import conformance
from harness.verdict.conformance import Figure, State


def scenario(name: str = "scenarios/graceful_restart/test_agent.py::test_back", **more: Any) -> dict[str, Any]:
    return {"kind": "scenario", "scenario": name, "outcome": "passed", "message": None, **more}


def outage(milliseconds: float, low: float = 0.0, high: float = 0.0, **more: Any) -> dict[str, Any]:
    return {
        "verdict": "passed",
        "interval_ms": {"middle": milliseconds},
        "outages_ms": [milliseconds],
        "prediction": {"low_ms": low, "high_ms": high},
        "runs": [{"probe": "both"}],
        **more,
    }


def states(embedded: list[dict[str, Any]], kind: list[dict[str, Any]]) -> dict[str, State]:
    rows = conformance.compare(conformance.figures(embedded), conformance.figures(kind))
    return {row.name: row.state for row in rows}


def test_figures_are_outcomes_outages_facts_and_times() -> None:
    line = scenario(
        measured=[outage(10.0), outage(10.0)],
        properties={"fact: next hops": "worker1", "ms: detected": 3010, "other": "x"},
    )
    found = conformance.figures([{"kind": "lab"}, line])
    where = "graceful_restart/test_agent.py::test_back"
    assert found == {
        (where, "outcome"): Figure("passed"),
        (where, "both: outage"): Figure(10.0, 0.0, 0.0),
        (where, "next hops"): Figure("worker1"),
        (where, "detected"): Figure(3010.0),
    }


@pytest.mark.parametrize(
    ("embedded", "kind", "near"), [(0, 150, True), (0, 151, False), (5500, 5000, True), (5501, 5000, False)]
)
def test_times_are_near_within_a_tenth_or_150_ms(embedded: float, kind: float, near: bool) -> None:
    assert conformance.agree(embedded, kind) is near


def test_facts_are_equal_or_they_differ() -> None:
    one, other = ({"fact: bits": "R"}, {"fact: bits": "none"})
    assert states([scenario(properties=one)], [scenario(properties=one)])["bits"] is State.HOLDS
    assert states([scenario(properties=one)], [scenario(properties=other)])["bits"] is State.DIFFERS


def test_a_random_timer_explains_what_is_within_its_span() -> None:
    spread = [scenario(measured=[outage(1200, 1000, 3000)])], [scenario(measured=[outage(2800, 1000, 3000)])]
    assert states(*spread)["both: outage"] is State.EXPLAINED
    beyond = [scenario(measured=[outage(1200, 1000, 3000)])], [scenario(measured=[outage(4000, 1000, 3000)])]
    assert states(*beyond)["both: outage"] is State.DIFFERS
    exact = [scenario(measured=[outage(0, 0, 0)])], [scenario(measured=[outage(1000, 0, 0)])]
    assert states(*exact)["both: outage"] is State.DIFFERS


def test_a_named_stand_in_explains() -> None:
    name = "scenarios/failover/test_backend.py::test_killed[local]"
    found = states([scenario(name, measured=[outage(20)])], [scenario(name, measured=[outage(900)])])
    assert found["both: outage"] is State.EXPLAINED


@pytest.mark.parametrize(
    "line",
    [
        scenario(outcome="skipped", message="the machine has no netem"),
        scenario(outcome="untrusted", message="untrusted: foreign load"),
        scenario(outcome="error", message="LabError: no"),
    ],
)
def test_what_did_not_run_says_nothing(line: dict[str, Any]) -> None:
    assert states([scenario()], [line])["outcome"] is State.UNKNOWN


def test_an_untrusted_outage_neither_holds_nor_differs() -> None:
    doubtful = scenario(measured=[outage(10, verdict="untrusted", message="foreign load")])
    assert states([scenario(measured=[outage(10)])], [doubtful])["both: outage"] is State.UNKNOWN


def test_a_figure_of_one_side_is_unknown() -> None:
    rows = conformance.compare({("a", "b"): Figure("x")}, {})
    assert (rows[0].state, rows[0].why) == (State.UNKNOWN, "kind: was not measured")


def lab(backend: str, version: str = "1.18.0") -> dict[str, Any]:
    facts = {"backend": backend, "cilium_version": version, "topology": "small", "provenance": "0", "stand_ins": []}
    return {"kind": "lab", "lab": facts, "provenance": {"kubernetes": {"version": "1.34.4"}}}


def test_a_record_is_kept_and_stands_beside_embedded_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(records, "_RELEASED", tmp_path / "none")
    lines = [scenario(properties={"fact: a": "1", "fact: b": "2"})]
    other = [scenario(properties={"fact: a": "1", "fact: b": "3"})]
    made, rows = run.record([lab("netns"), *lines], [lab("kind"), *other])
    assert (made.cilium, made.kubernetes, made.holds, made.differs) == ("1.18.0", "1.34.4", 2, 1)
    assert "not confirmed on kind" in records.sentence("1.18.0")
    records.save(made)
    assert records.find("1.18.0") == made
    sentence = records.sentence("1.18.0")
    assert sentence.startswith(f"confirmed on kind, Cilium 1.18.0, {made.at[:10]}: 2 of 3 figures hold, 1 differ")
    facts = {**lab("netns")["lab"], "up_seconds": 1.0}
    assert f"embedded figures: {sentence}" in [line.text for line in summary.summarise([], [facts])]
    shown = report.render(made, rows)
    assert shown


def test_runs_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(UserError, match="no results of a run with --lab-backend kind"):
        run.record([lab("netns")], [lab("netns")])
    with pytest.raises(UserError, match="different Cilium versions"):
        run.record([lab("netns")], [lab("kind", "1.19.4")])


def test_results_that_are_none_are_said_with_their_file(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    with pytest.raises(UserError, match="cannot be read"):
        run.read(file)
    file.write_text("no\n")
    with pytest.raises(UserError, match="no results"):
        run.read(file)


def test_scenarios_that_are_not_here_are_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no scenarios/nowhere"):
        run.run("netns", ["scenarios/nowhere::x"], tmp_path / "r.jsonl", [])
