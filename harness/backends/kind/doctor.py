"""What the kind backend would need of this machine, a line each: `lblab doctor` shows it with the rest."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.backends.kind import failures, frr_image, images, preparation, tools
from harness.backends.kind.images import Image
from harness.backends.kind.options import KindOptions
from harness.check import Check
from harness.errors import LabError, LblabError, MissingCapability

if TYPE_CHECKING:
    import docker

_KIND = "the kind backend"
#: Bytes that a lab of kind takes in Docker's folder: node image 0.8 GB, Cilium's images 0.9 GB once in Docker and once,
#: unpacked, in each of three nodes (measured, kind-offline/LEARNT.md).
_SPACE = 8e9
#: Bytes of memory for three nodes: control plane 630 MB, worker 155 MB idle (LEARNT.md), Cilium's agents on top.
_MEMORY = 3e9
#: Docker's API that kind needs: --cgroupns came with 1.41, Docker 20.10 (kind, providers/docker/provision.go).
_API = (1, 41)
#: Kubernetes 1.35 refuses cgroup v1; Debian 13's systemd 257 too, 252 of Debian 12 does not (kind-offline/README.md).
_CGROUP_V1 = "a node image of Kubernetes up to 1.34 whose systemd takes cgroup v1"
_CGROUPS = Path("/sys/fs/cgroup")
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")


def examine() -> Iterator[Check]:
    """Look at Docker, kind, Helm, the images and the kernel's limits; nothing is pulled or started."""
    try:
        tools.docker_command()
        engine = tools.engine()
    except MissingCapability as error:
        yield Check("Docker", False, _found(error), _KIND, error.hint)
        yield from (_tool(name) for name in ("kind", "helm"))
        return
    facts = engine.version()
    api = tuple(int(number) for number in re.findall(r"\d+", str(facts.get("ApiVersion", "0.0")))[:2])
    remedy = None if api >= _API else "Docker 20.10 or newer"
    yield Check("Docker", remedy is None, str(facts.get("Version", "?")), _KIND, remedy)
    yield from (_tool(name) for name in ("kind", "helm"))
    yield from _images(engine)
    yield from _limits(engine)


def _found(error: LblabError) -> str:
    text = error.message
    if "no docker command" in text:
        return "not installed"
    if "Python package" in text:
        return "the Python package docker is not installed"
    return text


def _tool(name: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, False, "not in PATH", _KIND, f"install {name}", f"lblab builds it once: lblab build {name}")
    try:
        return Check(name, True, f"{tools.version_of(name, Path(path))} in {path}", _KIND)
    except LabError as error:
        return Check(name, False, error.message, _KIND, f"repair {path} or take it out of PATH")


def _images(engine: docker.DockerClient) -> Iterator[Check]:
    """The two images that every lab of kind needs; those of Cilium depend on its version."""
    chosen = KindOptions()
    wanted = {
        "image of nodes": (preparation.choose_node(engine, chosen), f"--kind-image or {preparation.NODE_VARIABLE}"),
        "image of FRR": (frr_image.first_choice(engine, chosen)[0], f"--frr-image or {frr_image.VARIABLE}"),
    }
    for what, (name, names_another) in wanted.items():
        (where,) = images.locate(engine, [Image(name, "node")])
        here = where.identity is not None
        fallback = None if here else f"it is pulled, or {names_another} names another one"
        yield Check(what, here, f"{name}, {where}", _KIND, None if here else f"docker pull {name}", fallback)


def _limits(engine: docker.DockerClient) -> Iterator[Check]:
    info = engine.info()
    limit = int(_INOTIFY.read_text())
    wanted = failures.INOTIFY_INSTANCES
    remedy = None if limit >= wanted else f"sysctl fs.inotify.max_user_instances={2 * wanted}"
    yield Check("inotify instances", remedy is None, str(limit), f"{_KIND} ({wanted} for three nodes)", remedy)
    version = str(info.get("CgroupVersion") or ("2" if (_CGROUPS / "cgroup.controllers").exists() else "1"))
    old = (
        None
        if version == "2"
        else "a node image whose systemd takes cgroup v1, and Kubernetes up to 1.34; or cgroup v2"
    )
    found = f"version {version}, driver {info.get('CgroupDriver', '?')}"
    yield Check("cgroups", old is None, found, _KIND, old, None if old is None else _CGROUP_V1)
    folder = Path(str(info.get("DockerRootDir", "/var/lib/docker")))
    if folder.exists():
        free = shutil.disk_usage(folder).free
        remedy = None if free >= _SPACE else "docker system prune, or another disk for Docker"
        yield Check(
            "Docker's disk", remedy is None, f"{free / 1e9:.0f} GB free for {folder}", f"{_KIND} (8 GB)", remedy
        )
    memory = int(info.get("MemTotal") or 0)
    remedy = None if memory >= _MEMORY else "more memory"
    yield Check("Docker's memory", remedy is None, f"{memory / 1e9:.1f} GB", f"{_KIND} (3 GB)", remedy)
