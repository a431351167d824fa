"""The options of the kind backend as pytest and `lblab` take them: the same names, once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends.kind.options import KindOptions, pairs

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        flag: As it is written.
        metavar: What it takes.
        help: What it does.
        many: Whether it may be given more than once.
    """

    flag: str
    metavar: str
    help: str
    many: bool = False

    @property
    def name(self) -> str:
        """Its name in Python."""
        return self.flag.removeprefix("--").replace("-", "_")


KIND_IMAGE = Option("--kind-image", "IMAGE", "kind: the nodes' image (kindest/node:v1.34.0)")
CILIUM_CHART = Option(
    "--cilium-chart", "CHART", "kind: Cilium's chart: a folder, a .tgz, oci://..., a repository; {version}: of it"
)
CILIUM_VALUES = Option(
    "--cilium-values", "FILE", "kind: values for Cilium's chart; repeatable, the last one wins", True
)
CILIUM_IMAGE = Option(
    "--cilium-image", "agent|operator=IMAGE", "kind: an image instead of the chart's; repeatable", True
)
METALLB_CHART = Option("--metallb-chart", "CHART", "kind: a chart of MetalLB instead of its manifest")
FRR_VERSION = Option("--frr-version", "V", "kind: the routers' FRR, such as 10.3")
FRR_IMAGE = Option("--frr-image", "IMAGE", "kind: an image with FRR instead of lblab's choice")
IMAGE_ARCHIVE = Option("--image-archive", "FILE", "kind: an archive of docker save with images; repeatable", True)

ALL = (KIND_IMAGE, CILIUM_CHART, CILIUM_VALUES, CILIUM_IMAGE, METALLB_CHART, FRR_VERSION, FRR_IMAGE, IMAGE_ARCHIVE)


def add_to_pytest(group: pytest.OptionGroup) -> None:
    """Add the options to lblab's group of pytest's."""
    for one in ALL:
        more: dict[str, Any] = {"action": "append", "default": []} if one.many else {}
        group.addoption(one.flag, metavar=one.metavar, help=one.help, **more)


def of_pytest(config: pytest.Config) -> KindOptions:
    """Read the options of a run; relative paths are of the folder it was started in.

    Raises:
        UserError: One of them cannot be used.
    """
    return build(**{one.name: config.getoption(one.name) for one in ALL})


def as_arguments(**given: Any) -> list[str]:
    """Write options as pytest takes them, for a run that is a process of its own.

    Args:
        given: Options by their names in Python, as of `build`; they are looked at there, too.

    Raises:
        UserError: One of them cannot be used.
    """
    build(**given)
    found = []
    for one in ALL:
        value = given.get(one.name)
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if part is not None:
                found.append(f"{one.flag}={part}")
    return found


def build(
    *,
    kind_image: str | None = None,
    cilium_chart: str | None = None,
    cilium_values: Iterable[str | Path] | None = (),
    cilium_image: Iterable[str] | None = (),
    metallb_chart: str | None = None,
    frr_version: str | None = None,
    frr_image: str | None = None,
    image_archive: Iterable[str | Path] | None = (),
) -> KindOptions:
    """Make the options of what was given, and look at them.

    Raises:
        UserError: One of them cannot be used.
    """
    found = KindOptions(
        kind_image=kind_image,
        cilium_chart=cilium_chart,
        cilium_values=tuple(Path(path).absolute() for path in cilium_values or ()),
        cilium_images=pairs(CILIUM_IMAGE.flag, list(cilium_image or ())),
        metallb_chart=metallb_chart,
        frr_version=frr_version,
        frr_image=frr_image,
        image_archives=tuple(Path(path).absolute() for path in image_archive or ()),
    )
    found.check()
    return found
