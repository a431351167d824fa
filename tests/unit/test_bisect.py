"""Halving a row of versions, with a scenario that is made of nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness import binaries
from harness.cilium import semver
from harness.errors import UserError
from harness.gate import bisect, pytest_run, releases
from harness.verdict.bisect import Found, Search

NODE = "scenarios/x/test_y.py::test_z"


@pytest.mark.parametrize("first_bad", range(1, 12))
def test_every_place_is_found_in_few_steps(first_bad: int) -> None:
    """Twelve versions: at most four looks."""
    search = Search(list(range(12)))
    steps = 0
    while (one := search.next()) is not None:
        search.known[one] = Found.BAD if one >= first_bad else Found.GOOD
        steps += 1
    assert (search.last_good, search.first_bad) == (first_bad - 1, first_bad)
    assert search.between == []
    assert steps <= 4


def test_what_is_skipped_is_gone_around() -> None:
    """Neighbours are tried; what stays between the two is told."""
    search = Search(list(range(10)))
    asked = []
    while (one := search.next()) is not None:
        asked.append(one)
        search.known[one] = Found.SKIPPED if one in (4, 5) else Found.BAD if one >= 5 else Found.GOOD
    assert (search.last_good, search.first_bad) == (3, 6)
    assert search.between == [4, 5]
    assert len(set(asked)) == len(asked)


def test_two_neighbours_need_no_search() -> None:
    """There is nothing between them."""
    search = Search(["1.19.4", "1.20.1"])
    assert search.next() is None
    assert search.steps_left == 0
    with pytest.raises(ValueError, match="two ends"):
        Search(["1.19.4"])


@pytest.mark.parametrize(
    "text", ["1.20.0-pre.1.0.20260419120955-62bccdec3fb9", "1.18.1-0.20250801093000-0123456789ab", "1.18.0-rc.1"]
)
def test_pseudo_versions_are_read_and_written(text: str) -> None:
    """As Go's modules name commits."""
    assert str(semver.parse(f"v{text}")) == text


def test_commits_stand_between_releases() -> None:
    """After the release before them, before the next one; in the order of their time."""
    row = [
        "1.18.0",
        "1.18.1-0.20250801093000-0123456789ab",
        "1.18.1-0.20250901093000-00000000aaaa",
        "1.18.1",
        "1.20.0-pre.1",
        "1.20.0-pre.1.0.20260419120955-62bccdec3fb9",
        "1.20.0-pre.2",
    ]
    assert [str(one) for one in sorted(map(semver.parse, reversed(row)))] == row


def test_releases_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are known, listed or named, in the direction of the search; no foreign pre-releases."""
    monkeypatch.setattr(releases, "listed", lambda: [semver.parse(one) for one in ("1.15.6", "1.16.0-pre.1", "1.20.2")])
    good, bad = semver.parse("1.17.0"), semver.parse("1.15.1")
    found = releases.between(good, bad, [semver.parse("1.16.4")])
    assert [str(one) for one in found] == ["1.17.0", "1.16.4", "1.16.0", "1.15.19", "1.15.6", "1.15.1"]
    with pytest.raises(UserError, match=r"both Cilium 1\.17\.0"):
        releases.between(good, good)


class Fake:
    """Versions from `first_bad` on fail; some cannot be built, some are never trusted."""

    def __init__(self, first_bad: str) -> None:
        self.first_bad = semver.parse(first_bad)
        self.unbuilt: set[str] = set()
        self.untrusted: set[str] = set()
        self.ran: list[str] = []

    def ensure(self, version: str, **_: Any) -> None:
        """Stands in for building."""
        if version in self.unbuilt:
            raise UserError(f"cilium {version} cannot be built: a module is missing\nmore")

    def run(self, command: pytest_run.Command) -> int:
        """Stands in for pytest."""
        version = command.cilium_version
        self.ran.append(version)
        bad = semver.parse(version) >= self.first_bad
        outcome = "untrusted" if version in self.untrusted else "failed" if bad else "passed"
        facts = {"kind": "scenario", "scenario": NODE, "outcome": outcome, "message": "no route\nmore" if bad else None}
        command.results.parent.mkdir(parents=True, exist_ok=True)
        command.results.write_text(json.dumps(facts) + "\n")
        return int(bad)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Versions from 1.18.0 on fail."""
    made = Fake("1.18.0")
    monkeypatch.setattr(binaries, "ensure", made.ensure)
    monkeypatch.setattr(pytest_run, "run", made.run)
    return made


ROW = [semver.parse(one) for one in ("1.15.19", "1.16.0", "1.17.0", "1.18.0", "1.19.4", "1.20.2")]


def test_bisect(fake: Fake, tmp_path: Path) -> None:
    """The ends are checked first, then the middle; the first bad one has the reason."""
    found = bisect.search(bisect.Wanted(NODE, 1, tmp_path), ROW)
    assert (found.good.version, found.bad.version) == ("1.17.0", "1.18.0")
    assert found.bad.why == "no route"
    assert fake.ran[:2] == ["1.15.19", "1.20.2"]
    assert len(fake.ran) == 4
    assert "--repository" in found.note


def test_bisect_skips_what_cannot_be_built_or_trusted(fake: Fake, tmp_path: Path) -> None:
    """And says what it does not know."""
    fake.unbuilt, fake.untrusted = {"1.17.0"}, {"1.18.0"}
    found = bisect.search(bisect.Wanted(NODE, 1, tmp_path), ROW)
    assert (found.good.version, found.bad.version) == ("1.16.0", "1.19.4")
    assert found.skipped == ["1.17.0", "1.18.0"]
    why = {step.version: step.why for step in found.steps}
    assert why["1.17.0"] == "cilium 1.17.0 cannot be built: a module is missing"
    assert fake.ran.count("1.18.0") == 3


def test_bisect_of_ends_that_are_no_ends(fake: Fake, tmp_path: Path) -> None:
    """A good version that fails, or a bad one that passes, makes no search; exit code 3."""
    with pytest.raises(bisect.Contradiction, match=r"Cilium 1\.17\.0 is good, not bad") as error:
        bisect.search(bisect.Wanted(NODE, 1, tmp_path), ROW[:3])
    assert error.value.exit_code == 3


def test_bisect_goes_on_with_commits(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two neighbouring releases, where the proxy has them."""
    fake.first_bad = semver.parse("1.18.0-pre.1.0.20250301000000-00000000000c")
    hashes = [f"{letter * 40}" for letter in "abcd"]
    stamps = dict(zip(hashes, "abcd", strict=True))

    fake.unbuilt = {"1.18.0-pre.1.0.20250201000000-00000000000b"}

    def of_commit(_: Path, commit: str) -> semver.Version:
        letter = stamps[commit]
        month = "abcd".index(letter) + 1
        return semver.parse(f"1.18.0-pre.1.0.20250{month}01000000-00000000000{letter}")

    monkeypatch.setattr(releases, "commits", lambda *_: hashes)
    monkeypatch.setattr(releases, "of_commit", of_commit)
    found = bisect.search(bisect.Wanted(NODE, 1, tmp_path), ROW, clone=tmp_path)
    assert found.bad.version.endswith("c")
    assert found.good.version.endswith("a")
    assert found.skipped == ["b" * 40]


def test_commits_are_those_that_lblab_builds(tmp_path: Path) -> None:
    """Of a git clone: only what touches BGP or LB-IPAM, in order."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    wanted = []
    for number, path in enumerate(("README", "pkg/bgp/a", "Documentation/x", "operator/pkg/lbipam/b", "README")):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(number))
        git("add", "-A")
        git("commit", "-q", "-m", path)
        if number == 0:
            git("tag", "v1.18.0")
        elif path.startswith(("pkg", "operator")):
            wanted.append(git("rev-parse", "HEAD"))
    git("tag", "v1.19.4")
    named = releases.of_commit(tmp_path, wanted[0])
    assert str(named).startswith("1.18.1-0.20")
    assert str(named).endswith(wanted[0][:12])
    git("tag", "v1.19.0-pre.1", wanted[0])
    assert str(releases.of_commit(tmp_path, wanted[1])).startswith("1.19.0-pre.1.0.20")
    low, high = semver.parse("1.18.0"), semver.parse("1.19.4")
    assert releases.commits(tmp_path, low, high) == wanted
    assert releases.commits(tmp_path, high, low) == wanted[::-1]
    with pytest.raises(UserError, match="no clone of Cilium"):
        releases.commits(tmp_path, low, semver.parse("1.20.2"))
