"""Bringing an embedded lab up: what it runs is built first, and everything is checked before anything is started."""

from __future__ import annotations

from typing import Any

from harness.backends.base import Backend
from harness.backends.netns.backend import NetnsBackend
from harness.backends.request import Request
from harness.binaries import ensure
from harness.metallb import api, crds
from harness.routing import daemons


def create(request: Request) -> Backend:
    """Bring an embedded lab up.

    Raises:
        UserError: for bad input.
        MissingCapability: when the machine lacks something.
        LabError: when a part does not come up. Nothing is left behind.
    """
    for router in request.topology.routers.values():
        if router.frr_config is not None:
            daemons.check(router.frr_config.read_text(), router.frr_config)
    binaries = ensure(
        cilium=request.cilium_version, build=request.build, progress=request.progress, metallb=request.metallb_version
    )
    served: list[dict[str, Any]] = []
    if binaries.metallb is not None:
        manifest = request.metallb_manifest
        served = crds.of_manifest(manifest) if manifest else crds.generated(binaries.metallb.crds)
        api.check(request.objects, crds.schemas(served), binaries.metallb.version)
    return NetnsBackend.create(
        request.topology,
        request.topology_file,
        binaries,
        name=request.name,
        cilium_version=request.cilium_version,
        owned=request.owned,
        progress=request.progress,
        metallb_crds=served,
    )
