"""A firewall between a node and the Kubernetes API server."""

from __future__ import annotations

from dataclasses import dataclass

from harness.faults.base import Steps
from harness.faults.targets import OfNode

#: Where the API server listens in a lab (harness.backends.netns.wiring, API_PORT).
_PORT = 6443


@dataclass(frozen=True)
class ApiServerFiltered(OfNode):
    """Drop all packets between a node and the API server: its agent and kubelet see nothing, its datapath goes on.

    Whoever holds a lease on that node cannot renew it.
    """

    name = "api-filter"

    def apply(self, steps: Steps) -> None:
        """Filter in the node."""
        steps.lab.node(self.node)
        addresses = steps.lab.topology.control_plane.address
        rules = "".join(
            # the node's own processes reach it by its address: what is sent is dropped before it leaves, and what comes
            # before connection tracking
            f"chain {name}{place} {{ type filter hook {hook} priority -400;"
            f" {'ip6' if address.version == 6 else 'ip'} {side}addr {address} tcp {side}port {_PORT} drop; }};"
            for place, address in enumerate(addresses)
            for name, hook, side in (("out", "output", "d"), ("in", "prerouting", "s"))
        )
        steps.on_undo(
            self.node, "the API server is reached again", lambda: steps.backend.set_filter(self.node, "api", None)
        )
        steps.do(
            self.node,
            "packets from and to the API server dropped",
            lambda: steps.backend.set_filter(self.node, "api", rules),
        )
