"""The pytest plugin with labs that are made of nothing: what is shared, reset, skipped, said and recorded."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import results_data as data

from harness.testing import junit
from harness.timeline import journal

pytest_plugins = ["pytester"]

#: lblab need not be installed for its own tests.
PLUGIN = () if entry_points(group="pytest11", name="lblab") else ("-p", "harness.plugin")

FAKES = """
import os, sys, types
from pathlib import Path
from harness.errors import LabError, MissingCapability, UserError, WaitTimeout
from harness.timeline.event import Event
from harness.timeline.timeline import Timeline

LOG = Path(__file__).with_name("log")

def log(text):
    with LOG.open("a") as file:
        file.write(text + chr(10))

class Link(types.SimpleNamespace):
    def __init__(self, ok, text): super().__init__(ok=ok, text=text)
    def __str__(self): return self.text

class Lab:
    def __init__(self, path, cilium_version=None, name=None, **options):
        self.topology = types.SimpleNamespace(name=path.stem)
        self.name, self.cilium_version, self.kubeconfig = name, cilium_version or "1.18.0", "/kubeconfig"
        self.backend = types.SimpleNamespace(
            kind="netns", provenance={"kube": "1.34.4"}, stages={"booted": 1.5}, stand_ins=["a stand-in"])
        self.metallb_version = None
        self.nodes = {"worker1": object()}
        self.dirt, self.stuck, self.quickened = [], False, []
        self.timeline = types.SimpleNamespace(events=self.happened)
        log(f"open {path.stem}")
    def happened(self, since_ns):
        def log(at_ns, text): return Event(at_ns, "test", "log", "opnsense", text, 1, {})
        events = [log(since_ns - 1, "before the scenario"), log(since_ns + 1, "within the scenario")]
        return Timeline(e for e in events if e.at_ns >= since_ns)
    def mark_clean(self): pass
    def router(self): return "the router"
    def client(self): return "the client"
    def chain(self):
        return types.SimpleNamespace(links=[Link(True, "session up"), Link(False, "no route in the kernel")])
    def reset(self):
        if self.stuck:
            raise WaitTimeout("node worker1 is not ready")
        dirt, self.dirt = self.dirt, []
        log("reset")
        return dirt
    def close(self): log(f"close {self.topology.name}")

def open_lab(path, **options):
    assert {"backend", "cilium_version", "manifests", "name", "build", "owner", "progress"} <= set(options)
    options["progress"]("namespaces, links, FRR")
    if path.stem == "broken":
        log("try broken")
        raise LabError("bgpd did not start")
    if path.stem == "needy":
        raise MissingCapability("user namespaces are forbidden here", hint="sysctl")
    return Lab(path, **options)

def choose(topology, version, manifests):
    if version == "9.9.9":
        raise UserError("Cilium 9.9.9 is not a version that lblab knows")

fake = types.ModuleType("harness.bringup")
fake.open_lab, fake.choose = open_lab, choose
sys.modules["harness.bringup"] = fake
"""

TOPOLOGY = """
name: NAME
networks: {servers: {subnet: 192.168.130.0/24}}
routers: {r: {interfaces: {servers: {address: 192.168.130.1, device: eth0}}}}
controlPlane: {network: servers, address: 192.168.130.150}
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with three topologies, whose labs are made of nothing."""
    pytester.makeconftest(FAKES)
    pytester.makeini("[pytest]\n")
    folder = pytester.mkdir("topologies")
    for name in ("small", "two-routers", "broken", "needy"):
        (folder / f"{name}.yaml").write_text(TOPOLOGY.replace("NAME", name))
    pytester.mkdir("scenarios").joinpath("family").mkdir()
    return pytester


def run(project: pytest.Pytester, scenarios: str, *options: str) -> pytest.RunResult:
    (project.path / "scenarios" / "family" / "test_it.py").write_text("import pytest\n" + scenarios)
    return project.runpytest_subprocess(*PLUGIN, "-p", "no:cacheprovider", *options)


def log(project: pytest.Pytester) -> list[str]:
    path: Path = project.path / "log"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def test_one_lab_serves_all_scenarios_of_a_topology_and_is_reset_after_each(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
def test_a(lab, topology, nodes, router, client):
    assert (topology.name, list(nodes), router, client) == ("small", ["worker1"], "the router", "the client")
@pytest.mark.lab(topology="two-routers")
def test_b(lab): assert lab.topology.name == "two-routers"
def test_c(lab): pass
""",
    )
    result.assert_outcomes(passed=3)
    assert log(project) == [
        "open small",
        "reset",
        "reset",
        "close small",
        "open two-routers",
        "reset",
        "close two-routers",
    ]


def test_a_scenario_may_have_a_lab_of_its_own(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
names = set()
def test_a(lab): names.add(lab.name)
@pytest.mark.lab(fresh=True)
def test_b(lab): names.add(lab.name)
def test_c(lab):
    names.add(lab.name)
    assert len(names) == 2
""",
    )
    result.assert_outcomes(passed=3)
    assert log(project) == ["open small", "reset", "open small", "close small", "reset", "close small"]


def test_a_lab_that_does_not_come_back_clean_is_an_error_and_replaced(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
def test_a(lab): lab.stuck = True
def test_b(lab): assert not lab.stuck
""",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["LabError: the lab did not come back clean and was replaced: node worker1 is not ready"]
    )
    assert log(project) == ["open small", "close small", "open small", "reset", "close small"]


def test_why_a_scenario_failed_comes_before_the_lab_that_it_left(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
def test_a(lab):
    lab.stuck = True
    assert 1 == 2
""",
        "--lab-results",
        "out.jsonl",
    )
    result.assert_outcomes(failed=1, errors=1)
    (line,) = [line for line in records(project) if line["kind"] == "scenario"]
    assert line["outcome"] == "failed"
    first, second = line["message"].splitlines()
    assert first == "assert 1 == 2"
    assert second.startswith("LabError: the lab did not come back clean")


def test_what_the_machine_lacks_is_a_named_skip_and_a_failure_with_strict(project: pytest.Pytester) -> None:
    scenario = '@pytest.mark.lab(topology="needy")\ndef test_a(lab): pass\n'
    result = run(project, scenario, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*skipped 1: user namespaces are forbidden here (sysctl)"])
    strict = run(project, scenario, "--strict")
    strict.assert_outcomes(errors=1)
    assert strict.ret == 1


def test_an_untrusted_run_is_not_the_failure_that_was_expected(project: pytest.Pytester) -> None:
    scenario = """
from harness.errors import Untrusted
@pytest.mark.xfail(reason="known", strict=True)
def test_a(lab): raise Untrusted("other programs used 40 % of all cores")
"""
    result = run(project, scenario, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*untrusted: other programs used 40 % of all cores"])
    run(project, scenario, "--strict").assert_outcomes(failed=1)


def test_a_lab_that_cannot_be_brought_up_is_tried_once_and_said_without_a_traceback(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
pytestmark = pytest.mark.lab(topology="broken")
def test_a(lab): pass
def test_b(lab): pass
""",
    )
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["LabError: bgpd did not start"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*open_lab*")
    assert log(project) == ["try broken"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--cilium-version", "9.9.9"], "ERROR: Cilium 9.9.9 is not a version that lblab knows"),
        (["--topology", "nowhere"], "ERROR: there is no topology 'nowhere' (looked for */topologies/nowhere.yaml)"),
        (["--manifests", "nowhere"], "ERROR: nowhere: there is no such file or folder"),
        (["--lab-results", "/proc/nowhere/x"], "ERROR: /proc/nowhere/x: the results cannot be written*"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_4(project: pytest.Pytester, options: list[str], sentence: str) -> None:
    result = run(project, "def test_a(lab): pass\n", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([sentence])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
    assert not log(project)


def test_a_mark_that_is_wrong_is_a_usage_error(project: pytest.Pytester) -> None:
    result = run(project, '@pytest.mark.lab(topolgy="small")\ndef test_a(lab): pass\n')
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *test_a: the mark lab takes topology=*, not {'topolgy'}"])


def test_a_failure_shows_the_chain_of_links_and_only_the_scenarios_own_lines(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
def test_a(lab):
    from harness.wait import until
    until("the moon", lambda: 0, within=0.01)
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '*until("the moon", lambda: 0, within=0.01)',
            "E*waited 0.01 s for the moon*",
            "*chain of links*",
            "holds   session up",
            "BROKEN  no route in the kernel",
            "*timeline*",
            "*log * within the scenario",
        ]
    )
    result.stdout.no_fnmatch_line("*harness/wait.py*")
    result.stdout.no_fnmatch_line("*before the scenario*")


def test_keep_lab_leaves_the_first_failed_lab_as_it_was(project: pytest.Pytester) -> None:
    result = run(project, "def test_a(lab): assert 0\ndef test_b(lab): pass\n", "--keep-lab")
    result.assert_outcomes(passed=1, failed=1)
    assert log(project) == ["open small", "open small", "reset"]
    assert (
        len([line for line in result.outlines if "stays up: KUBECONFIG=/kubeconfig; lblab down --lab small-" in line])
        == 2
    )


def records(project: pytest.Pytester) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (project.path / "out.jsonl").read_text().splitlines()]


SCENARIOS = """
def test_pass(lab, record_property):
    lab.dirt = ["label a"]
    record_property("outage_ms", 12)
def test_fail(lab): assert 1 == 2
def test_skip(lab): pytest.skip("no reason")
@pytest.mark.xfail(reason="known", strict=True)
def test_xfail(lab): assert 0
def test_other(): pass
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_every_scenario_is_a_json_line_with_its_lab(project: pytest.Pytester, workers: list[str]) -> None:
    if workers:
        pytest.importorskip("xdist")
    project.path.joinpath("out.jsonl").write_text("old\n")
    old = project.mkdir("out.timelines") / "old.svg"
    old.touch()
    result = run(project, SCENARIOS, "--lab-results", "out.jsonl", "--junitxml", "junit.xml", *workers)
    result.assert_outcomes(passed=2, failed=1, skipped=1, xfailed=1)
    labs = [line for line in records(project) if line["kind"] == "lab"]
    assert {lab["provenance"]["kube"] for lab in labs} == {"1.34.4"}
    assert len(labs) == (len({lab["lab"]["worker"] for lab in labs}) if workers else 1)
    lines = {line["scenario"].split("::")[1]: line for line in records(project) if line["kind"] == "scenario"}
    assert {name: line["outcome"] for name, line in lines.items()} == {
        "test_pass": "passed",
        "test_fail": "failed",
        "test_skip": "skipped",
        "test_xfail": "xfailed",
    }
    assert lines["test_fail"]["message"] == "assert 1 == 2"
    assert lines["test_skip"]["message"] == "no reason"
    passed = lines["test_pass"]
    assert passed["family"] == "family"
    assert passed["properties"] == {"outage_ms": 12}
    assert passed["put_back"] == ["label a"]
    assert passed["lab"]["cilium_version"] == "1.18.0"
    assert passed["lab"]["stand_ins"] == ["a stand-in"]
    assert len(passed["lab"]["provenance"]) == 12
    assert (passed["lab"]["worker"] is None) == (not workers)
    assert set(passed["seconds"]) == {"setup", "call", "teardown"}
    assert not old.exists()
    kept = journal.load(project.path / passed["timeline"])
    assert [each.text for each in kept] == ["within the scenario"]
    assert (project.path / passed["timeline"]).with_suffix(".svg").exists()
    xml = (project.path / "junit.xml").read_text()
    assert 'name="lab.backend" value="netns"' in xml
    assert '<testsuite name="pytest"' in xml
    assert xml.index('name="lab.cilium_version"') < xml.index("<testcase"), "a property of the whole suite"
    assert 'name="lab.stand_in" value="a stand-in"' in xml
    started = next(line for line in records(project) if line["kind"] == "run")
    assert {"--lab-results", "junit.xml", *workers} <= set(started["arguments"])
    assert started["machine"]["cores"] >= 1
    assert records(project)[0] == started, "the first line"


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_a_page_and_the_history_are_kept_when_asked_for(project: pytest.Pytester, workers: list[str]) -> None:
    if workers:
        pytest.importorskip("xdist")
    result = run(project, SCENARIOS, "--lab-html", "out.html", "--lab-history", "kept/history.jsonl", *workers)
    result.stdout.re_match_lines([r"4 results added to .*kept/history\.jsonl", r"report: .*out\.html"])
    page = (project.path / "out.html").read_text()
    assert "1 of 3 scenarios failed" in page
    assert "within the scenario" in page, "the timelines are in it"
    assert {line["kind"] for line in records(project)} == {"run", "lab", "scenario"}, "results stand beside the page"
    history = (project.path / "kept" / "history.jsonl").read_text().splitlines()
    assert {json.loads(line)["scenario"].partition("::")[2]: json.loads(line)["outcome"] for line in history} == {
        "test_pass": "passed",
        "test_fail": "failed",
        "test_skip": "skipped",
        "test_xfail": "xfailed",
    }


def test_the_history_alone_leaves_nothing_else(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LBLAB_HISTORY", str(project.path / "history.jsonl"))
    monkeypatch.setenv("TMPDIR", str(project.mkdir("tmp")))
    run(project, "def test_a(lab, record_property): record_property('route_ms', 7)\n")
    [line] = [json.loads(line) for line in (project.path / "history.jsonl").read_text().splitlines()]
    assert line["figures"] == {"route_ms": {"ms": [7.0], "resolution_ms": 0.0, "trusted": True}}
    assert list((project.path / "tmp").glob("lblab-*")) == []
    assert list(project.path.glob("*.timelines")) == []


def test_figures_are_properties_of_the_junit_report() -> None:
    told = dict(junit.of_figures([data.measured("client", 12.5), data.measured("client", 9000, verdict="failed")]))
    assert told == {
        "lab.outage_ms.client": "12.5",
        "lab.outage_ms.client.low": "12.5",
        "lab.outage_ms.client.high": "12.5",
        "lab.predicted_ms.client.low": "0.0",
        "lab.predicted_ms.client.high": "100.0",
        "lab.verdict.client": "failed",
    }


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_the_summary_has_a_line_for_each_family_and_names_the_lab(project: pytest.Pytester, workers: list[str]) -> None:
    if workers:
        pytest.importorskip("xdist")
    result = run(project, SCENARIOS, *workers)
    result.stdout.re_match_lines(
        [
            r"=+ lblab =+",
            r"family  1 failed, 2 passed, 1 skipped, 1 xfailed in \d",
            r"skipped 1: no reason",
            r"small on netns: Cilium 1\.18\.0, programs [0-9a-f]{12}; .* up in 0\.0",
            r"stand-in: a stand-in",
        ],
    )


def test_a_run_without_scenarios_says_nothing_of_lblab(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_a(): pass")
    result = pytester.runpytest_subprocess(*PLUGIN)
    result.assert_outcomes(passed=1)
    result.stdout.no_re_match_line("=+ lblab =+")
