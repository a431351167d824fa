"""Bringing a kind lab up: containers and wiring by lblab, the cluster by kind, Cilium by Helm, MetalLB; in this order.

The routers and the lab host come first, as a node is wired in the moment in which its container starts: when kubeadm
runs in it, the topology's addresses are there.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import binaries
from harness.backends import registry
from harness.backends.base import Backend
from harness.backends.kind import (
    cilium,
    cluster,
    config,
    frr,
    images,
    metallb,
    names,
    plan,
    preparation,
    reaper,
    removal,
    tools,
)
from harness.backends.kind.backend import KindBackend, stand_ins
from harness.backends.kind.containers import Containers, name_of
from harness.backends.kind.reaper import Reaper
from harness.backends.kind.tools import Tools
from harness.backends.netns import plan_routers
from harness.backends.netns.host import SOCKET_FILE, SPEC_FILE
from harness.backends.netns.rpc import Client
from harness.backends.netns.spec import LOG_FOLDER
from harness.backends.registry import LabInfo
from harness.backends.request import Request
from harness.errors import LabError
from harness.routing.daemons import Frr
from harness.timeline import journal
from harness.wait import until

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
    lablet, of_lablet = binaries.ensure_one("lablet", request.build, request.progress)
    folder, lock = registry.claim(request.name)
    try:
        own = reaper.start(folder, lock)
    finally:
        os.close(lock)  # the reaper holds it from now on
    try:
        return _Assembly(request, folder, own, lablet, dict(of_lablet)).run()
    except BaseException:
        own.end()
        raise


class _Assembly:
    """The steps by which a lab comes up, and what each leaves for the next."""

    def __init__(self, request: Request, folder: Path, own: Reaper, lablet: Path, of_lablet: dict[str, Any]) -> None:
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
        removal.refuse_foreign(used.engine, request.name)
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
        progress("routers, clients, switches")
        containers = Containers(used.engine, request.name, self._folder)
        found = self._routers(containers, prepared.frr)
        self._lab_host(containers, prepared.node, found)
        self._stage("wiring")
        progress("the cluster")
        made = cluster.create(
            used,
            self._topology,
            config.Settings(
                lab=request.name,
                image=prepared.node,
                minor=prepared.minor,
                kube_proxy=prepared.kube_proxy,
                mounts=(self._folder / plan.PODS_FOLDER, self._lablet.parent),
            ),
            self._folder,
            on_node=lambda node, container: self._join(containers, node, container, "node"),
            progress=progress,
        )
        _inner_kubeconfig(self._folder, config.endpoint(self._topology))
        self._stage("cluster")
        images.load_into_nodes(used, made.name, prepared.images, progress)
        self._stage("images")
        cilium.install(used, made, prepared.cilium, request.cilium_version, progress)
        self._stage("cilium")
        if prepared.metallb is not None:
            metallb.install(used, made, prepared.metallb, progress)
            self._stage("metallb")
        return self._backend(used, made)

    def _routers(self, containers: Containers, image: str) -> Frr:
        """Start routers' containers, and look at what FRR they have."""
        (self._folder / LOG_FOLDER).mkdir(mode=0o700)
        (self._folder / plan.PODS_FOLDER).mkdir(mode=0o777)
        found: Frr | None = None
        for router, settings in self._topology.routers.items():
            folder = plan_routers.frr_folder(self._folder, router)
            folder.mkdir(parents=True)
            container = containers.router(router, image, folder)
            found = found or frr.of_container(container, image)
            if settings.frr_config is not None:
                frr.check(container, found, settings.frr_config)
        if found is None:
            raise LabError("a lab of kind needs a router")
        self._provenance["frr"] = {"version": ".".join(map(str, found.version)), "image": image}
        return found

    def _lab_host(self, containers: Containers, image: str, found: Frr) -> None:
        """Start the lab host, and wire what is there already."""
        plan.make(self._request.name, self._topology, self._folder, self._lablet, found).save(self._folder / SPEC_FILE)
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
        for client in self._topology.clients:
            containers.client(client, image)
        for name in (*self._topology.routers, *self._topology.clients):
            self._join(containers, name, name_of(self._request.name, name), "other")
        self._rpc.call("boot")

    def _join(self, containers: Containers, host: str, container: str, kind: str) -> None:
        self._rpc.call("join", name=host, pid=containers.first_process(container), kind=kind)

    def _stage(self, name: str) -> None:
        self._stages[name] = time.monotonic() - self._started

    def _backend(self, used: Tools, made: cluster.KindCluster) -> Backend:
        request = self._request
        others = {name: name_of(request.name, name) for name in (*self._topology.routers, *self._topology.clients)}
        info = LabInfo(
            name=request.name,
            folder=str(self._folder),
            topology=str(request.topology_file.absolute()),
            cilium_version=request.cilium_version,
            pid=self._reaper.pid,
            created=time.time(),
            owner="process" if request.owned else "none",
            provenance=self._provenance,
            stages=self._stages,
            stand_ins=stand_ins(self._topology),
            lablet=str(self._lablet),
            metallb_version=request.metallb_version,
            time_scale=self._topology.time_scale,
            backend="kind",
            details={
                "containers": {**made.nodes, names.CONTROL_PLANE: made.control_plane, **others},
                "pause_image": made.pause_image,
                "kubernetes": made.kubernetes,
                "announces_by_l2": bool(self._topology.cilium.l2announcements.enabled),
            },
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
