"""What is announced to one neighbor, as entries of a CiliumBGPAdvertisement with their path attributes.

A policy gives attributes to routes by the pool that their prefix is of, for each neighbor
(1.18:pkg/bgpv1/manager/reconciler/route_policy.go); an advertisement gives them to what it selects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.cilium.migrate.message import Message, Weight, about
from harness.cilium.migrate.policy import LabelSelector, Neighbor, PathAttributes, SelectorType, VirtualRouter
from harness.manifests import Manifest
from harness.yamlfile import Step

Entry = dict[str, Any]
_POOL_ADDRESS = "LoadBalancerIP"
#: What the selector of attributes matches, which no advertisement can.
_SELECTED = {"PodCIDR": "nodes by their labels", "CiliumLoadBalancerIPPool": "pools of addresses by their labels"}
_INSTEAD = {
    "PodCIDR": "a CiliumBGPClusterConfig of its own for those nodes, with advertisements of its own",
    "CiliumLoadBalancerIPPool": "an entry of its own whose selector matches the Services that use these pools",
}


@dataclass(frozen=True)
class Advertised:
    """What one neighbor hears.

    Attributes:
        entries: The entries of `spec.advertisements`.
        messages: What could not be said in them, or has changed.
        overlap: Whether two entries select the same routes.
    """

    entries: tuple[Entry, ...]
    messages: tuple[Message, ...] = ()
    overlap: bool = False


def advertised(manifest: Manifest, path: tuple[Step, ...], router: VirtualRouter, neighbor: Neighbor) -> Advertised:
    """Write down what a neighbor hears.

    Args:
        manifest: The policy.
        path: Where the neighbor stands in it.
        router: Its virtual router, which says what is announced.
        neighbor: The neighbor, which says with which attributes.
    """
    messages: list[Message] = []
    by_type: dict[SelectorType, list[PathAttributes]] = {}
    for place, attributes in enumerate(neighbor.attributes):
        here = (*path, "advertisedPathAttributes", place)
        kind = attributes.selector_type
        if kind != "CiliumPodIPPool" and attributes.selector:
            text = f"its path attributes for {kind} select {_SELECTED[kind]}, which an advertisement cannot"
            messages.append(about(Weight.LOSS, manifest, (*here, "selector"), text, _INSTEAD[kind]))
            continue
        if not _announced(router, kind):
            text = f"its path attributes for {kind} have never had an effect: the virtual router announces none"
            messages.append(about(Weight.NOTE, manifest, here, text))
            continue
        if kind in by_type:
            text = f"several sets of path attributes for {kind} are joined, with the highest local preference of them"
            messages.append(
                about(Weight.WARNING, manifest, here, text, "compare what the router sees before and after")
            )
        by_type.setdefault(kind, []).append(attributes)
    entries = [
        *_services(router, by_type.get("CiliumLoadBalancerIPPool", [])),
        *_pod_cidr(router, by_type.get("PodCIDR", [])),
        *_pod_pools(router, by_type.get("CiliumPodIPPool", [])),
    ]
    pools = sum(entry["advertisementType"] == "CiliumPodIPPool" for entry in entries)
    return Advertised(tuple(entries), tuple(messages), overlap=pools > 1)


def _announced(router: VirtualRouter, kind: SelectorType) -> bool:
    if kind == "PodCIDR":
        return router.pod_cidr
    if kind == "CiliumPodIPPool":
        return router.pod_pools is not None
    return router.services is not None and _POOL_ADDRESS in router.addresses


def _services(router: VirtualRouter, attributes: Sequence[PathAttributes]) -> Iterator[Entry]:
    """Services; only addresses of pools have attributes, so that other kinds of addresses stand apart then."""
    if router.services is None:
        return
    pooled = [address for address in router.addresses if address == _POOL_ADDRESS]
    others = [address for address in router.addresses if address != _POOL_ADDRESS]
    parts = [(pooled, attributes), (others, ())] if attributes else [(router.addresses, ())]
    for addresses, own in parts:
        if addresses:
            yield {
                "advertisementType": "Service",
                "service": {"addresses": list(addresses)},
                "selector": dict(router.services),
                **_joined(own),
            }


def _pod_cidr(router: VirtualRouter, attributes: Sequence[PathAttributes]) -> Iterator[Entry]:
    if router.pod_cidr:
        yield {"advertisementType": "PodCIDR", **_joined(attributes)}


def _pod_pools(router: VirtualRouter, attributes: Sequence[PathAttributes]) -> Iterator[Entry]:
    """Pools of pods; attributes for some of them are a second entry that selects those again."""
    if router.pod_pools is None:
        return
    kind = {"advertisementType": "CiliumPodIPPool"}
    every = [one for one in attributes if not one.selector]
    yield {**kind, "selector": dict(router.pod_pools), **_joined(every)}
    for some in attributes:
        if some.selector:
            both = _both(router.pod_pools, some.selector)
            if both is not None:
                yield {**kind, "selector": both, **_joined([*every, some])}


def _both(one: LabelSelector, other: LabelSelector) -> LabelSelector | None:
    """What both selectors match; None when that is nothing, as they want different values of one label."""
    labels, more = one.get("matchLabels") or {}, other.get("matchLabels") or {}
    if any(labels.get(key, value) != value for key, value in more.items()):
        return None
    expressions = [*(one.get("matchExpressions") or []), *(other.get("matchExpressions") or [])]
    return {
        **({"matchLabels": {**labels, **more}} if labels or more else {}),
        **({"matchExpressions": expressions} if expressions else {}),
    }


def _joined(attributes: Sequence[PathAttributes]) -> Entry:
    """The attributes of an entry: communities together, the highest local preference."""
    found: Entry = {}
    for name, field in (("standard", "standard"), ("wellKnown", "well_known"), ("large", "large")):
        values = [value for one in attributes if one.communities for value in getattr(one.communities, field)]
        if values:
            found.setdefault("communities", {})[name] = list(dict.fromkeys(values))
    preferences = [one.local_preference for one in attributes if one.local_preference is not None]
    if preferences:
        found["localPreference"] = max(preferences)
    return {"attributes": found} if found else {}
