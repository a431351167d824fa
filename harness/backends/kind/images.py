"""The images of a run: where each is, and how it gets to where it is needed; what is there is never pulled."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.backends.kind import failures
from harness.backends.kind.tools import Progress, Tools
from harness.errors import LabError, MissingCapability, UserError

if TYPE_CHECKING:
    import docker

#: Who needs an image: containers of Docker itself, or pods, which take theirs from their node.
Role = Literal["node", "router", "cilium", "metallb"]
#: What an image of pods is: it has to be in the nodes.
_OF_PODS: tuple[Role, ...] = ("cilium", "metallb")
#: Seconds for `kind load` of everything: 900 MB took 42 to 78 s on an idle machine (kind-offline/LEARNT.md).
_LOADED_WITHIN = 900.0
#: A reason that is quoted is no longer than this.
_QUOTED = 200


@dataclass(frozen=True)
class Image:
    """An image that a run needs.

    Attributes:
        name: As whoever runs it asks for it.
        role: What for.
    """

    name: str
    role: Role


@dataclass(frozen=True)
class Where:
    """Where an image is.

    Attributes:
        image: The image.
        identity: Its id in the local daemon, None when it is not there.
        size: Bytes in the local daemon.
        archive: An archive that was given and holds it.
    """

    image: Image
    identity: str | None = None
    size: int = 0
    archive: Path | None = None

    def __str__(self) -> str:
        if self.identity is not None:
            return f"local, {self.size / 1e6:.0f} MB"
        return f"in {self.archive}" if self.archive else "not here"


def locate(engine: docker.DockerClient, images: Iterable[Image], archives: Sequence[Path] = ()) -> list[Where]:
    """Find where each image is; nothing is pulled.

    Raises:
        UserError: An archive is none.
    """
    from docker.errors import ImageNotFound

    inside = [(archive, archive_images(archive)) for archive in archives]
    found = []
    for image in images:
        try:
            local = engine.images.get(image.name)
        except ImageNotFound:
            archive = next((path for path, names in inside if _plain(image.name) in map(_plain, names)), None)
            found.append(Where(image, archive=archive))
        else:
            found.append(Where(image, str(local.id), int(local.attrs.get("Size", 0))))
    return found


def archive_images(archive: Path) -> list[str]:
    """The images in an archive of `docker save`.

    Raises:
        UserError: It is no such archive.
    """
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile("manifest.json")
            manifest = json.load(member) if member else []
        return [tag for entry in manifest for tag in entry.get("RepoTags") or ()]
    except (OSError, tarfile.TarError, KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"this is no archive of images: {error}", file=archive, hint="docker save IMAGE... -o FILE"
        ) from None


def provide(
    engine: docker.DockerClient,
    images: Sequence[Image],
    archives: Sequence[Path] = (),
    progress: Progress = lambda _: None,
) -> dict[str, str]:
    """Have every image in the local daemon: from there, from an archive, or pulled; before anything is started.

    Returns:
        Their ids by name.

    Raises:
        MissingCapability: Some cannot be had; each is named, with the reason.
    """
    where = locate(engine, images, archives)
    for archive in dict.fromkeys(one.archive for one in where if one.identity is None and one.archive):
        progress(f"loading {archive}")
        load_archive(engine, archive)
    missing: dict[str, str] = {}
    found: dict[str, str] = {}
    for one in locate(engine, images) if any(one.archive for one in where) else where:
        if one.identity is not None:
            found[one.image.name] = one.identity
            continue
        progress(f"pulling {one.image.name}")
        try:
            found[one.image.name] = pull(engine, one.image.name)
        except LabError as error:
            missing[one.image.name] = error.message
    if missing:
        raise unreachable(missing)
    return found


def pull(engine: docker.DockerClient, name: str) -> str:
    """Pull an image.

    Raises:
        LabError: It cannot be had; with the daemon's reason.
    """
    from docker.errors import DockerException

    try:
        pulled = engine.images.pull(name) if "@" in name or ":" in name.rpartition("/")[2] else _latest(engine, name)
    except (DockerException, OSError) as error:
        why = str(getattr(error, "explanation", None) or error)
        raise LabError(why.strip().splitlines()[-1][:_QUOTED] if why.strip() else "no reason given") from None
    return str(pulled.id)


def _latest(engine: docker.DockerClient, name: str) -> Any:
    return engine.images.pull(name, tag="latest")  # without a tag the SDK would pull them all


def load_archive(engine: docker.DockerClient, archive: Path) -> list[str]:
    """Load an archive of `docker save` into the local daemon; gives the names of its images.

    Raises:
        UserError: It is no such archive, or the daemon refuses it.
    """
    from docker.errors import DockerException

    names = archive_images(archive)
    try:
        with archive.open("rb") as file:
            engine.images.load(file)
    except (DockerException, OSError) as error:
        raise UserError(f"Docker does not load this archive: {error}", file=archive) from None
    return names


def unreachable(missing: Mapping[str, str]) -> MissingCapability:
    """Say which images cannot be had, and what to do."""
    named = "; ".join(f"{name} ({why})" for name, why in missing.items())
    return MissingCapability(
        f"{'an image is' if len(missing) == 1 else 'images are'} missing and cannot be pulled: {named}",
        hint="docker load it, give an archive with --image-archive FILE, or name another one (docs/kind.md)",
    )


def load_into_nodes(tools: Tools, cluster: str, images: Iterable[Image], progress: Progress) -> None:
    """Load images of pods from the local daemon into the nodes of a cluster, by `kind load`.

    Raises:
        LabError: kind fails; with its last lines.
    """
    wanted = [image.name for image in images if image.role in _OF_PODS]
    if not wanted:
        return
    progress(f"kind load: {', '.join(wanted)}")
    argv: list[str | Path] = [tools.kind, "load", "docker-image", f"--name={cluster}", *wanted]
    done = tools.run(*argv, within=_LOADED_WITHIN)
    if done.code:
        first = f"kind did not load the images into the nodes (exit code {done.code}): {failures.telling(done.output)}"
        raise LabError(f"{first}\n{done.last(5)}")


def in_node(tools: Tools, container: str, within: float = 30.0) -> set[str]:
    """The images that a node has."""
    done = tools.run(tools.docker, "exec", container, "ctr", "--namespace=k8s.io", "images", "ls", "-q", within=within)
    return {_plain(line.strip()) for line in done.output if done.code == 0 and line.strip()}


def is_among(image: str, names: Iterable[str]) -> bool:
    """Whether an image is among names as containerd has them: always with its registry."""
    return _plain(image) in set(map(_plain, names))


def _plain(name: str) -> str:
    """An image's name with its registry and tag, and no digest beside a tag: docker.io/library/nginx:latest."""
    bare, _, digest = name.partition("@")
    first, slash, _ = bare.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        bare = f"docker.io/{bare}" if slash else f"docker.io/library/{bare}"
    if ":" not in bare.rpartition("/")[2]:
        return f"{bare}@{digest}" if digest else f"{bare}:latest"
    return bare
