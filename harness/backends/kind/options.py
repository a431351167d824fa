"""What a user may choose of a kind lab: images, charts and values; plain data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UserError

_FRR_VERSION = re.compile(r"\d+(\.\d+){0,2}")
#: Stands for the version in the name of a chart.
VERSION = "{version}"


@dataclass(frozen=True)
class KindOptions:
    """The options of the kind backend.

    Attributes:
        kind_image: The nodes' image; None is the one that lblab was tried with, or a local one.
        cilium_chart: A chart's folder, a .tgz, an `oci://` reference or the URL of a repository; None is Cilium's own.
            `{version}` in it stands for the Cilium version, so that an upgrade finds the other one's.
        cilium_values: Values files for the chart, each on top of the one before, all on top of lblab's few.
        cilium_images: Images in place of the chart's: `agent` and `operator`.
        metallb_manifest: MetalLB's manifest; None is that of its release.
        metallb_chart: A chart of MetalLB in the manifest's place: as `cilium_chart`.
        frr_version: The FRR that routers run; None is the one at hand, or Debian's.
        frr_image: An image with FRR in place of lblab's own.
        image_archives: Archives of `docker save` that hold images of the run.
    """

    kind_image: str | None = None
    cilium_chart: str | None = None
    cilium_values: tuple[Path, ...] = ()
    cilium_images: Mapping[str, str] = field(default_factory=dict)
    metallb_manifest: Path | None = None
    metallb_chart: str | None = None
    frr_version: str | None = None
    frr_image: str | None = None
    image_archives: tuple[Path, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The options as JSON types, for whoever attaches to the lab."""
        return json.loads(json.dumps(asdict(self), default=str))  # type: ignore[no-any-return]

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> KindOptions:
        """The options out of what `facts` gave."""
        paths = {"cilium_values", "image_archives"}
        found: dict[str, Any] = {
            name: tuple(map(Path, value)) if name in paths else value for name, value in facts.items()
        }
        if found.get("metallb_manifest"):
            found["metallb_manifest"] = Path(str(found["metallb_manifest"]))
        return cls(**found)

    def check(self) -> None:
        """Look at everything that can be looked at before anything is started.

        Raises:
            UserError: A file is not there, values are no YAML mapping, a chart is no chart, or an image is named that
                nothing runs.
        """
        for path in (*self.image_archives, *([self.metallb_manifest] if self.metallb_manifest else [])):
            if not path.is_file():
                raise UserError("there is no such file", file=path)
        if self.frr_version is not None and not _FRR_VERSION.fullmatch(self.frr_version):
            raise UserError(f'"{self.frr_version}" is not an FRR version', hint='as "10.3" or "10.3.1"')
        for path in self.cilium_values:
            values(path)
        for option, chart in (("--cilium-chart", self.cilium_chart), ("--metallb-chart", self.metallb_chart)):
            if chart is not None:
                check_chart(option, chart)
        if unknown := sorted(set(self.cilium_images) - {"agent", "operator"}):
            raise UserError(
                f"--cilium-image {unknown[0]}=... is no image that a lab runs", hint="agent=IMAGE or operator=IMAGE"
            )
        if self.metallb_manifest and self.metallb_chart:
            raise UserError("MetalLB comes from a manifest or from a chart, not from both", hint="leave one out")


def values(path: Path) -> dict[str, object]:
    """Read one values file of a chart.

    Raises:
        UserError: It is not there, is no YAML, or is no mapping; with file and line.
    """
    from harness import yamlfile  # pytest's plugin reads this module in every run on the machine

    documents = yamlfile.load_file(path)
    if not documents:
        return {}
    if len(documents) > 1:
        raise UserError("a values file is one YAML document", file=path, line=documents[1].line_of())
    value = documents[0].value
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError("a values file is a YAML mapping", file=path, line=1)
    return value


def is_local(chart: str) -> bool:
    """Whether a chart is a folder or a file on this machine."""
    return "://" not in chart


def check_chart(option: str, chart: str) -> None:
    """Refuse a local chart that is none.

    Args:
        option: How the user named it.
        chart: The chart.

    Raises:
        UserError: There is no such file, or the folder has no Chart.yaml.
    """
    if not is_local(chart) or VERSION in chart:
        return
    path = Path(chart)
    if path.is_dir():
        if not (path / "Chart.yaml").is_file():
            raise UserError(f"{option} is no chart: it has no Chart.yaml", file=path)
    elif not path.is_file():
        raise UserError(f"{option}: there is no such file or folder", file=path, hint="or give a URL, or oci://...")
    elif not path.name.endswith((".tgz", ".tar.gz")):
        raise UserError(f"{option} is no packaged chart", file=path, hint="a .tgz, or a folder with a Chart.yaml")


def pairs(option: str, given: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Read `name=value` options.

    Raises:
        UserError: One of them has no `=`.
    """
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals and value):
            raise UserError(f"{option} {one!r} is not NAME=VALUE")
        found[name] = value
    return found
