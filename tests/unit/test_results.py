"""Results read back, the history that they are added to, and its trends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import results_data as data

from harness.errors import UserError
from harness.results import history, saved
from harness.results.trend import By, trends
from harness.verdict.compare import Verdict


def test_a_file_is_read_back_with_run_labs_and_scenarios(tmp_path: Path) -> None:
    file = data.results(tmp_path, [data.scenario("test_a", data.measured("client", 12.5))])
    found = saved.load(file)
    assert found.run["arguments"] == ["scenarios/", "--runs", "3"]
    assert found.labs[0]["lab"]["topology"] == "small"
    [scenario] = found.scenarios
    assert (scenario.family, scenario.short_name) == ("failover", "test_x.py::test_a")
    assert scenario.cilium == "1.20.2"


def test_lines_of_a_kind_to_come_and_a_cut_off_end_are_skipped(tmp_path: Path) -> None:
    file = data.results(tmp_path, [data.scenario("test_a")])
    file.write_text(file.read_text() + '{"kind":"later"}\n{"kind":"scen')
    assert len(saved.load(file).scenarios) == 1


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("not json\n", 1, "is not a line of JSON"),
        ('{"kind":"run"}\n[]\n', 2, "an object with a kind"),
        ('{"kind":"scenario","scenario":"a"}\n', 1, "without its outcome"),
        ("", None, "has no results in it"),
    ],
)
def test_what_is_no_file_of_results_is_one_sentence(tmp_path: Path, text: str, line: int | None, sentence: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(text)
    with pytest.raises(UserError, match=sentence) as caught:
        saved.load(file)
    assert (caught.value.file, caught.value.line) == (str(file), line)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        saved.load(tmp_path / "none.jsonl")


def one(*measured: dict[str, Any], **facts: Any) -> saved.Scenario:
    return saved.Scenario(data.scenario("test_a", *measured, **facts))


def test_the_figures_are_those_of_trusted_runs_and_of_the_first_expectation() -> None:
    mixed = data.measured("client", 10, 20, 999, untrusted=(2,))
    [figure] = one(mixed, data.measured("client", 5)).figures
    assert (figure.outages_ms, figure.trusted, figure.middle_ms) == ((10, 20), True, 15)
    assert figure.interval is not None
    [doubtful] = one(data.measured("client", 999, untrusted=(0,))).figures
    assert (doubtful.outages_ms, doubtful.trusted, doubtful.reasons) == ((999,), False, ("busy",))


def test_what_was_judged_counts_and_not_the_longest_outage_of_the_whole_run() -> None:
    """An expectation may look only at what happened after a moment: an earlier, longer outage is not its figure."""
    measured = data.measured("client", 10)
    measured["runs"][0]["longest_outage_ms"] = 5000.0
    assert one(measured).figures[0].outages_ms == (10,)


def test_properties_in_milliseconds_are_figures_too() -> None:
    scenario = one(data.measured("client", 10), properties={"route_ms": 7, "note": "x", "flag_ms": True})
    assert {name: figure.outages_ms for name, figure in scenario.named_figures.items()} == {
        "outage: client": (10,),
        "route_ms": (7.0,),
    }


# -- history -----------------------------------------------------------------------------------------------------------


def kept(tmp_path: Path, *runs: tuple[str, str, list[dict[str, Any]]]) -> Path:
    """A history of runs: moment, Cilium version, scenarios."""
    file = tmp_path / "history.jsonl"
    for at, cilium, scenarios in runs:
        moved = [{**line, "at": at, "lab": {**line["lab"], "cilium_version": cilium}} for line in scenarios]
        history.add(file, saved.load(data.results(tmp_path, moved, at=at)))
    return file


def measured_on(day: int, *outages: float, cilium: str = "1.20.2", **facts: Any) -> tuple[str, str, list[Any]]:
    at = f"2026-11-{day:02}T10:00:00.000+00:00"
    return at, cilium, [data.scenario("test_a", data.measured("client", *outages), **facts)]


def test_a_run_is_added_once(tmp_path: Path) -> None:
    results = saved.load(data.results(tmp_path, [data.scenario("test_a"), data.scenario("test_b")]))
    file = tmp_path / "deep" / "history.jsonl"
    assert history.add(file, results) == 2
    assert history.add(file, results) == 0
    assert len(history.load(file)) == 2


def test_what_a_killed_writer_left_does_not_swallow_the_next_entry(tmp_path: Path) -> None:
    file = kept(tmp_path, measured_on(1, 10))
    file.write_bytes(file.read_bytes() + b'{"kind":"history","scen')
    kept(tmp_path, measured_on(2, 20))
    assert [entry.figures["outage: client"].ms for entry in history.load(file)] == [(10.0,), (20.0,)]


def test_scenarios_without_a_lab_are_no_part_of_the_history(tmp_path: Path) -> None:
    results = saved.load(data.results(tmp_path, [data.scenario("test_a", lab=None, outcome="skipped")]))
    assert list(history.entries(results)) == []


@pytest.mark.parametrize("line", [{"kind": "scenario", "scenario": "a", "outcome": "x"}, {"kind": "history"}])
def test_what_is_no_history_is_one_sentence(tmp_path: Path, line: dict[str, Any]) -> None:
    file = tmp_path / "h.jsonl"
    file.write_text(json.dumps(line) + "\n")
    with pytest.raises(UserError, match=r"history|cannot be read") as caught:
        history.load(file)
    assert caught.value.line == 1


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("date", ["2026-11-01", "2026-11-02"]),
        ("run", ["2026-11-01 10:00:00", "2026-11-02 10:00:00"]),
        ("version", ["1.9.0", "1.20.2"]),
    ],
)
def test_steps_are_in_order(tmp_path: Path, by: By, keys: list[str]) -> None:
    """Versions are ordered as versions, not as text."""
    file = kept(tmp_path, measured_on(1, 10), measured_on(2, 30, cilium="1.9.0"))
    [trend] = trends(history.load(file), by)
    assert [step.key for step in trend.steps] == keys


def test_the_newest_step_is_judged_against_all_before_it(tmp_path: Path) -> None:
    steady = [measured_on(day, 500, 505, 510, 515) for day in (1, 2)]
    same = kept(tmp_path / "same", *steady, measured_on(3, 502, 507, 512, 517, 509))
    worse = kept(tmp_path / "worse", *steady, measured_on(3, 1502, 1507, 1512, 1517, 1509))
    verdicts = {}
    for file in (same, worse):
        [trend] = trends(history.load(file), "date")
        assert trend.newest is not None
        verdicts[file] = trend.newest.decision.verdict
    assert verdicts[same] is Verdict.SAME
    assert verdicts[worse] is Verdict.WORSE


def test_untrusted_values_are_shown_but_decide_nothing(tmp_path: Path) -> None:
    at, cilium, _ = measured_on(2, 9000)
    doubtful = [data.scenario("test_a", data.measured("client", 9000, untrusted=(0,)), outcome="untrusted")]
    [trend] = trends(history.load(kept(tmp_path, measured_on(1, 10, 11), (at, cilium, doubtful))), "date")
    assert trend.newest is None
    assert trend.steps[-1].middle_ms == 9000
    assert not trend.steps[-1].trusted


def test_one_run_on_a_side_is_too_few_to_tell(tmp_path: Path) -> None:
    [trend] = trends(history.load(kept(tmp_path, measured_on(1, 500, 510), measured_on(2, 900))), "date")
    assert trend.newest is None
    assert trend.shift_ms == 395


def test_only_the_newest_steps(tmp_path: Path) -> None:
    file = kept(tmp_path, *(measured_on(day, 100 * day) for day in range(1, 6)))
    [trend] = trends(history.load(file), "date", last=2)
    assert [step.middle_ms for step in trend.steps] == [400, 500]
    assert trend.bars == "▇█"


def test_bars_do_not_make_a_mountain_of_two_packets(tmp_path: Path) -> None:
    [trend] = trends(history.load(kept(tmp_path, measured_on(1, 0), measured_on(2, 2))), "date")
    assert trend.bars == "▁▁"
