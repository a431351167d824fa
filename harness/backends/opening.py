"""Bringing a lab up on the backend that was asked for, and finding one that runs; the only module that knows both."""

from __future__ import annotations

from collections.abc import Mapping

from harness.backends import registry
from harness.backends.base import Backend
from harness.backends.request import Request
from harness.cilium.timers import QUICK as QUICK_BGP
from harness.cilium.timers import QUICK_WHOLE_AGENT, Timers
from harness.errors import LabError, UserError

#: The backends by name.
NAMES = ("netns", "kind")
#: Their quick timers.
QUICK: Mapping[str, Timers] = {"netns": QUICK_BGP, "kind": QUICK_WHOLE_AGENT}


def create(backend: str, request: Request) -> Backend:
    """Bring a lab up: everything but what the user's manifests say.

    Raises:
        UserError: there is no such backend, or for bad input.
        MissingCapability: the machine lacks something that the backend needs.
        LabError: a part does not come up. Nothing is left behind.
    """
    # each backend is imported when it is used: the other one's needs need not be met
    if backend == "netns":
        from harness.backends.netns import opening as netns

        return netns.create(request)
    if backend == "kind":
        from harness.backends.kind import opening as kind

        return kind.create(request)
    raise UserError(f"there is no backend '{backend}'", hint=f"there are: {', '.join(NAMES)}")


def attach(name: str) -> Backend:
    """Use a lab that another process brought up.

    Raises:
        LabError: when no lab of that name runs.
    """
    folder = registry.root() / name
    try:
        info = registry.read(folder)
    except FileNotFoundError:
        names = [lab.name for lab in registry.running()]
        raise LabError(f"no lab named '{name}' is running", hint=f"running: {', '.join(names) or 'none'}") from None
    if info.backend == "kind":
        from harness.backends.kind.backend import KindBackend

        return KindBackend.of(info)
    from harness.backends.netns.backend import NetnsBackend

    return NetnsBackend.of(info)
