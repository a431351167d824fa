"""What somebody who swaps the objects has to know besides their contents (facts/cilium.md 1.1, 1.4 and section 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from harness.cilium.migrate.message import Message, Weight, about
from harness.cilium.migrate.policy import Policy
from harness.cilium.semver import Version
from harness.manifests import Manifest

#: The first release whose rolling upgrade from 1.18 leaves the agents the rights that they need (#45829).
_RIGHTS = Version(1, 19, 4)
#: In this one only the first of several instances saw updates of Services (#34146).
_FIRST_INSTANCE_ONLY = Version(1, 16, 0)
#: From this one on overlapping advertisements add up; before, one of them won (#35721).
ADD_UP = Version(1, 18, 0)
#: The first minor without the policy.
_WITHOUT = (1, 19)
#: From this one on a peer's AS number may be 0, which is any.
ANY_ASN = Version(1, 17, 0)


def switch_over(version: Version) -> str:
    """How to get from the old objects to the new ones, as it stands above the new ones."""
    if version.line >= _WITHOUT:
        return (
            "Apply this while Cilium 1.18 runs, and leave the CiliumBGPPeeringPolicy in place: 1.18 obeys the policy, "
            f"{version} knows only what is here, so each node changes over when its agent is upgraded. Delete the "
            "policy afterwards."
        )
    return (
        "Apply this, wait until CiliumBGPNodeConfigs are there, then delete the CiliumBGPPeeringPolicy: while it is "
        "there, it wins."
    )


def _changing_over(manifest: Manifest, policy: Policy, version: Version) -> Message:
    """What clients notice (scenarios/upgrade/test_rollout.py shows it with packets)."""
    cease = "deleting the policy ends its sessions with a Cease, which graceful restart does not protect"
    if version.line < _WITHOUT:
        hint = (
            "to go node by node, add {key: bgp-migrated, operator: DoesNotExist} to the matchExpressions of its "
            "nodeSelector, then label one node after the other"
        )
        text = f"{cease}: clients lose their routes until the new sessions are up"
        return about(Weight.WARNING, manifest, ("kind",), text, hint)
    graceful = all(
        neighbor.graceful_restart is not None and neighbor.graceful_restart.enabled
        for router in policy.routers
        for neighbor in router.neighbors
    )
    text = f"{cease}; when it is left in place, each node changes over in the restart that its agent's upgrade is"
    hint = "delete it when all agents are upgraded" if graceful else "gracefulRestart is not enabled for every neighbor"
    return about(Weight.WARNING, manifest, ("kind",), text, hint)


def traps(policies: Sequence[tuple[Manifest, Policy]], version: Version) -> Iterator[Message]:
    """What to look out for when swapping.

    Args:
        policies: The policies.
        version: The Cilium version that is to run with the new objects.
    """
    for manifest, policy in policies:
        yield _changing_over(manifest, policy, version)
        if version == _FIRST_INSTANCE_ONLY and len(policy.routers) > 1:
            text = "in Cilium 1.16.0 only the first of several instances sees changes of Services (#34146)"
            yield about(Weight.WARNING, manifest, ("spec", "virtualRouters", 1), text, "use 1.16.1 or later")
        if version.line == _RIGHTS.line and version < _RIGHTS:
            text = "a rolling upgrade from 1.18 takes agents the rights to their BGP objects (#45829)"
            yield about(Weight.WARNING, manifest, ("kind",), text, f"upgrade to {_RIGHTS} or later")
    for (first, one), (second, other) in combinations(policies, 2):
        if one.nodes == other.nodes or not one.nodes or not other.nodes:
            text = f"it selects nodes that {first} selects too: Cilium took neither of the two policies on such a node"
            hint = "give the new CiliumBGPClusterConfigs selectors that exclude one another"
            yield about(Weight.WARNING, second, ("spec", "nodeSelector"), text, hint)
