"""How nodes speak with routers: the part of a neighbor that stands in a CiliumBGPPeerConfig."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.cilium.migrate.attributes import Entry
from harness.cilium.migrate.policy import Family, Neighbor

#: What a policy means that names no families (facts/cilium.md 1.2).
DEFAULT_FAMILIES = (Family(afi="ipv4", safi="unicast"), Family(afi="ipv6", safi="unicast"))


@dataclass
class PeerConfig:
    """A CiliumBGPPeerConfig with its CiliumBGPAdvertisement, shared by the neighbors for which both are the same.

    Attributes:
        spec: The config's spec, without its families.
        entries: What is announced.
        families: What is negotiated.
        neighbors: Whose it is.
        name: The name of both objects.
    """

    spec: dict[str, Any]
    entries: tuple[Entry, ...]
    families: tuple[Family, ...]
    neighbors: list[Neighbor] = field(default_factory=list)
    name: str = ""


def config_of(neighbor: Neighbor, entries: tuple[Entry, ...], known: list[PeerConfig]) -> PeerConfig:
    """The config of a neighbor: a known one when nothing differs, else a new one that is known from then on."""
    families = tuple(neighbor.families) or DEFAULT_FAMILIES
    made = PeerConfig(_spec(neighbor), entries, families)
    same = (made.spec, made.entries, made.families)
    config = next((one for one in known if (one.spec, one.entries, one.families) == same), None)
    if config is None:
        known.append(made)
        config = made
    config.neighbors.append(neighbor)
    return config


def give_names(configs: Sequence[PeerConfig], name: str) -> None:
    """Name the configs of a virtual router: the only one after it, several after their first neighbors, too."""
    for config in configs:
        config.name = name if len(configs) == 1 else f"{name}-{peer_name(config.neighbors[0])}"


def peer_name(neighbor: Neighbor) -> str:
    """A DNS label for a neighbor, made of its address."""
    text = str(neighbor.address).replace("::", "-").replace(".", "-").replace(":", "-")
    return f"peer-{text.strip('-')}"


def _spec(neighbor: Neighbor) -> dict[str, Any]:
    """What was given; what was not has the same defaults in the new kind (facts/cilium.md 1.2 and 1.3)."""
    timers = {
        "connectRetryTimeSeconds": neighbor.connect_retry,
        "holdTimeSeconds": neighbor.hold,
        "keepAliveTimeSeconds": neighbor.keepalive,
    }
    timers = {name: value for name, value in timers.items() if value is not None}
    spec: dict[str, Any] = {}
    if neighbor.peer_port is not None:
        spec["transport"] = {"peerPort": neighbor.peer_port}
    if timers:
        spec["timers"] = timers
    if neighbor.auth_secret is not None:
        spec["authSecretRef"] = neighbor.auth_secret
    if (restart := neighbor.graceful_restart) is not None:
        time = {} if restart.restart_time is None else {"restartTimeSeconds": restart.restart_time}
        spec["gracefulRestart"] = {"enabled": restart.enabled, **time}
    if neighbor.multihop_ttl is not None:
        spec["ebgpMultihop"] = neighbor.multihop_ttl
    return spec
