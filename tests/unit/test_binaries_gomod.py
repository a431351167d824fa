"""The generated Go module of a Cilium version, and its provenance."""

from __future__ import annotations

from typing import Any

import pytest

from harness.binaries import gomod, programs
from harness.cilium import semver

# what `go mod edit -json` says of Cilium 1.18.0's and 1.20.2's go.mod, shortened
RELEASED_1_18: dict[str, Any] = {
    "Module": {"Path": "github.com/cilium/cilium"},
    "Go": "1.24.0",
    "Require": [
        {"Path": "github.com/osrg/gobgp/v3", "Version": "v3.37.0"},
        {"Path": "golang.org/x/sys", "Version": "v0.34.0", "Indirect": True},
    ],
    "Replace": [
        {
            "Old": {"Path": "sigs.k8s.io/controller-tools"},
            "New": {"Path": "github.com/cilium/controller-tools", "Version": "v0.16.5-1"},
        },
        {
            "Old": {"Path": "github.com/osrg/gobgp/v3"},
            "New": {"Path": "github.com/cilium/gobgp/v3", "Version": "v3.0.0-20250717193620-26a4abb75464"},
        },
        {"Old": {"Path": "example.org/local"}, "New": {"Path": "./local"}},
    ],
    "Tool": [{"Path": "golang.org/x/tools/cmd/goimports"}],
}
RELEASED_1_20: dict[str, Any] = {
    "Go": "1.26.0",
    "Require": [{"Path": "github.com/osrg/gobgp/v4", "Version": "v4.6.1-0.20260630022313-d6dee8360046"}],
}


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def test_as_released_repeats_requirements_and_replacements() -> None:
    written = lines(gomod.render(RELEASED_1_18, semver.parse("1.18.0")))
    assert "github.com/cilium/cilium v1.18.0" in written
    assert "github.com/osrg/gobgp/v3 v3.37.0" in written
    assert "golang.org/x/sys v0.34.0" in written
    assert "replace sigs.k8s.io/controller-tools => github.com/cilium/controller-tools v0.16.5-1" in written
    assert (
        "replace github.com/osrg/gobgp/v3 => github.com/cilium/gobgp/v3 v3.0.0-20250717193620-26a4abb75464" in written
    )


def test_the_go_line_is_ciliums_because_it_decides_godebug() -> None:
    assert "go 1.24.0" in lines(gomod.render(RELEASED_1_18, semver.parse("1.18.0")))


def test_folders_and_tools_of_ciliums_tree_are_left_out() -> None:
    written = gomod.render(RELEASED_1_18, semver.parse("1.18.0"))
    assert "example.org/local" not in written
    assert "goimports" not in written


def test_a_fork_gives_way_to_upstream_at_the_required_version() -> None:
    substitution = gomod.SUBSTITUTIONS[18]
    written = gomod.render(RELEASED_1_18, semver.parse("1.18.0"), substitution)
    assert "github.com/cilium/gobgp" not in written
    assert "controller-tools v0.16.5-1" in written
    assert substitution.applies(RELEASED_1_18)
    assert substitution.describe(RELEASED_1_18).startswith(
        "github.com/osrg/gobgp/v3 v3.37.0 in place of github.com/cilium/gobgp/v3 v3.0.0-20250717193620-26a4abb75464: "
    )


def test_a_pinned_commit_gives_way_to_a_release() -> None:
    substitution = gomod.SUBSTITUTIONS[20]
    written = lines(gomod.render(RELEASED_1_20, semver.parse("1.20.2"), substitution))
    assert "replace github.com/osrg/gobgp/v4 => github.com/osrg/gobgp/v4 v4.8.0" in written
    assert substitution.applies(RELEASED_1_20)
    assert "in place of github.com/osrg/gobgp/v4 v4.6.1-0.20260630022313-d6dee8360046" in substitution.describe(
        RELEASED_1_20
    )


@pytest.mark.parametrize("minor", [14, 18])
def test_a_substitution_that_changes_nothing_is_not_tried(minor: int) -> None:
    assert not gomod.SUBSTITUTIONS[minor].applies(RELEASED_1_20)


def test_tags_count_up_to_the_minor() -> None:
    assert gomod.build_tags(semver.parse("1.14.19")) == ["cilium1.14"]
    assert gomod.build_tags(semver.parse("1.16.0")) == ["cilium1.14", "cilium1.15", "cilium1.16"]
    # a minor that nobody has tried is built as the newest one
    assert gomod.build_tags(semver.parse("1.21.0"))[-2:] == ["cilium1.20", "cilium1.21"]


@pytest.mark.parametrize(
    ("constraint", "minors"),
    [
        ("", range(14, 22)),
        ("//go:build !cilium1.16\n", range(14, 16)),
        ("//go:build cilium1.16 && !cilium1.18\n", range(16, 18)),
        ("//go:build cilium1.19\n", range(19, 22)),
    ],
)
def test_a_file_is_active_for_its_minors(constraint: str, minors: range) -> None:
    source = f"{constraint}\npackage main\n"
    active = [m for m in range(14, 22) if gomod.is_active(source, gomod.build_tags(semver.parse(f"1.{m}.0")))]
    assert active == list(minors)


def test_every_minor_has_one_agent_one_operator_and_one_hive() -> None:
    texts = [file.read_text() for file in (programs.SOURCES / "cilium").glob("*.go")]
    for minor in range(gomod.FIRST_MINOR, 22):
        tags = gomod.build_tags(semver.parse(f"1.{minor}.0"))
        active = "\n".join(text for text in texts if gomod.is_active(text, tags))
        for function in (
            "func main(",
            "func agent(",
            "func operator(",
            "func definitions(",
            "func run(",
            "func runOnce(",
        ):
            assert active.count(function) == 1, f"1.{minor}: {function}"


BUILD_INFO = """\
/x/cilium: go1.26.8
\tpath\tlblab/cilium
\tmod\tlblab/cilium\t(devel)
\tdep\tgithub.com/cilium/cilium\tv1.18.0\th1:abc=
\tdep\tgithub.com/osrg/gobgp/v3\tv3.37.0
\t=>\tgithub.com/cilium/gobgp/v3\tv3.0.0-20250717193620-26a4abb75464\th1:def=
\tdep\tgolang.org/x/sys\tv0.34.0\th1:ghi=
\tdep\tgithub.com/osrg/gobgp/v4\tv4.6.1-0.20260630022313-d6dee8360046
\t=>\tgithub.com/osrg/gobgp/v4\tv4.8.0\th1:jkl=
\tbuild\t-trimpath=true
"""


def test_provenance_names_what_replaced_a_module() -> None:
    wanted = ("github.com/cilium/cilium", "github.com/osrg/gobgp/v3", "github.com/osrg/gobgp/v4")
    assert gomod.main_modules(BUILD_INFO, wanted) == {
        "github.com/cilium/cilium": "v1.18.0",
        "github.com/osrg/gobgp/v3": "github.com/cilium/gobgp/v3 v3.0.0-20250717193620-26a4abb75464",
        "github.com/osrg/gobgp/v4": "v4.8.0",
    }
