"""IP addresses and ranges of either version, and what is reckoned with them."""

from __future__ import annotations

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

#: The length of a node's share of a pod CIDR, by IP version: kube-controller-manager's own defaults
#: (--node-cidr-mask-size-ipv4 24, --node-cidr-mask-size-ipv6 64).
NODE_PREFIX_LENGTH = {4: 24, 6: 64}


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Whether two ranges share an address."""
    return one.version == other.version and one.overlaps(other)


def shares(cidr: IPNetwork) -> int:
    """How many nodes a pod CIDR has room for."""
    length = NODE_PREFIX_LENGTH[cidr.version]
    return 1 << (length - cidr.prefixlen) if cidr.prefixlen <= length else 0


def share(cidr: IPNetwork, place: int) -> IPNetwork:
    """The share of node number `place` (from 0), counted instead of listed: an IPv6 /48 has 65536 of them."""
    length = NODE_PREFIX_LENGTH[cidr.version]
    first = int(cidr.network_address) + (place << (cidr.max_prefixlen - length))
    return type(cidr)((first, length))
