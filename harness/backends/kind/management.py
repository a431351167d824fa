"""Docker's own network of a lab: kind's containers are made in it, and lblab reaches the API server through it.

The topology's networks are none of Docker's; nothing that a scenario measures goes through this one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from harness.addresses import IPNetwork
from harness.backends.kind import names
from harness.errors import LabError, UserError
from harness.topology import Topology

if TYPE_CHECKING:
    import docker

#: Subnets of labs' management networks: RFC 2544's range for benchmarks, which no real network has.
_RANGE = ipaddress.IPv4Network("198.18.0.0/15")
_LENGTH = 24
#: IPv6 for clusters that have it, unique local (RFC 4193).
_RANGE6 = ipaddress.IPv6Network("fd6c:626c:6162::/48")
_LENGTH6 = 64
#: What Docker says when another network has some of the addresses (libnetwork, ipam).
_OVERLAP = ("overlaps with", "overlap with", "conflicts with network")


def make(engine: docker.DockerClient, lab: str, topology: Topology, ipv6: bool) -> str:
    """Make the network in which kind puts a lab's nodes.

    Args:
        engine: Docker.
        lab: The lab's name.
        topology: Whose addresses it keeps clear of.
        ipv6: Whether it needs IPv6 addresses, too.

    Returns:
        Its name.

    Raises:
        UserError: No subnet is free.
        LabError: Docker refuses.
    """
    from docker import types
    from docker.errors import APIError

    taken = [*_topology(topology), *_docker(engine), *_machine()]
    name = names.cluster(lab)
    seconds: Iterator[IPNetwork | None] = free(_RANGE6, _LENGTH6, taken) if ipv6 else iter(())
    for subnet in free(_RANGE, _LENGTH, taken):
        second = next(seconds, None)
        pools = [types.IPAMPool(subnet=str(one)) for one in (subnet, second) if one is not None]
        try:
            engine.networks.create(
                name,
                driver="bridge",
                options={"com.docker.network.bridge.enable_ip_masquerade": "true"},
                ipam=types.IPAMConfig(pool_configs=pools),
                enable_ipv6=ipv6,
                check_duplicate=True,  # up to Docker 24 two networks may have one name
                labels=names.labels(lab),
            )
        except APIError as error:
            why = str(error.explanation or error)
            if any(sign in why for sign in _OVERLAP):
                continue  # another lab has taken it meanwhile, or the machine has a route that was not seen
            raise LabError(f"Docker does not make the network {name}: {why}") from None
        return name
    raise UserError(
        f"every subnet of {_RANGE} is taken, so there is none for the network {name}",
        hint="docker network ls; lblab down --all",
    )


def free(within: IPNetwork, length: int, taken: Iterable[IPNetwork]) -> Iterator[IPNetwork]:
    """The subnets of a range that overlap with nothing that is taken, in order."""
    relevant = [one for one in taken if one.version == within.version and _overlap(one, within)]
    return (one for one in within.subnets(new_prefix=length) if not any(_overlap(one, other) for other in relevant))


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one[0] in other or other[0] in one


def _topology(topology: Topology) -> Iterator[IPNetwork]:
    for network in topology.networks.values():
        yield from network.subnet
    yield from topology.cluster.pod_cidrs
    yield from topology.cluster.service_cidrs


def _docker(engine: docker.DockerClient) -> Iterator[IPNetwork]:
    for network in engine.networks.list():
        ipam: dict[str, Any] = network.attrs.get("IPAM") or {}
        for one in ipam.get("Config") or ():
            if subnet := one.get("Subnet"):
                yield ipaddress.ip_network(subnet, strict=False)


def _machine() -> Iterator[IPNetwork]:
    """What this machine has routes to, but for default routes."""
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        for route in ip.get_routes():
            destination, length = route.get_attr("RTA_DST"), route["dst_len"]
            if destination and length:
                yield ipaddress.ip_network(f"{destination}/{length}", strict=False)
