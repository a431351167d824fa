"""Options of a kind lab: what is wrong with them is said before anything is started."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from harness.backends.kind import doors, images, options
from harness.errors import UserError


def test_options_are_the_same_for_pytest_and_the_command_line() -> None:
    from typer.testing import CliRunner

    from harness.cli import app

    shown = CliRunner().invoke(app, ["up", "--help"], env={"COLUMNS": "200"}).output
    for one in doors.ALL:
        assert one.flag in shown


def test_what_is_given_becomes_options(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("kubeProxyReplacement: false\n")
    chosen = doors.build(cilium_values=[values], cilium_image=["agent=x/cilium:1"], frr_version="10.3")
    assert chosen.cilium_values == (values,)
    assert chosen.cilium_images == {"agent": "x/cilium:1"}
    assert chosen.frr_version == "10.3"
    assert doors.build() == options.KindOptions()


def test_whoever_attaches_to_a_lab_has_its_options(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("")
    chosen = doors.build(cilium_values=[values], cilium_chart="x/{version}.tgz", kind_image="node")
    assert options.KindOptions.of(json.loads(json.dumps(chosen.facts()))) == chosen


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cilium_chart": "nowhere/chart"}, "--cilium-chart: there is no such file or folder"),
        ({"metallb_chart": "nowhere.tgz"}, "--metallb-chart: there is no such file or folder"),
        ({"cilium_image": ["hubble=x"]}, "hubble"),
        ({"cilium_image": ["agent"]}, "is not NAME=VALUE"),
        ({"image_archive": ["nowhere.tar"]}, "there is no such file"),
        ({"cilium_values": ["nowhere.yaml"]}, "nowhere.yaml"),
        ({"frr_version": "abc"}, "is not an FRR version"),
    ],
)
def test_bad_options_are_one_sentence(given: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        doors.build(**given)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_folder_without_chart_yaml_is_no_chart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no Chart\.yaml"):
        doors.build(cilium_chart=str(tmp_path))
    (tmp_path / "Chart.yaml").write_text("name: cilium\n")
    assert doors.build(cilium_chart=str(tmp_path)).cilium_chart == str(tmp_path)


def test_a_file_that_is_no_package_is_no_chart(tmp_path: Path) -> None:
    (tmp_path / "chart.zip").touch()
    with pytest.raises(UserError, match="no packaged chart"):
        doors.build(cilium_chart=str(tmp_path / "chart.zip"))


@pytest.mark.parametrize(("text", "line"), [("- a\n", 1), ("a: 1\n---\nb: 2\n", 3), ("a: [\n", None)])
def test_values_that_are_no_mapping_are_said_with_their_file(tmp_path: Path, text: str, line: int | None) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        options.values(file)
    assert caught.value.file == str(file)
    if line is not None:
        assert caught.value.line == line


def test_an_empty_values_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("# nothing\n")
    assert options.values(file) == {}


def test_a_manifest_and_a_chart_of_metallb_are_too_much(tmp_path: Path) -> None:
    (tmp_path / "Chart.yaml").write_text("name: metallb\n")
    manifest = tmp_path / "m.yaml"
    manifest.touch()
    with pytest.raises(UserError, match="not from both"):
        options.KindOptions(metallb_manifest=manifest, metallb_chart=str(tmp_path)).check()


def archive(path: Path, tags: list[str]) -> Path:
    content = json.dumps([{"Config": "c.json", "RepoTags": tags, "Layers": []}]).encode()
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return path


def test_an_archive_tells_its_images(tmp_path: Path) -> None:
    assert images.archive_images(archive(tmp_path / "a.tar", ["x/y:1", "z:2"])) == ["x/y:1", "z:2"]


def test_a_file_that_is_no_archive_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    file.write_text("no")
    with pytest.raises(UserError, match="no archive of images"):
        images.archive_images(file)


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("kindest/node:v1.34.0", "docker.io/kindest/node:v1.34.0"),
        ("quay.io/cilium/cilium:v1.18.0@sha256:00", "quay.io/cilium/cilium:v1.18.0"),
        ("localhost/a:1", "localhost/a:1"),
        ("registry:5000/a", "registry:5000/a:latest"),
    ],
)
def test_images_are_known_by_any_of_their_names(name: str, held: str) -> None:
    assert images.is_among(name, [held, "docker.io/library/other:1"])
    assert not images.is_among(name, ["docker.io/library/other:1"])
