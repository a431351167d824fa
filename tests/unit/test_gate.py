"""`lblab compare` with runs of pytest that are made of nothing: order, resumption, baselines, verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import UserError
from harness.gate import conditions, judge, model, plan, pytest_run, run
from harness.gate.figures import figures
from harness.gate.model import Exit, Figure, Invocation, Result, Run, Subject, Verdict
from harness.gate.selection import selection
from harness.results.saved import Scenario as Line
from harness.wait import let_pass

SLOW, QUICK = "scenarios/failover/test_x.py::test_slow", "scenarios/failover/test_x.py::test_quick"


class Fake:
    """Stands in for pytest: each scenario's outage is what `outages` says for its version."""

    def __init__(self) -> None:
        self.commands: list[pytest_run.Command] = []
        self.outages: dict[tuple[str, str], float] = {}
        self.outcomes: dict[tuple[str, str], str] = {}
        self.interrupt_at: int | None = None

    def run(self, command: pytest_run.Command, ended: Any = None) -> int:
        """Write a file of results as the plugin does."""
        self.commands.append(command)
        if self.interrupt_at is not None and len(self.commands) > self.interrupt_at:
            raise KeyboardInterrupt
        chosen = [one for one in (SLOW, QUICK) if command.selection == ("scenarios",) or one in command.selection]
        lab = {"topology": "small", "provenance": "abc", "stand_ins": ["a stand-in"], "metallb_version": None}
        lines: list[dict[str, Any]] = [{"kind": "lab", "lab": lab, "provenance": {"cilium": {"version": "x"}}}]
        for number, one in enumerate(chosen):
            key = (one, command.cilium_version)
            outage = self.outages.get(key, 500.0) + 3 * len(self.commands) + number
            lines.append(line(one, self.outcomes.get(key, "passed"), outage))
        command.results.parent.mkdir(parents=True, exist_ok=True)
        command.results.write_text("".join(json.dumps(each) + "\n" for each in lines))
        return 0


def line(scenario: str, outcome: str, outage: float, *, trusted: bool = True, **more: Any) -> dict[str, Any]:
    """A scenario's line of results."""
    trust = {"trusted": trusted, "reasons": [] if trusted else ["other programs"]}
    probe = {"probe": "client", "longest_outage_ms": outage, "resolution_ms": 2.0, "trust": trust}
    expectation = {"verdict": "passed", "outages_ms": [outage], "runs": [probe], "prediction": None}
    facts = {"kind": "scenario", "scenario": scenario, "outcome": outcome, "family": "failover"}
    message = None if outcome == "passed" else f"it {outcome}\nand more"
    return {**facts, "message": message, "seconds": {"call": 1.0}, "measured": [expectation], **more}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A project of two scenarios and a topology, in which pytest is a fake."""
    (tmp_path / "scenarios/failover").mkdir(parents=True)
    (tmp_path / "scenarios/failover/test_x.py").write_text(
        'def test_slow():\n    """A node dies.\n\n    More."""\n\n\ndef test_quick():\n    pass\n'
    )
    (tmp_path / "topologies").mkdir()
    (tmp_path / "topologies/small.yaml").write_text("name: small\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conditions, "frr_version", lambda: (8, 4, 4))
    monkeypatch.setattr(run, "_build", lambda *_: None)
    made = Fake()
    monkeypatch.setattr(pytest_run, "run", made.run)
    return made


def lblab(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line."""
    monkeypatch.setattr("sys.argv", ["lblab", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


# -- the parts -------------------------------------------------------------------------------------------------------


def test_sides_take_turns_so_that_drift_hits_both() -> None:
    """A B B A, and so on; with A's runs from a baseline only B runs."""
    assert "".join(plan.order(4)) == "ABBAABBA"
    assert plan.order(2, only_b=True) == ["B", "B"]


def test_seeds_follow_from_the_comparison(fake: Fake, tmp_path: Path) -> None:
    """The same seed gives the same seeds."""
    first, second = plan.seeds(7), plan.seeds(7)
    assert [next(first) for _ in range(3)] == [next(second) for _ in range(3)]


@pytest.mark.parametrize(
    ("asked", "paths", "markers"),
    [
        (["gate"], ("scenarios",), "((gate)) and (not slow)"),
        (["failover"], ("scenarios/failover",), "not slow"),
        ([QUICK], (QUICK,), "not slow"),
        (["failover/test_x.py::test_quick"], (QUICK,), "not slow"),
        (["failover", "gate"], ("scenarios/failover",), "((gate)) and (not slow)"),
    ],
)
def test_selection(fake: Fake, tmp_path: Path, asked: list[str], paths: tuple[str, ...], markers: str) -> None:
    """Paths, node ids, families and marker expressions, in pytest's terms."""
    assert selection(asked, tmp_path, "not slow") == (paths, markers)


def test_selection_of_nothing(fake: Fake, tmp_path: Path) -> None:
    """A path that is not there is no marker."""
    with pytest.raises(UserError, match=r"there is no failover/test_y\.py"):
        selection(["failover/test_y.py"], tmp_path, "not slow")
    with pytest.raises(UserError, match="no folder scenarios"):
        selection(["gate"], tmp_path / "topologies", "not slow")


def test_figures_of_a_line() -> None:
    """Probes by their names, and what was recorded in milliseconds; other properties are no figures."""
    properties = {"time_to_route_ms": 812.3, "note_ms": "none", "count": 3}
    found = figures(Line(line(QUICK, "passed", 12.0, trusted=False, properties=properties)))
    assert [(one.name, one.ms, one.trusted) for one in found] == [
        ("outage: client", 12.0, False),
        ("time_to_route_ms", 812.3, True),
    ]


def test_conditions_that_differ_are_named(fake: Fake) -> None:
    """The machine's parts that count, the backend, software and topologies; not the host's name."""
    here = conditions.here(backend="netns", timers="quick", workers=1)
    other = here.model_copy(deep=True)
    other.machine["host"] = "elsewhere"
    assert conditions.differences(here, other) == []
    other.machine["cores"] = 64
    other.backend = "kind"
    here.topologies, other.topologies = {"small": "a", "blog": "c"}, {"small": "b"}
    said = conditions.differences(here, other)
    assert said == [
        "backend: netns then, kind now",
        f"cores: {here.machine['cores']} then, 64 now",
        "topology small has changed",
    ]


def test_judge_says_why_a_scenario_fails() -> None:
    """The first line of what the failing side said."""
    runs = {
        QUICK: [Run(side="A", invocation=0, outcome="passed")] * 2
        + [Run(side="B", invocation=1, outcome="failed", message="no route\nmore")] * 2
    }
    (found,), again = judge.judge(runs, planned=2)
    assert found.verdict is Verdict.NEW_FAILURE
    assert "no route" in found.text
    assert "more" not in found.text
    assert again == {}


def test_figures_of_a_run_that_broke_off_do_not_count() -> None:
    """An error leaves half a measurement."""
    figure = Figure(name="outage: client", ms=9000)
    whole = Figure(name="outage: client", ms=1)
    runs = [Run(side=side, invocation=0, outcome="passed", figures=[whole]) for side in plan.order(2)]
    runs.append(Run(side="B", invocation=5, outcome="error", figures=[figure]))
    (found,), _ = judge.judge({QUICK: runs}, planned=2)
    assert found.comparisons[0].b_ms == [1, 1]


# -- whole comparisons -----------------------------------------------------------------------------------------------


def test_no_worse(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 0; the file has all that is needed to make it again."""
    assert lblab(monkeypatch, "compare", "1.19.4", "1.20.2", "--runs", "4", "--json", "out.json") == 0
    found = model.read(tmp_path / "out.json")
    assert found.verdict is Exit.NO_WORSE
    assert found.order == "ABBAABBA"
    assert [one.cilium_version for one in fake.commands[:3]] == ["1.19.4", "1.20.2", "1.20.2"]
    assert found.reproduce == "lblab compare 1.19.4 1.20.2 --runs 4 --seed 1"
    assert [one.seed for one in found.invocations] == [one.seed for one in fake.commands]
    titles = {one.scenario: one.title for one in found.scenarios}
    assert titles == {SLOW: "A node dies.", QUICK: ""}
    assert found.conditions.topologies.keys() == {"small"}
    assert found.stand_ins == ["a stand-in"]
    assert found.ended_at


def test_worse_is_run_again_and_confirmed(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two runs of each are a suspicion; only the scenario that is suspicious runs again."""
    fake.outages[SLOW, "1.20.2"] = 900.0
    assert lblab(monkeypatch, "compare", "1.19.4", "1.20.2", "--runs", "2", "--json", "out.json") == 1
    found = model.read(tmp_path / "out.json")
    by_name = {one.scenario: one for one in found.scenarios}
    assert by_name[SLOW].verdict is Verdict.WORSE
    assert by_name[QUICK].verdict is Verdict.SAME
    again = [one for one in found.invocations if one.why == "again"]
    assert again
    assert all(one.scenarios == [SLOW] for one in again)
    assert len(by_name[QUICK].runs) == 4


def test_each_scenario_runs_again_as_often_as_it_needs(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that is untrusted needs two more runs, one that looks worse as many as a rank test: both get theirs."""
    fake.outages[SLOW, "1.20.2"] = 900.0
    fake.outcomes[QUICK, "1.20.2"] = "untrusted"
    assert lblab(monkeypatch, "compare", "1.19.4", "1.20.2", "--runs", "2", "--again", "30", "--json", "out.json") == 1
    found = model.read(tmp_path / "out.json")
    by_name = {one.scenario: one for one in found.scenarios}
    assert by_name[SLOW].verdict is Verdict.WORSE
    assert by_name[QUICK].verdict is Verdict.UNTRUSTED


def test_interrupted_while_it_confirms(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The runs that had confirmed it so far count; only those that are missing follow."""
    fake.outages[SLOW, "1.20.2"] = 900.0
    arguments = ("compare", "1.19.4", "1.20.2", "--runs", "2", "--json", "out.json")
    fake.interrupt_at = 8
    assert lblab(monkeypatch, *arguments) == 130
    fake.interrupt_at = None
    assert lblab(monkeypatch, *arguments, "--resume") == 1
    found = model.read(tmp_path / "out.json")
    assert found.scenarios[0].verdict is Verdict.WORSE


def test_new_failure(fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and the reason on the screen."""
    fake.outcomes[QUICK, "1.20.2"] = "failed"
    assert lblab(monkeypatch, "compare", "1.19.4", "1.20.2", "--runs", "2") == 1
    out = capsys.readouterr().out
    assert "new failure" in out
    assert "it failed" in out
    assert "and more" not in out


def test_cannot_tell(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Untrusted runs are made again up to the bound, and then it is said that nothing can be."""
    fake.outcomes[QUICK, "1.20.2"] = "untrusted"
    arguments = ("compare", "1.19.4", "1.20.2", "--runs", "2", "--again", "3", "--json", "out.json")
    assert lblab(monkeypatch, *arguments) == 3
    found = model.read(tmp_path / "out.json")
    assert sum(one.why == "again" for one in found.invocations) == 6


def test_interrupted_and_resumed(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What had run stays; the rest follows, in the same order and with the same seeds."""
    arguments = ("compare", "1.19.4", "1.20.2", "--runs", "3", "--json", "out.json")
    fake.interrupt_at = 3
    assert lblab(monkeypatch, *arguments) == 130
    assert not model.read(tmp_path / "out.json").ended_at
    fake.interrupt_at = None
    assert lblab(monkeypatch, *arguments) == 2  # it is not overwritten by mistake
    assert lblab(monkeypatch, *arguments, "--resume") == 0
    found = model.read(tmp_path / "out.json")
    assert found.order == "ABBAAB"
    assert [one.number for one in found.invocations] == list(range(6))
    whole = plan.seeds(1)
    assert [one.seed for one in found.invocations] == [next(whole) for _ in range(6)]


def test_resumed_with_other_options(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs of different things are not mixed."""
    fake.interrupt_at = 2
    lblab(monkeypatch, "compare", "1.19.4", "1.20.2", "--json", "out.json")
    fake.interrupt_at = None
    code = lblab(monkeypatch, "compare", "1.19.4", "1.20.1", "--timers", "manifest", "--json", "out.json", "--resume")
    assert code == 2
    said = capsys.readouterr().err
    assert "timers: quick then, manifest now" in said
    assert "B: 1.20.2 then, 1.20.1 now" in said


def test_baseline(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The version that was judged last is A now, with the runs that it had; only the new one runs."""
    lblab(monkeypatch, "compare", "1.19.4", "1.20.1", "--runs", "4", "--json", "old.json")
    fake.commands.clear()
    fake.outcomes[SLOW, "1.20.2"] = "failed"
    assert lblab(monkeypatch, "compare", "1.20.2", "--baseline", "old.json", "--json", "new.json", "--runs", "4") == 1
    assert {one.cilium_version for one in fake.commands} == {"1.20.2"}
    found = model.read(tmp_path / "new.json")
    assert (found.a.version, found.b.version) == ("1.20.1", "1.20.2")
    assert found.order == "BBBB"
    assert {one.verdict for one in found.scenarios if one.scenario == SLOW} == {Verdict.NEW_FAILURE}
    assert all(each.invocation < 0 for one in found.scenarios for each in one.runs if each.side == "A")


def test_baseline_made_elsewhere(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused, and what differs is named; nothing runs."""
    lblab(monkeypatch, "compare", "1.19.4", "1.20.1", "--json", "old.json")
    old = model.read(tmp_path / "old.json")
    old.conditions.machine["cpu"] = "another"
    model.write(tmp_path / "old.json", old)
    (tmp_path / "topologies/small.yaml").write_text("name: small\nchanged: true\n")
    fake.commands.clear()
    assert lblab(monkeypatch, "compare", "1.20.2", "--baseline", "old.json", "--json", "new.json") == 2
    said = capsys.readouterr().err
    assert "cpu: another then" in said
    assert "topology small has changed" in said
    assert fake.commands == []
    assert not (tmp_path / "new.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("1.19.4",), "two versions are compared, not 1"),
        (("1.19.4", "1.77"), "Cilium 1.77 is not a version that lblab knows"),
        (("1.19.4", "1.20.2", "--backend", "vm"), "there is no backend 'vm'"),
        (("1.19.4", "1.20.2", "--baseline", "none.json"), "none.json: the result cannot be read"),
        (("1.19.4", "1.20.2", "--json", "topologies/small.yaml"), "no result of lblab compare"),
    ],
)
def test_bad_input(
    fake: Fake,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    """One sentence, exit code 2."""
    assert lblab(monkeypatch, "compare", *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_result_of_another_format(tmp_path: Path) -> None:
    """It is not guessed at."""
    here = model.Conditions(backend="netns", machine={}, topologies={}, timers="quick", software={})
    side = Subject(asked="1.19", version="1.19.4")
    result = Result(a=side, b=side, conditions=here, selection=[], runs=1, seed=1, format=99)
    result.invocations.append(Invocation(number=0, side="A", seed=1))
    model.write(tmp_path / "x.json", result)
    with pytest.raises(UserError, match="format 99"):
        model.read(tmp_path / "x.json")


# -- pytest as a process ---------------------------------------------------------------------------------------------


def command(tmp_path: Path, *selection: str, markers: str = "not slow") -> pytest_run.Command:
    """What pytest is told in a project that needs no lab."""
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nmarkers = ["slow"]\n')
    folder = tmp_path / "scenarios/x"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test_x.py").write_text(
        "import os\ndef test_seed():\n    assert os.environ['PYTHONHASHSEED'] == '7'\n"
        "def test_forever():\n    import time\n    time.sleep(60)\n"
    )
    results = tmp_path / "out/000-A.jsonl"
    return pytest_run.Command("1.20.2", selection, markers, "netns", "quick", 1, results, seed=7)


def test_pytest_runs_with_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its output is kept beside its results."""
    monkeypatch.chdir(tmp_path)
    assert pytest_run.run(command(tmp_path, "scenarios/x/test_x.py::test_seed")) == 0
    assert "1 passed" in (tmp_path / "out/000-A.log").read_text()


def test_nothing_to_run_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression that chooses no scenario, and an option that pytest refuses."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no scenario is chosen by scenarios -m 'slow'"):
        pytest_run.run(command(tmp_path, "scenarios", markers="slow"))
    with pytest.raises(UserError, match="not found"):
        pytest_run.run(command(tmp_path, "scenarios/x/test_x.py::test_gone"))


def test_an_interrupt_ends_pytest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is interrupted, so that it takes its labs down, and has ended when the interrupt goes on."""
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "out/000-A.log"

    def interrupted_once(seconds: float) -> None:
        if (tmp_path / "out/000-A.jsonl").exists():
            monkeypatch.setattr(pytest_run, "let_pass", let_pass)
            raise KeyboardInterrupt
        let_pass(seconds)

    monkeypatch.setattr(pytest_run, "let_pass", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        pytest_run.run(command(tmp_path, "scenarios/x/test_x.py::test_forever"))
    assert "KeyboardInterrupt" in log.read_text() or "no tests ran" in log.read_text()
