"""`lblab report`, `history` and `migrate` at the command line: files, exit codes, sentences."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import results_data as data

from harness import cli, manifests

ROOT = Path(__file__).parents[2]
POLICY = str(ROOT / "topologies/blog/bgp.yaml")


@dataclass
class Done:
    """What a command has left."""

    code: int
    out: str
    err: str


@pytest.fixture
def lblab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LBLAB_HISTORY", raising=False)
    return Command(monkeypatch, capsys)


@dataclass
class Command:
    """Runs `lblab` in this process."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *argv: str | Path) -> Done:
        self.monkeypatch.setattr(sys, "argv", ["lblab", *map(str, argv)])
        code = 0
        try:
            cli.main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        told = self.capsys.readouterr()
        return Done(code, told.out, told.err)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["report"], "there is nothing to report"),
        (["report", "none.jsonl"], "none.jsonl: cannot be read"),
        (["report", "--compare", "none.json"], "none.json: the result cannot be read"),
        (["report", "--scorecard", "none.json"], "none.json: cannot be read"),
        (["history"], "which history?"),
        (["history", "--file", "none.jsonl"], "none.jsonl: cannot be read"),
        (["history", "--file", "none.jsonl", "--by", "moon"], "there are no steps by 'moon'"),
        (
            ["migrate", str(ROOT / "topologies/small/web.yaml"), "--to", "1.20.2"],
            "there is no CiliumBGPPeeringPolicy in",
        ),
        (["migrate", POLICY, "--to", "1.14.19"], "has no API but CiliumBGPPeeringPolicy"),
        (["migrate", POLICY, "--to", "9.9"], "is not a version that lblab knows"),
        (["migrate", POLICY, "--to", "1.18", "-o", "/proc/none"], "/proc/none: cannot be written"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(lblab: Command, argv: list[str], sentence: str) -> None:
    done = lblab(*argv)
    assert done.code == 2
    assert sentence in done.err
    assert done.err.count("\n") == 1


def test_a_report_is_written_and_its_summary_printed_without_files(lblab: Command, tmp_path: Path) -> None:
    results = data.results(tmp_path, [data.scenario("test_a", data.measured("client", 10))])
    assert lblab("report", results).out.startswith("### lblab: Cilium 1.20.2\n\n✅ **The scenario passed**")
    done = lblab("report", results, "--html", "deep/report.html", "--markdown", "summary.md", "--annotate")
    assert done.code == 0
    assert "::notice title=lblab%3A Cilium 1.20.2::The scenario passed" in done.out
    assert (tmp_path / "deep/report.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "summary.md").read_text().startswith("### lblab")


def test_a_page_that_cannot_be_written_is_one_sentence(lblab: Command, tmp_path: Path) -> None:
    results = data.results(tmp_path, [data.scenario("test_a")])
    done = lblab("report", results, "--html", "/proc/none/report.html")
    assert (done.code, done.err.count("\n")) == (2, 1)


def test_a_history_is_added_to_and_shown(lblab: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = data.results(tmp_path, [data.scenario("test_a[x]", data.measured("client", 10))])
    monkeypatch.setenv("LBLAB_HISTORY", str(tmp_path / "history.jsonl"))
    table = lblab("history", "--add", results).out
    assert "failover/test_x.py::test_a[x]" in table, "brackets are a part of the name"
    [facts] = json.loads(lblab("history", "--by", "version", "--json").out)
    assert [(step["key"], step["median_ms"]) for step in facts["steps"]] == [("1.20.2", 10.0)]
    assert "1 passed" in lblab("history", "test_a").out
    nothing = lblab("history", "test_b")
    assert (nothing.code, "nothing in it is asked for" in nothing.err) == (2, True)


def test_a_migration_goes_to_stdout_and_its_remarks_to_stderr(lblab: Command) -> None:
    done = lblab("migrate", POLICY, "--to", "1.18.0")
    assert done.code == 0
    kinds = [one.kind for one in manifests.load_text(done.out)]
    assert kinds == ["CiliumBGPAdvertisement", "CiliumBGPPeerConfig", "CiliumBGPClusterConfig"]
    assert f"{POLICY}:16: note: neighbor 192.168.130.1 names no families" in done.err


def test_a_migration_into_a_folder_overwrites_nothing(lblab: Command, tmp_path: Path) -> None:
    assert lblab("migrate", POLICY, "--to", "1.18.0", "-o", "new").code == 0
    [file] = (tmp_path / "new").iterdir()
    assert file.name == "bgp-peering-policy-worker.yaml"
    file.write_text("mine")
    done = lblab("migrate", POLICY, "--to", "1.18.0", "-o", "new")
    assert (done.code, "is there already" in done.err, file.read_text()) == (2, True, "mine")
    assert lblab("migrate", POLICY, "--to", "1.18.0", "-o", "new", "--force").code == 0
    assert file.read_text() != "mine"


def test_what_has_no_counterpart_is_exit_code_1(lblab: Command, tmp_path: Path) -> None:
    text = Path(POLICY).read_text()
    marker = "peerASN: 64512"
    assert marker in text
    indent = " " * (text[: text.index(marker)].rfind("\n") * -1 + text.index(marker) - 1)
    more = f"{marker}\n{indent}advertisedPathAttributes:\n{indent}  - selectorType: CiliumLoadBalancerIPPool\n"
    more += f"{indent}    selector: {{matchLabels: {{tier: gold}}}}\n{indent}    localPreference: 200"
    (tmp_path / "policy.yaml").write_text(text.replace(marker, more, 1))
    done = lblab("migrate", "policy.yaml", "--to", "1.18.0")
    assert done.code == 1
    assert "policy.yaml:" in done.err
    assert "not carried over: its path attributes for CiliumLoadBalancerIPPool select pools" in done.err
    assert manifests.load_text(done.out), "what can be said is said"
