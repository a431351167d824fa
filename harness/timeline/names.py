"""Names of the topology for the addresses that events carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Names:
    """Says which host an address, or a MAC, belongs to.

    Args:
        hosts: Names of hosts by address, or by MAC.
    """

    def __init__(self, hosts: Mapping[str, str]) -> None:
        self._hosts = dict(hosts)

    def of(self, address: str) -> str:
        """The host that has an address, or the address itself."""
        return self._hosts.get(address, address)

    def all(self, addresses: Iterable[str]) -> str:
        """Several of them, sorted, as a phrase."""
        return ", ".join(sorted(map(self.of, addresses))) or "no next hop"
