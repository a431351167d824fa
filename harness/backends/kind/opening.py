"""Bringing a kind lab up: containers and wiring by lblab, the cluster by kind, Cilium by Helm, MetalLB; in this order.

The routers and the lab host come first, as a node is wired in the moment in which its container starts: when kubeadm
runs in it, the topology's addresses are there.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import binaries
from harness.backends import registry
from harness.backends.base import Backend
from harness.backends.kind import (
    cilium,
    cluster,
    config,
    frr,
    frr_image,
    images,
    metallb,
    names,
    plan,
    preparation,
    reaper,
    removal,
    tools,
    zebra,
)
from harness.backends.kind.backend import KindBackend, stand_ins
from harness.backends.kind.containers import Containers, name_of
from harness.backends.kind.fingerprint import fingerprint
from harness.backends.kind.preparation import Prepared
from harness.backends.kind.reaper import Reaper
from harness.backends.netns import plan_routers
from harness.backends.netns.host import SOCKET_FILE, SPEC_FILE
from harness.backends.netns.rpc import Client
from harness.backends.netns.spec import LOG_FOLDER
from harness.backends.registry import LabInfo
from harness.backends.request import Request
from harness.cluster import Cluster
from harness.errors import LabError, LblabError
from harness.routing.daemons import Frr
from harness.timeline import journal
from harness.wait import until

if TYPE_CHECKING:
    from docker.models.containers import Container

#: Seconds for the lab host to answer: Python starts in a container.
_HOST_WITHIN = 30.0


def create(request: Request) -> Backend:
    """Bring a kind lab up.

    Raises:
        UserError: for bad input, or names that are taken.
        MissingCapability: when Docker is not there or refuses.
        LabError: when a part does not come up. Nothing is left behind.
    """
    request.kind.check()
    tools.docker_command()
    tools.engine().close()  # before a name is claimed: without Docker there would be nobody to ask what is left
    lablet, of_lablet = binaries.ensure_one("lablet", request.build, request.progress)
    folder, lock = registry.claim(request.name)
    try:
        own = reaper.start(folder, lock)
    finally:
        os.close(lock)  # the reaper holds it from now on
    try:
        return _Assembly(request, folder, own, lablet, dict(of_lablet)).run()
    except BaseException as error:
        try:
            own.end()
        except LblabError as left:
            error.add_note(str(left))
            if isinstance(error, LblabError):
                error.message += f"; and then {left.message}"
        raise


def take_over(before: KindBackend, request: Request) -> Backend:
    """Make a lab of the cluster of another one of the same fingerprint, which is over: routers, clients, wiring.

    Raises:
        UserError: for bad input.
        LabError: when a part does not come up. Nothing is left behind.
    """
    try:
        return _Assembly(request, before.folder, before.reaper, before.lablet, {}).take_over(before)
    except BaseException:
        before.close()
        raise


class _Assembly:
    """The steps by which a lab comes up, and what each leaves for the next."""

    def __init__(
        self, request: Request, folder: Path, own: Reaper | None, lablet: Path, of_lablet: dict[str, Any]
    ) -> None:
        self._request = request
        self._folder = folder
        self._reaper = own
        self._lablet = lablet
        self._topology = request.topology
        self._provenance: dict[str, Any] = {"lablet": of_lablet}
        self._rpc = Client(folder / SOCKET_FILE)
        self._started = time.monotonic()
        self._stages: dict[str, float] = {}

    def run(self) -> Backend:
        """Do all of it."""
        request, progress = self._request, self._request.progress
        used = tools.provide(self._folder, build=request.build, progress=progress)
        self._provenance |= used.provenance
        for left in removal.clear(used.engine, request.name, self._folder):
            progress(f"{left} was left of an earlier lab, and is removed")
        prepared = preparation.prepare(
            used,
            self._topology,
            replace(request.kind, metallb_manifest=request.metallb_manifest or request.kind.metallb_manifest),
            self._folder,
            cilium_version=request.cilium_version,
            metallb_version=request.metallb_version,
            progress=progress,
        )
        self._provenance |= prepared.provenance
        self._stage("prepared")
        progress("routers, clients, switches, and the cluster")
        containers = Containers(used.engine, request.name, self._folder)
        (self._folder / LOG_FOLDER).mkdir(mode=0o700)
        (self._folder / plan.PODS_FOLDER).mkdir(mode=0o777)  # mounted into the nodes
        with ThreadPoolExecutor(1) as beside:
            # kind takes several seconds until its first container runs, and that one waits for the wiring
            wired = beside.submit(self._wire, containers, prepared)
            made = self._cluster(used, prepared, containers, wired)
        _inner_kubeconfig(self._folder, config.endpoint(self._topology))
        self._stage("cluster")
        images.load_into_nodes(used, made.name, prepared.images, progress)
        self._stage("images")
        cilium.install(used, made, prepared.cilium, request.cilium_version, progress)
        self._stage("cilium")
        if prepared.metallb is not None:
            metallb.install(used, made, prepared.metallb, progress)
            self._stage("metallb")
        details = {
            "containers": {**made.nodes, **self._others()},
            "images": {"node": prepared.node, "frr": prepared.frr},
            "pause_image": made.pause_image,
            "kubernetes": made.kubernetes,
            "announces_by_l2": bool(self._topology.cilium.l2announcements.enabled),
            "fingerprint": fingerprint(request),
        }
        return self._backend(self._reaper.pid if self._reaper else 0, details)

    def _wire(self, containers: Containers, prepared: Prepared) -> None:
        """Start the routers, the lab host and the clients."""
        found = self._routers(containers, prepared.frr)
        self._lab_host(containers, prepared.node, found)
        self._stage("wiring")

    def _cluster(
        self, used: tools.Tools, prepared: Prepared, containers: Containers, wired: Future[None]
    ) -> cluster.KindCluster:
        """Let kind make the cluster, and wire each node as its container starts."""

        def on_node(node: str, container: str) -> None:
            wired.result()
            self._join(containers, node, container, "node")

        return cluster.create(
            used,
            self._topology,
            config.Settings(
                lab=self._request.name,
                image=prepared.node,
                minor=prepared.minor,
                kube_proxy=prepared.kube_proxy,
                mounts=(self._folder / plan.PODS_FOLDER, self._lablet.parent),
            ),
            self._folder,
            on_node=on_node,
            progress=self._request.progress,
        )

    def take_over(self, before: KindBackend) -> Backend:
        """Do what another lab of the same cluster still needs."""
        request, engine = self._request, tools.engine()
        self._provenance = dict(before.provenance)
        images_ = before.details["images"]
        containers = Containers(engine, request.name, self._folder)
        request.progress("routers, clients, switches")
        for host in self._rpc.call("clear"):
            containers.get(name_of(request.name, host)).remove(force=True)
        for left in ("frr", "arp"):
            shutil.rmtree(self._folder / left, ignore_errors=True)
        found = self._routers(containers, images_["frr"])
        self._plan(found)
        self._rpc.call("rewire")
        self._hosts(containers, images_["node"])
        self._stage("wiring")
        self._relabel(before)
        self._stage("cluster")
        nodes = {name: before.details["containers"][name] for name in (names.CONTROL_PLANE, *self._topology.nodes)}
        details = {**before.details, "containers": {**nodes, **self._others()}}
        return self._backend(before.info.pid, details)

    def _relabel(self, before: KindBackend) -> None:
        """Give the nodes this topology's labels in place of the other one's."""
        api = Cluster(before.kubeconfig)
        for name, node in self._topology.nodes.items():
            gone = dict.fromkeys(before.topology.nodes[name].labels)
            api.label("Node", name, {**gone, **node.labels})
        api.close()

    def _routers(self, containers: Containers, image: str) -> Frr:
        """Start routers' containers, and look at what FRR they have."""
        if not self._topology.routers:
            raise LabError("a lab of kind needs a router")

        def start(router: str) -> Container:
            folder = plan_routers.frr_folder(self._folder, router)
            folder.mkdir(parents=True)
            return containers.router(router, image, folder)

        with ThreadPoolExecutor(len(self._topology.routers)) as pool:
            started = list(pool.map(start, self._topology.routers))
        found = frr.of_container(started[0], image)
        frr_image.check(found.version, image, self._request.kind)
        for settings in self._topology.routers.values():
            if settings.frr_config is not None:
                frr.check(started[0], found, settings.frr_config)
        self._provenance["frr"] = {"version": ".".join(map(str, found.version)), "image": image}
        return found

    def _lab_host(self, containers: Containers, image: str, found: Frr) -> None:
        """Start the lab host, and wire what is there already."""
        self._plan(found)
        journal.Journal(self._folder / journal.FILE).close()  # the user's own file, which the lab host adds to
        host = containers.lab_host(image)
        log = self._folder / LOG_FOLDER / "host.log"

        def up() -> bool:
            host.reload()
            return (self._folder / SOCKET_FILE).exists() or host.status == "exited"

        def said(_: object) -> str:
            text = log.read_text()[-2000:] if log.exists() else ""
            return text or host.logs().decode(errors="replace")[-2000:] or "nothing"

        until("the lab host to answer", up, within=_HOST_WITHIN, every=0.02, show=said)
        if host.status == "exited":
            raise LabError(f"the lab host ended at once: {said(None)}")
        self._hosts(containers, image)

    def _hosts(self, containers: Containers, image: str) -> None:
        """Start the clients, wire them and the routers, and start the routers' daemons."""
        with ThreadPoolExecutor(max(1, len(self._topology.clients))) as pool:
            list(pool.map(lambda client: containers.client(client, image), self._topology.clients))
        for name in (*self._topology.routers, *self._topology.clients):
            self._join(containers, name, name_of(self._request.name, name), "other")
        self._rpc.call("boot")
        for router in self._topology.routers:
            folder, links = plan_routers.frr_folder(self._folder, router), self._topology.links(router)
            zebra.know_networks(router, folder, links, partial(self._set_link, router))

    def _set_link(self, router: str, network: str, up: bool) -> None:
        self._rpc.call("link", host=router, network=network, up=up, where="host")

    def _plan(self, found: Frr) -> None:
        spec = plan.make(self._request.name, self._topology, self._folder, self._lablet, found)
        spec.save(self._folder / SPEC_FILE)

    def _others(self) -> dict[str, str]:
        """The containers of routers and clients by their names."""
        hosts = (*self._topology.routers, *self._topology.clients)
        return {name: name_of(self._request.name, name) for name in hosts}

    def _join(self, containers: Containers, host: str, container: str, kind: str) -> None:
        self._rpc.call("join", name=host, pid=containers.first_process(container), kind=kind)

    def _stage(self, name: str) -> None:
        self._stages[name] = time.monotonic() - self._started

    def _backend(self, reaper_pid: int, details: dict[str, Any]) -> Backend:
        request = self._request
        info = LabInfo(
            name=request.name,
            folder=str(self._folder),
            topology=str(request.topology_file.absolute()),
            cilium_version=request.cilium_version,
            pid=reaper_pid,
            created=time.time(),
            owner="process" if request.owned else "none",
            provenance=self._provenance,
            stages=self._stages,
            stand_ins=stand_ins(self._topology),
            lablet=str(self._lablet),
            metallb_version=request.metallb_version,
            time_scale=self._topology.time_scale,
            backend="kind",
            details=details,
        )
        registry.write(info)
        self._rpc.close()
        return KindBackend(info, self._topology, self._reaper)


def _inner_kubeconfig(folder: Path, endpoint: str) -> None:
    """Write how the API server is reached within the lab's own networks: kind's file names Docker's port for it."""
    text, count = re.subn(r"server: https://\S+", f"server: https://{endpoint}", (folder / "kubeconfig").read_text())
    if count != 1:
        raise LabError(f"kind's kubeconfig names {count} servers, not one")
    inner = folder / plan.INNER_KUBECONFIG
    inner.touch(mode=0o600)
    inner.write_text(text)
