"""Everything that a kind lab needs, decided and had before its first container is made."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.backends.kind import charts, cilium, frr_image, images, metallb, names
from harness.backends.kind.images import Image
from harness.backends.kind.options import KindOptions
from harness.backends.kind.tools import Progress, Tools
from harness.errors import MissingCapability, UserError
from harness.topology import Topology

if TYPE_CHECKING:
    import docker

#: Names the nodes' image in place of all others, as --kind-image does.
NODE_VARIABLE = "LBLAB_KIND_IMAGE"
#: The nodes' image where none was named and none is here: that of kind 0.30.0 for Kubernetes 1.34
#: (kind, pkg/apis/config/defaults/image.go).
NODE_IMAGE = "kindest/node:v1.34.0@sha256:7416a61b42b1662ca6ca89f02028ac133a309a2a30ba309614e8ec94d976dc5a"
_NODE_REPOSITORY = "kindest/node"
#: What charts are told of a cluster while nobody has looked into the nodes' image.
_KUBERNETES, _ALL_CAPABILITIES = "1.34.0", -1


@dataclass(frozen=True)
class Prepared:
    """A lab that can be started.

    Attributes:
        node: The nodes' image.
        kubernetes: Its Kubernetes version, as "1.34.4".
        frr: The routers' image.
        kube_proxy: kube-proxy's mode; "none" where Cilium takes its place.
        cilium: Cilium's chart with its values.
        metallb: MetalLB, None without it.
        images: All images.
        identities: Their ids by name.
    """

    node: str
    kubernetes: str
    frr: str
    kube_proxy: str
    cilium: charts.Release
    metallb: metallb.Prepared | None
    images: tuple[Image, ...]
    identities: dict[str, str]

    @property
    def minor(self) -> int:
        """The minor of its Kubernetes: 34 of 1.34.4."""
        return int(self.kubernetes.split(".")[1])

    @property
    def provenance(self) -> dict[str, object]:
        """What stands in the record of every result."""
        return {"images": self.identities, "kubernetes": {"version": self.kubernetes}, "kube_proxy": self.kube_proxy}


def prepare(
    tools: Tools,
    topology: Topology,
    chosen: KindOptions,
    folder: Path,
    *,
    cilium_version: str,
    metallb_version: str | None,
    progress: Progress = lambda _: None,
) -> Prepared:
    """Decide on everything, fetch it, and look whether it fits together.

    Args:
        tools: Docker and Helm.
        topology: What is to be built.
        chosen: The user's options.
        folder: The lab's folder, whose name is the lab's.
        cilium_version: The exact Cilium version.
        metallb_version: The exact MetalLB version, None without MetalLB.
        progress: Told what takes long.

    Raises:
        UserError: A file or a value is wrong.
        MissingCapability: An image, a chart or a manifest is not here and cannot be had.
    """
    chosen.check()
    archives = chosen.image_archives
    node = choose_node(tools.engine, chosen)
    identities = images.provide(tools.engine, [Image(node, "node")], archives, progress)
    kubernetes, bounding = look_into(tools.engine, node, folder.name)
    proxy = cilium.kube_proxy(cilium.values(topology), cilium.users_values(chosen))
    release = cilium.prepare(tools, topology, cilium_version, chosen, folder, kubernetes, bounding)
    other = None
    if metallb_version is not None:
        other = metallb.prepare(tools, topology, metallb_version, chosen, folder, kubernetes)
    frr = frr_image.choose(tools.engine, chosen, node, progress)
    rest = [
        Image(frr, "router"),
        *(Image(name, "cilium") for name in release.images),
        *(Image(name, "metallb") for name in (other.images if other else ())),
    ]
    identities |= images.provide(tools.engine, rest, archives, progress)
    return Prepared(
        node, kubernetes, frr, proxy, release, other, (Image(node, "node"), *dict.fromkeys(rest)), identities
    )


def needed(
    tools: Tools,
    topology: Topology,
    chosen: KindOptions,
    folder: Path,
    *,
    cilium_version: str,
    metallb_version: str | None,
) -> list[Image]:
    """The images that a run needs, without having any of them; arguments and errors as of `prepare`."""
    chosen.check()
    node = choose_node(tools.engine, chosen)
    release = cilium.prepare(tools, topology, cilium_version, chosen, folder, _KUBERNETES, _ALL_CAPABILITIES)
    found = [Image(node, "node"), Image(frr_image.first_choice(tools.engine, chosen)[0], "router")]
    found += [Image(name, "cilium") for name in release.images]
    if metallb_version is not None:
        other = metallb.prepare(tools, topology, metallb_version, chosen, folder, _KUBERNETES)
        found += [Image(name, "metallb") for name in other.images]
    return list(dict.fromkeys(found))


def choose_node(engine: docker.DockerClient, chosen: KindOptions) -> str:
    """The nodes' image: the one that was named, the one that lblab was tried with, or the newest that is here."""
    named = chosen.kind_image or os.environ.get(NODE_VARIABLE)
    if named:
        return named
    (usual,) = images.locate(engine, [Image(NODE_IMAGE, "node")])
    if usual.identity is not None:
        return NODE_IMAGE
    here = [tag for image in engine.images.list(name=_NODE_REPOSITORY) for tag in image.tags]
    released = [tag for tag in here if re.search(r":v\d+\.\d+\.\d+$", tag)]
    return max(released, key=_numbers, default=NODE_IMAGE)


def look_into(engine: docker.DockerClient, node: str, lab: str) -> tuple[str, int]:
    """Ask the nodes' image for its Kubernetes, and Docker for the capabilities that its containers may have.

    Returns:
        The version, as "1.34.4", and the bounding set (proc(5), CapBnd).

    Raises:
        UserError: It is no image of a kind node.
        MissingCapability: Docker starts no privileged container.
    """
    from docker.errors import ContainerError, DockerException

    ask = ["-c", "cat /kind/version; echo; grep CapBnd /proc/self/status"]
    try:
        told = engine.containers.run(
            node,
            ask,
            entrypoint=["/bin/sh"],
            privileged=True,
            network_mode="none",
            remove=True,
            labels=names.labels(lab),
        )
    except ContainerError as error:
        raise UserError(f"{node} is no image of a kind node: {str(error.stderr)[:200]}", hint="--kind-image") from None
    except DockerException as error:
        raise MissingCapability(f"Docker does not start a privileged container: {str(error)[:300]}") from None
    text = told.decode(errors="replace")
    version, bounding = re.search(r"v?(\d+\.\d+\.\d+)", text), re.search(r"CapBnd:\s*([0-9a-f]+)", text)
    if version is None or bounding is None:
        raise UserError(f"{node} is no image of a kind node: it has no /kind/version", hint="--kind-image")
    return version[1], int(bounding[1], 16)


def _numbers(tag: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", tag.rpartition(":")[2])]
