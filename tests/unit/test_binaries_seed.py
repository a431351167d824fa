"""The seed's pure parts; tests/integration makes a real one."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from harness.binaries import seed
from harness.errors import UserError


def definition(established: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "ciliumnodes.cilium.io"},
        "spec": {
            "group": "cilium.io",
            "names": {"kind": "CiliumNode"},
            "versions": [
                {"name": "v2", "served": True},
                {"name": "v2alpha1", "served": True},
                {"name": "v1", "served": False},
            ],
        },
        "status": {
            "conditions": [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": established}]
        },
    }


def test_kinds_are_listed_by_served_version() -> None:
    assert seed.served_kinds({"items": [definition("True")]}) == [
        "CiliumNode.cilium.io/v2",
        "CiliumNode.cilium.io/v2alpha1",
    ]


def test_a_definition_that_is_not_established_is_an_error() -> None:
    with pytest.raises(UserError, match=r"ciliumnodes\.cilium\.io was not established"):
        seed.served_kinds({"items": [definition("True"), definition("False")]})


def test_the_tar_holds_the_content_and_nothing_of_its_maker(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "member" / "snap").mkdir(parents=True)
    (data / "member" / "snap" / "db").write_bytes(b"x" * 100)
    for name in ("one.tar", "two.tar"):
        seed._pack(data, tmp_path / name)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        members = tar.getmembers()
        content = tar.extractfile("member/snap/db")
        assert content is not None
        packed = content.read()
    assert [one.name for one in members] == ["member", "member/snap", "member/snap/db"]
    assert {(one.uid, one.gid, one.uname, one.mtime) for one in members} == {(0, 0, "", 0)}
    assert packed == b"x" * 100
