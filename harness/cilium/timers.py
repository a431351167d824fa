"""Timers short enough to wait for: the manifests' own, cut down, with every change told."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.manifests import Manifest

Obj = dict[str, Any]


@dataclass(frozen=True)
class Timers:
    """BGP timers in seconds: RFC 4271 (hold, keepalive, connect-retry) and RFC 4724 (restart time)."""

    hold: int
    keepalive: int
    restart: int
    connect_retry: int


#: 3 s is the least hold time that RFC 4271 allows (section 4.2), a third of it the keepalive time that it recommends
#: (4.4); a restart time of twice the hold time keeps the two apart in every measurement.
QUICK = Timers(hold=3, keepalive=1, restart=6, connect_retry=1)
#: Where the whole agent starts and not only its BGP control plane: it takes 5 s and more on two cores until it
#: connects, and a restart time that it cannot meet would say nothing about graceful restart.
QUICK_WHOLE_AGENT = replace(QUICK, restart=20)


def quicken(manifests: Sequence[Manifest], timers: Timers = QUICK) -> tuple[list[Manifest], list[str]]:
    """Cut every timer of the BGP manifests down to at most these; a shorter one stays.

    Returns:
        The manifests, those that were changed as copies; and what was changed: "CiliumBGPPeerConfig/opnsense: hold
        90 -> 3 s".
    """
    changed: list[str] = []
    result = []
    for manifest in manifests:
        obj = copy.deepcopy(manifest.object)
        told = [f"{manifest}: {text}" for text in _cut(obj, timers)]
        result.append(replace(manifest, object=obj) if told else manifest)
        changed += told
    return result, changed


def _cut(obj: Obj, timers: Timers) -> Iterator[str]:
    spec = obj.get("spec") or {}
    if obj["kind"] == "CiliumBGPPeerConfig":
        yield from _cut_timers(spec.setdefault("timers", {}), spec.get("gracefulRestart"), timers)
    elif obj["kind"] == "CiliumBGPPeeringPolicy":
        for virtual_router in spec.get("virtualRouters") or ():
            for neighbor in virtual_router.get("neighbors") or ():
                yield from _cut_timers(neighbor, neighbor.get("gracefulRestart"), timers)


def _cut_timers(fields: Obj, graceful_restart: Obj | None, timers: Timers) -> Iterator[str]:
    # defaults: facts/cilium.md 1.2
    for name, key, default, limit in (
        ("hold", "holdTimeSeconds", 90, timers.hold),
        ("keepalive", "keepAliveTimeSeconds", 30, timers.keepalive),
        ("connect-retry", "connectRetryTimeSeconds", 120, timers.connect_retry),
    ):
        yield from _cut_one(fields, name, key, default, limit)
    if graceful_restart and graceful_restart.get("enabled"):
        yield from _cut_one(graceful_restart, "restart", "restartTimeSeconds", 120, timers.restart)


def _cut_one(fields: Obj, name: str, key: str, default: int, limit: int) -> Iterator[str]:
    now = fields.get(key, default)
    if now > limit:
        fields[key] = limit
        yield f"{name} {now} -> {limit} s"
