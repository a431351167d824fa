"""Cilium's L2 announcements in a lab: when it has them, with which timers, and the options that its agents get.

Who announces what: `harness.cilium.expected_l2`. Semantics: shared/facts/cilium.md, section 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.cilium.semver import Version
from harness.errors import MissingCapability
from harness.manifests import Manifest
from harness.topology import Cilium, L2Announcements, Topology

POLICY = "CiliumL2AnnouncementPolicy"
#: The first minor whose announcer can be built here: before it, the agent itself has to tell it of devices.
FIRST_MINOR = (1, 16)

#: Seconds: 0.4 times Cilium's own 15, 5 and 2, so that everything comes in the same order. A deadline below 2 s would
#: lose leases by itself on a machine of two busy cores, and a Lease object holds whole seconds.
QUICK = L2Announcements.model_validate({"leaseDuration": 6, "leaseRenewDeadline": 2, "leaseRetryPeriod": 0.8})

#: The timers of a lease, by attribute, with what a person calls them.
_TIMERS = {"lease_duration": "lease", "lease_renew_deadline": "renew", "lease_retry_period": "retry"}


def decided(
    topology: Topology, manifests: Iterable[Manifest], version: Version, *, quick: bool = False
) -> tuple[Topology, list[str]]:
    """Decide whether a lab's Cilium announces by L2: the topology says so, or its manifests hold a policy.

    Args:
        topology: As it was loaded.
        manifests: What is applied.
        version: Cilium's version.
        quick: Cut the lease's timers down to `QUICK`; a shorter one stays.

    Returns:
        The topology with `cilium.l2announcements.enabled` decided, and what was cut down, one phrase each.

    Raises:
        MissingCapability: L2 announcements are wanted, and cannot be built at this version.
    """
    before = topology.cilium.l2announcements
    on = before.enabled
    if on is None:
        on = any(one.group == "cilium.io" and one.kind == POLICY for one in manifests)
    if on and version.line < FIRST_MINOR:
        first = "{}.{}".format(*FIRST_MINOR)
        raise MissingCapability(f"lblab builds Cilium's L2 announcer from {first} on, not at {version}")
    changes: dict[str, Any] = {"enabled": on}
    if quick:
        changes |= {name: min(getattr(before, name), getattr(QUICK, name)) for name in _TIMERS}
    now = before.model_copy(update=changes)
    cilium = topology.cilium.model_copy(update={"l2announcements": now})
    return topology.model_copy(update={"cilium": cilium}), _told(before, now) if on else []


def _told(before: L2Announcements, now: L2Announcements) -> list[str]:
    changed = [
        f"{word} {getattr(before, name):g} -> {getattr(now, name):g} s"
        for name, word in _TIMERS.items()
        if getattr(before, name) != getattr(now, name)
    ]
    return [f"L2 announcements: {', '.join(changed)}"] if changed else []


def agent_options(cilium: Cilium) -> tuple[str, ...]:
    """Options of Cilium's agent, as its chart sets them (pkg/option: l2-announcements-*, k8s-client-*)."""
    options: list[str] = []
    if (limit := cilium.k8s_client_rate_limit) is not None:
        options += [f"--k8s-client-qps={limit.qps:g}", f"--k8s-client-burst={limit.burst}"]
    l2 = cilium.l2announcements
    if l2.enabled:
        options += [
            "--enable-l2-announcements=true",
            f"--l2-announcements-lease-duration={l2.lease_duration:g}s",
            f"--l2-announcements-renew-deadline={l2.lease_renew_deadline:g}s",
            f"--l2-announcements-retry-period={l2.lease_retry_period:g}s",
        ]
    return tuple(options)
