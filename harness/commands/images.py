"""`lblab images`: the images that a lab of kind needs, where they are, and how they get there without a registry."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands.common import JsonOption, LabOption, choose, print_json, progress, running, show
from harness.commands.kind_options import (
    CiliumChart,
    CiliumImage,
    CiliumValues,
    FrrImage,
    FrrVersion,
    ImageArchive,
    KindImage,
    MetallbChart,
)

if TYPE_CHECKING:
    from harness.backends.kind.images import Where
    from harness.backends.kind.tools import Tools
    from harness.backends.registry import LabInfo

app = typer.Typer(help="The images of the kind backend: which a run needs, where they are.", no_args_is_help=True)

_DEFAULT_TOPOLOGY = Path("topologies/small.yaml")


@app.command("list")
def list_(
    topology: Annotated[Path, typer.Argument(metavar="[TOPOLOGY]", help="The topology file.")] = _DEFAULT_TOPOLOGY,
    cilium_version: Annotated[str, typer.Option(metavar="VERSION", help="Exact, a minor, or auto.")] = "auto",
    metallb_version: Annotated[str, typer.Option(metavar="VERSION", help="Exact, a minor, or auto.")] = "auto",
    metallb_manifest: Annotated[Path | None, typer.Option(metavar="FILE", help="MetalLB's manifest.")] = None,
    kind_image: KindImage = None,
    cilium_chart: CiliumChart = None,
    cilium_values: CiliumValues = None,
    cilium_image: CiliumImage = None,
    metallb_chart: MetallbChart = None,
    frr_version: FrrVersion = None,
    frr_image: FrrImage = None,
    image_archive: ImageArchive = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the images that a run needs, and where each is; nothing is pulled.

    With --lab: also which of them are in the nodes of that lab.
    """
    from dataclasses import replace

    from harness import bringup
    from harness.backends.kind import doors, images, preparation, tools
    from harness.cilium import l2, semver
    from harness.metallb import versions as metallb_versions
    from harness.topology import load

    chosen = doors.build(
        kind_image=kind_image,
        cilium_chart=cilium_chart,
        cilium_values=cilium_values,
        cilium_image=cilium_image,
        metallb_chart=metallb_chart,
        frr_version=frr_version,
        frr_image=frr_image,
        image_archive=image_archive,
    )
    chosen = replace(chosen, metallb_manifest=metallb_manifest)
    read = load(topology)
    version, objects = bringup.choose(read, None if cilium_version == "auto" else cilium_version)
    metallb = metallb_versions.choose(read, objects, None if metallb_version == "auto" else metallb_version)
    decided, _ = l2.decided(read, objects, semver.parse(version))
    with tempfile.TemporaryDirectory(prefix="lblab-images-") as scratch:
        used = tools.provide(Path(scratch))
        wanted = preparation.needed(
            used,
            decided,
            chosen,
            Path(scratch),
            cilium_version=version,
            metallb_version=None if metallb is None else str(metallb),
        )
        found = images.locate(used.engine, wanted, chosen.image_archives)
        nodes = _in_nodes(used, _of_kind(lab)) if lab is not None else {}
    _show_list(found, nodes, as_json)


@app.command()
def load(
    what: Annotated[
        list[str], typer.Argument(metavar="WHAT...", help="Archives of docker save, or names of local images.")
    ],
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load images: archives into the local Docker daemon, and with --lab all of them into the nodes of that lab."""
    from harness.backends.kind import images, names, tools
    from harness.backends.kind.images import Image
    from harness.errors import UserError

    info = None if lab is None else _of_kind(lab)
    with tempfile.TemporaryDirectory(prefix="lblab-images-") as scratch, progress("images", quiet=as_json) as tell:
        used = tools.provide(Path(scratch), progress=tell)
        loaded: list[str] = []
        for one in what:
            if Path(one).is_file():
                tell(f"loading {one}")
                loaded += images.load_archive(used.engine, Path(one))
                continue
            (found,) = images.locate(used.engine, [Image(one, "cilium")])
            if found.identity is None:
                raise UserError(
                    f"'{one}' is no archive and no image of the local Docker daemon", hint="docker image ls"
                )
            loaded.append(one)
        if info is not None:
            wanted = [Image(name, "cilium") for name in loaded]
            images.load_into_nodes(used, names.cluster(info.name), wanted, tell)
    if as_json:
        print_json({"images": loaded, "lab": None if info is None else info.name})
        return
    for name in loaded:
        print(f"{name} is in the local daemon" + ("" if info is None else f" and in the nodes of {info.name}"))


def _of_kind(name: str) -> LabInfo:
    from harness.errors import UserError

    info = choose(running(), name)
    if info.backend != "kind":
        raise UserError(f"the lab {info.name} is embedded: its nodes hold no images", hint="a lab of --backend kind")
    return info


def _in_nodes(used: Tools, info: LabInfo) -> dict[str, set[str]]:
    """What each node of a lab holds."""
    from harness.backends.kind import images, names
    from harness.topology import load as load_topology

    containers = names.containers(info.name, load_topology(Path(info.topology)).nodes)
    return {node: images.in_node(used, container) for node, container in containers.items()}


def _show_list(found: list[Where], nodes: dict[str, set[str]], as_json: bool) -> None:
    from harness.backends.kind import images

    rows: list[dict[str, Any]] = []
    for one in found:
        holding = [node for node, held in nodes.items() if images.is_among(one.image.name, held)]
        rows.append(
            {
                "image": one.image.name,
                "for": one.image.role,
                "id": one.identity,
                "bytes": one.size,
                "archive": None if one.archive is None else str(one.archive),
                "nodes": holding,
            }
        )
    if as_json:
        print_json(rows)
        return
    from rich.table import Table

    table = Table("image", "for", "where", *(["in the nodes"] if nodes else []), box=None, pad_edge=False)
    for row, one in zip(rows, found, strict=True):
        in_nodes = [", ".join(row["nodes"]) or "none"] if nodes else []
        table.add_row(one.image.name, one.image.role, str(one), *in_nodes)
    show(table)
