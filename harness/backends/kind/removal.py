"""Removing everything that a kind lab has made in Docker, and nothing else: what is not known as its own stays."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends.kind import names
from harness.errors import LabError, UserError, WaitTimeout
from harness.wait import until

if TYPE_CHECKING:
    import docker

#: Seconds for everything to be gone. Deleting three nodes takes 4 s (kind-offline/LEARNT.md), on busy cores longer.
GONE_WITHIN = 60.0
#: Seconds between two rounds: a daemon that was asked for a container goes on making it when its asker has gone.
_ROUND_EVERY = 0.5
#: Nothing is left when so many rounds in a row have found nothing.
_EMPTY_ROUNDS = 2


@dataclass(frozen=True)
class Found:
    """What Docker has of one lab, or of that lab's names.

    Attributes:
        containers: The containers.
        networks: The networks.
    """

    containers: tuple[Any, ...] = ()
    networks: tuple[Any, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.containers or self.networks)

    def __str__(self) -> str:
        parts = [f"container {one.name}" for one in self.containers] + [f"network {one.name}" for one in self.networks]
        return ", ".join(parts) or "nothing"


def ours(engine: docker.DockerClient, lab: str) -> Found:
    """Everything in Docker that is this lab's: by lblab's labels, and kind's nodes in the lab's own network."""
    networks = [one for one in engine.networks.list(filters={"label": _label(lab)}) if _labelled(one, lab)]
    labelled = engine.containers.list(all=True, filters={"label": _label(lab)}, ignore_removed=True)
    found = {one.id: one for one in labelled if names.is_ours(one.labels, lab)}
    if networks:
        # kind's nodes have no label of lblab's: they are known by the network that they were made in
        inside = [node for node in _nodes(engine, lab) if names.cluster(lab) in _networks_of(node)]
        found |= {node.id: node for node in inside if node.id not in found}
    return Found(tuple(found.values()), tuple(networks))


def clear(engine: docker.DockerClient, lab: str, folder: Path) -> list[str]:
    """Have a lab's names in Docker free: what is left of an earlier lab of that name is removed.

    There is such a thing when an earlier lab's folder was deleted by hand, so that nobody knew of the lab any more.

    Args:
        engine: Docker.
        lab: The lab's name, which the caller has claimed.
        folder: Its folder.

    Returns:
        What was removed.

    Raises:
        UserError: Something of such a name is not lblab's; it is not touched.
    """
    refuse_foreign(engine, lab)
    return remove(engine, lab, folder) if ours(engine, lab) else []


def refuse_foreign(engine: docker.DockerClient, lab: str) -> None:
    """Refuse to make a lab whose names in Docker are taken by something that is not lblab's.

    Raises:
        UserError: There is a cluster, a network or a container of such a name; it is not touched.
    """
    name, own = names.cluster(lab), ours(engine, lab)
    hint = f"choose another name for the lab, or remove it yourself; lblab does not touch what is not its own ({name})"
    known = {one.id for one in (*own.containers, *own.networks)}
    for node in _nodes(engine, lab):
        if node.id not in known:
            raise UserError(
                f"there is a kind cluster '{name}' that is not this lab's: container {node.name}", hint=hint
            )
    for network in engine.networks.list(names=[name]):
        if network.name == name and network.id not in known:
            raise UserError(f"there is a Docker network '{name}' that is not this lab's", hint=hint)
    for container in engine.containers.list(all=True, filters={"name": f"^/?{name}-"}, ignore_removed=True):
        if container.id not in known and container.name.startswith(f"{name}-") and not _of_other_lab(container, lab):
            raise UserError(f"there is a Docker container '{container.name}' that is not this lab's", hint=hint)


def remove(engine: docker.DockerClient, lab: str, folder: Path, within: float = GONE_WITHIN) -> list[str]:
    """Remove a lab from Docker, the commands that still work for it first.

    Args:
        engine: Docker.
        lab: The lab's name.
        folder: Its folder, by which its commands are known.
        within: Seconds for that.

    Returns:
        What was removed.

    Raises:
        LabError: Something is still there after that time.
    """
    removed: dict[str, None] = {}
    empty = 0

    def round_() -> tuple[Found, int]:
        nonlocal empty
        working = end_commands(folder)
        found = ours(engine, lab)
        for one in _remove(found):
            removed[one] = None
        empty = 0 if found or working else empty + 1
        return found, empty

    try:
        until(
            f"nothing of the lab {lab} to be left in Docker",
            round_,
            lambda seen: seen[1] >= _EMPTY_ROUNDS,
            within=within,
            every=_ROUND_EVERY,
            show=lambda seen: str(seen[0]),
        )
    except WaitTimeout as error:
        raise LabError(error.message, hint=f"docker ps -a --filter label={_label(lab)}") from None
    return list(removed)


def end_commands(folder: Path) -> list[int]:
    """End what still works for a lab, kind and helm and what they have started; gives their PIDs."""
    mark = f"{names.ENVIRONMENT}={folder}".encode()
    ended = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
                ended.append(int(entry.name))
    return ended


def _remove(found: Found) -> Iterator[str]:
    from docker.errors import APIError, NotFound

    def container(one: Any) -> str | None:
        try:
            one.remove(force=True, v=True)  # with its anonymous volumes: kind's nodes have one for /var
        except NotFound:
            return None
        except APIError:
            return None  # "removal is already in progress", or its start is: the next round sees what is left
        return f"container {one.name}"

    if found.containers:
        with ThreadPoolExecutor(len(found.containers)) as pool:
            yield from filter(None, pool.map(container, found.containers))
    for network in found.networks:
        with contextlib.suppress(APIError):  # a container of it is being removed
            network.remove()
            yield f"network {network.name}"


def _label(lab: str) -> str:
    return f"{names.LAB_LABEL}={lab}"


def _labelled(network: Any, lab: str) -> bool:
    return names.is_ours(network.attrs.get("Labels"), lab)


def _nodes(engine: docker.DockerClient, lab: str) -> list[Any]:
    label = f"{names.KIND_LABEL}={names.cluster(lab)}"
    return list(engine.containers.list(all=True, filters={"label": label}, ignore_removed=True))


def _networks_of(container: Any) -> set[str]:
    """The networks that a container is in, also when it does not run."""
    settings = container.attrs.get("NetworkSettings") or {}
    return set(settings.get("Networks") or {}) | {str((container.attrs.get("HostConfig") or {}).get("NetworkMode"))}


def _of_other_lab(container: Any, lab: str) -> bool:
    """Whether a container belongs to another lab whose name begins with this one's, such as small-2 beside small."""
    labels = container.labels
    other = labels.get(names.LAB_LABEL)
    return (other is not None and other != lab) or labels.get(names.KIND_LABEL, "") not in ("", names.cluster(lab))
