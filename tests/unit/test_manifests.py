"""Manifests: the user's objects, unchanged, with their places."""

from pathlib import Path

import pytest

from harness import manifests
from harness.errors import UserError

TWO = """\
# a pool
apiVersion: cilium.io/v2
kind: CiliumLoadBalancerIPPool
metadata: {name: pool}
spec:
  blocks:
    - cidr: 192.168.142.0/24
---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Service
    metadata: {generateName: web-}
    spec: {ports: [{port: 80}]}
  - {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}
"""


def test_objects_come_unchanged_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(TWO)
    pool, service, deployment = manifests.load(file)
    assert pool.object == {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumLoadBalancerIPPool",
        "metadata": {"name": "pool"},
        "spec": {"blocks": [{"cidr": "192.168.142.0/24"}]},
    }
    assert (pool.file, pool.line, pool.group, str(pool)) == (
        str(file),
        3,
        "cilium.io",
        "CiliumLoadBalancerIPPool/pool",
    )
    assert pool.line_of("spec", "blocks", 0, "cidr") == 7
    assert (service.line, service.line_of("spec", "ports", 0), service.name, service.group) == (13, 15, "web-", "")
    assert (deployment.line, deployment.api_version) == (16, "apps/v1")
    assert manifests.kinds([pool, service]) == {("cilium.io/v2", "CiliumLoadBalancerIPPool"), ("v1", "Service")}


def test_a_folder_is_its_yaml_and_json_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("{apiVersion: v1, kind: B}")
    (tmp_path / "a.json").write_text('{"apiVersion": "v1", "kind": "A"}')
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert [one.kind for one in manifests.load(tmp_path)] == ["A", "B"]


def test_text_and_objects_have_no_file() -> None:
    (from_text,) = manifests.load("apiVersion: v1\nkind: Pod\n")
    (from_objects,) = manifests.load([{"apiVersion": "v1", "kind": "Pod"}])
    assert from_text.object == from_objects.object
    assert str(from_text.error("no", "spec")) == str(from_objects.error("no", "spec")) == "no"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "m.yaml:1: not a Kubernetes object: a list"),
        ("# x\njust text\n", "m.yaml:2: not a Kubernetes object: a single value"),
        ("kind: Pod\nspec: {}\n", "m.yaml:1: not a Kubernetes object: it has no apiVersion"),
        ("apiVersion: v1\nkind:\n", "m.yaml:2: not a Kubernetes object: it has no kind"),
        (
            "apiVersion: v1\nkind: List\nitems:\n  - kind: X\n",
            "m.yaml:4: not a Kubernetes object: it has no apiVersion",
        ),
        ("a: [\n", "m.yaml:2: not valid YAML: while parsing a flow node, expected the node content, but found "),
    ],
)
def test_what_is_no_manifest_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        manifests.load("m.yaml")
    assert str(error.value).startswith(message)


def test_an_empty_folder_and_a_missing_file_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(UserError) as error:
        manifests.load("empty")
    assert str(error.value) == "empty: has no manifest in it (a manifest ends in .yaml, .yml or .json)"
    with pytest.raises(UserError) as error:
        manifests.load("nowhere.yaml")
    assert str(error.value) == "nowhere.yaml: cannot be read: No such file or directory"
