"""A host's link is cut: at the host, at the switch, or in between where nobody sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

from harness.backends.base import Where
from harness.errors import UserError
from harness.faults.base import Fault, Steps
from harness.faults.parameters import HostName, NetworkName

if TYPE_CHECKING:
    from harness.topology import Topology


@dataclass(frozen=True)
class LinkDown(Fault):
    """Cut a host's link: interface down, switch port down (the host loses carrier), or frames lost in between.

    Neither of the three takes the carrier away at the other hosts of the network, as with any switch. A router's own
    link is cut by naming the router.
    """

    host: HostName
    network: NetworkName = None
    where: Annotated[Where, "At the host's interface, at the switch port, or in between, unnoticed."] = "host"
    name = "link-down"

    @property
    def subject(self) -> str:
        """The host."""
        return self.host

    def apply(self, steps: Steps) -> None:
        """Cut every link that is meant."""
        cut(steps, self.host, networks(steps.lab.topology, self.host, self.network), self.where)


def networks(topology: Topology, host: str, network: str | None = None) -> list[str]:
    """The networks of a host, or the one that is meant.

    Raises:
        UserError: when there is no such host, or it is not on that network.
    """
    hosts = [*topology.routers, *topology.nodes, *topology.clients]
    if host not in hosts:
        raise UserError(f"there is no host '{host}'", hint=f"there are: {', '.join(hosts)}")
    found = [link.network for link in topology.links(host)]
    if network is not None and network not in found:
        raise UserError(f"{host} is not on a network '{network}'", hint=f"it is on: {', '.join(found)}")
    return found if network is None else [network]


_TEXT: dict[Where, tuple[str, str]] = {
    "host": ("interface to {} down", "interface to {} up"),
    "switch": ("switch port to {} down", "switch port to {} up"),
    "path": ("all frames to and from {} dropped", "frames to and from {} pass again"),
}


def cut(steps: Steps, host: str, of: Sequence[str], where: Where) -> None:
    """Cut links of a host until the fault is undone."""
    for network in of:
        down, up = (text.format(network) for text in _TEXT[where])
        steps.on_undo(host, up, partial(steps.backend.set_link, host, network, True, where))
        steps.do(host, down, partial(steps.backend.set_link, host, network, False, where))
