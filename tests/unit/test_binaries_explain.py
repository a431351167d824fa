"""One sentence out of what the Go command wrote; the outputs are real ones, shortened."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.binaries import explain

MISSING_MODULE = """\
pkg/bgp/gobgp/server.go:15:2: github.com/osrg/gobgp/v4@v4.6.1-0.20260630022313-d6dee8360046: reading \
https://proxy.example/github.com/osrg/gobgp/v4/@v/v4.6.1-0.20260630022313-d6dee8360046.zip: 403 Forbidden
\tserver response: This module version is not available."""
REFUSED = (
    'github.com/cilium/cilium@v1.17.3: Get "http://127.0.0.1:9/x.info": dial tcp 127.0.0.1:9: connect: '
    "connection refused"
)
NO_DNS = 'Get "https://nowhere.invalid/x.info": dial tcp: lookup nowhere.invalid on 10.0.0.1:53: no such host'
COMPILER = """\
go: downloading github.com/cilium/hive v1.0.4
github.com/cilium/cilium/pkg/bgp
# lblab/cilium
./operator_1_19.go:26:14: undefined: k8s.LBIPPoolsResource
./operator_1_19.go:31:8: undefined: k8s.Other
"""


def test_a_module_that_is_not_served_is_told_from_a_network_that_does_not_work() -> None:
    assert explain.is_missing(MISSING_MODULE)
    assert not explain.is_offline(MISSING_MODULE)
    for output in (REFUSED, NO_DNS):
        assert explain.is_offline(output)
        assert not explain.is_missing(output)


@pytest.mark.parametrize("output", [REFUSED, NO_DNS])
def test_no_network(output: str) -> None:
    error = explain.failure("cilium 1.17.3", output)
    assert error.exit_code == 2
    assert error.message == (
        "cilium 1.17.3 cannot be built: its Go modules cannot be downloaded, the network does not answer"
    )
    assert error.hint
    assert "GOPROXY" in error.hint


@pytest.mark.parametrize(
    "output",
    [
        "compile: writing output: write $WORK/b001/_pkg_.a: no space left on device",
        "go: write /home/me/go/pkg/mod/cache/x.zip: disk quota exceeded",
    ],
)
def test_full_disk(output: str) -> None:
    error = explain.failure("kube 1.34.4", output)
    assert error.message == "kube 1.34.4 cannot be built: the disk is full"
    assert error.hint
    assert "XDG_CACHE_HOME" in error.hint


def test_a_full_disk_is_said_before_the_errors_that_it_causes() -> None:
    assert "disk is full" in explain.failure("kube", COMPILER + "no space left on device").message


def test_compiler_errors_are_quoted_without_the_noise(tmp_path: Path) -> None:
    error = explain.failure("cilium 1.21.0", COMPILER, tmp_path / "log")
    assert error.message == (
        "cilium 1.21.0 cannot be built: ./operator_1_19.go:26:14: undefined: k8s.LBIPPoolsResource; "
        "./operator_1_19.go:31:8: undefined: k8s.Other"
    )
    assert error.file == str(tmp_path / "log")


def test_packages_that_are_called_errors_are_no_errors() -> None:
    output = "k8s.io/apimachinery/pkg/util/errors\ngithub.com/go-openapi/errors\n" + COMPILER
    assert explain.failure("kube", output).message == explain.failure("kube", COMPILER).message
    assert explain.failure("kube", "github.com/go-openapi/errors\n").message.endswith("the Go command says nothing")


def test_a_killed_compiler_is_about_memory() -> None:
    error = explain.failure("kube", "k8s.io/api/core/v1: compile: signal: killed")
    assert "memory" in error.message
    assert error.hint
    assert "-p=1" in error.hint


def test_a_go_that_is_too_old() -> None:
    error = explain.failure("x", "go: go.mod requires go >= 1.26.0 (running go 1.24.3; GOTOOLCHAIN=local)")
    assert "requires go >= 1.26.0" in error.message


def test_nothing_said() -> None:
    assert explain.failure("x", "").message == "x cannot be built: the Go command says nothing"


def test_a_version_that_does_not_exist() -> None:
    known = ["1.15.1", "1.15.19", "1.20.2"]
    error = explain.no_such_version("Cilium", "1.99.0", known, "404 Not Found")
    assert str(error) == "Cilium 1.99.0 does not exist: the newest known is 1.20.2"
    assert error.exit_code == 2
    assert str(explain.no_such_version("Cilium", "1.15.77", known, "404 Not Found")) == (
        "Cilium 1.15.77 does not exist: the newest known of 1.15 is 1.15.19"
    )
    assert str(explain.no_such_version("Cilium", "1.15.0-rc.9", known, "403 Forbidden")) == (
        "Cilium 1.15.0-rc.9 does not exist, or this machine's module proxy does not serve it: "
        "the newest known of 1.15 is 1.15.19"
    )
