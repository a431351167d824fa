"""The image that routers run: one that was named, one that is here, FRR's own, or one made of Debian packages."""

from __future__ import annotations

import io
import os
import re
from typing import TYPE_CHECKING, Any

from harness.backends.kind import images
from harness.backends.kind.options import KindOptions
from harness.backends.kind.tools import Progress
from harness.errors import LabError, MissingCapability, UserError

if TYPE_CHECKING:
    import docker

#: Names an image in place of all others, as --frr-image does.
VARIABLE = "LBLAB_FRR_IMAGE"
#: FRR's own images, and those that lblab makes.
_OFFICIAL, _OWN = "quay.io/frrouting/frr", "lblab/frr"
#: Of FRR's own, where no version was asked for and none is here.
_VERSION = "10.3.1"
#: FRR's Debian packages, a repository for each release (https://deb.frrouting.org).
_PACKAGES = "https://deb.frrouting.org/frr"


def choose(engine: docker.DockerClient, chosen: KindOptions, base: str, progress: Progress) -> str:
    """Decide on the routers' image, and have it.

    Args:
        engine: Docker.
        chosen: With the version or the image that was asked for.
        base: A Debian image to build on, which is here already: the nodes'.
        progress: Told what takes long.

    Raises:
        MissingCapability: There is none, and none can be pulled or built.
    """
    version = chosen.frr_version
    official, sure = first_choice(engine, chosen)
    if sure:
        return official
    progress(f"pulling {official}")
    try:
        images.pull(engine, official)
    except LabError as refused:
        return _build(engine, version, base, f"{official} cannot be pulled: {refused.message}", progress)
    return official


def first_choice(engine: docker.DockerClient, chosen: KindOptions) -> tuple[str, bool]:
    """The image that is tried first, and whether it is settled: it was named, or is here."""
    version = chosen.frr_version
    # a version that was asked for is more than an image that is usual here
    usual = os.environ.get(VARIABLE) if version is None else None
    named = chosen.frr_image or usual or _local(engine, version)
    return named or f"{_OFFICIAL}:{_newest(version)}", named is not None


def check(found: tuple[int, ...], image: str, chosen: KindOptions) -> None:
    """Refuse an image whose FRR is not of the version that was asked for.

    Args:
        found: The version that its daemons say.
        image: The image.
        chosen: With the version that was asked for.

    Raises:
        UserError: It is another one.
    """
    text = ".".join(map(str, found))
    if not matches(text, chosen.frr_version):
        raise UserError(f"{image} has FRR {text}, not {chosen.frr_version}", hint="--frr-image or --frr-version")


def dockerfile(version: str | None, base: str) -> str:
    """The recipe of an image with FRR from Debian's packages, or from FRR's own for a certain release."""
    lines = [f"FROM {base}", "ENTRYPOINT []"]
    if version is not None:
        release = ".".join(version.split(".")[:2])
        key, source = "/usr/share/keyrings/frr.gpg", "/etc/apt/sources.list.d/frr.list"
        lines += [
            f"ADD {_PACKAGES}/keys.gpg {key}",
            f"RUN chmod a+r {key} && . /etc/os-release && "
            f'echo "deb [signed-by={key}] {_PACKAGES} $VERSION_CODENAME frr-{release}" > {source}',
        ]
    lines.append(
        "RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends"
        " frr iproute2 nftables && rm -rf /var/lib/apt/lists/*"
    )
    return "\n".join(lines) + "\n"


def matches(tag: str, version: str | None) -> bool:
    """Whether an image's tag is that of a version: 10.3 is also that of 10.3.1."""
    numbers = tag.removeprefix("v")
    return version is None or numbers == version or numbers.startswith(f"{version}.")


def _local(engine: docker.DockerClient, version: str | None) -> str | None:
    """The newest image with FRR that is here."""
    found: list[tuple[list[int], str]] = []
    for repository in (_OFFICIAL, "frrouting/frr", _OWN):
        for image in engine.images.list(name=repository):
            for name in image.tags:
                tag = name.rpartition(":")[2]
                if matches(tag, version):
                    found.append(([int(number) for number in re.findall(r"\d+", tag)], name))
    return max(found)[1] if found else None


def _newest(version: str | None) -> str:
    """The release of FRR's own images that a version such as 10.2 stands for: its first patch release."""
    if version is None or _VERSION.startswith(f"{version}."):
        return _VERSION
    return version if version.count(".") == 2 else f"{version}.1"


def _build(engine: docker.DockerClient, version: str | None, base: str, why: str, progress: Progress) -> str:
    from docker.errors import BuildError, DockerException

    name = f"{_OWN}:{version or 'debian'}"
    progress(f"building {name} out of Debian packages")
    recipe = io.BytesIO(dockerfile(version, base).encode())
    # Docker takes these from its client; a mirror behind a proxy is reached by it alone
    proxies = {key: os.environ[key] for key in ("http_proxy", "https_proxy", "no_proxy") if key in os.environ}
    try:
        engine.images.build(fileobj=recipe, tag=name, rm=True, forcerm=True, buildargs=proxies)
    except (BuildError, DockerException, OSError) as error:
        log: list[Any] = list(getattr(error, "build_log", ()))
        told = [str(line.get("stream", "")).strip() for line in log if isinstance(line, dict) and line.get("stream")]
        last = " ".join([line for line in told if line.startswith(("E:", "Err:", "W:"))][:2]) or str(error)
        raise MissingCapability(
            f"there is no image of FRR: {why}; and none can be built of Debian packages: {last[:300]}",
            hint=f"--frr-image or {VARIABLE} names one that is here",
        ) from None
    return name
