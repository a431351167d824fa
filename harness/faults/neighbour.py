"""A node's neighbour entry of its gateway leads nowhere: what it answers is sent to a MAC that nobody has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from harness.errors import LabError
from harness.faults.base import Steps
from harness.faults.stamps import asked
from harness.faults.targets import OfNode

#: A MAC that no host of a lab has; locally administered (IEEE 802, the second bit of the first byte).
NOBODY = "02:ff:ff:ff:ff:ff"
_HOW = "answered by iproute2"


@dataclass(frozen=True)
class GatewayLost(OfNode):
    """Let a node's neighbour entry of its gateway lead nowhere: packets come in, and answers do not get out.

    Stands in for a stale entry that Cilium's datapath goes on using: bpf_fib_lookup does not refresh it
    (facts/l2_and_lag.md, section 3, candidate 5). Hosts on the node's own network are reached as before.
    """

    name = "gateway-lost"

    def apply(self, steps: Steps) -> None:
        """Replace the entry by a permanent one."""
        steps.lab.node(self.node)
        for gateway in map(str, steps.lab.topology.gateway_of(self.node)):
            back = partial(self._ip, steps, "del", gateway)
            steps.on_undo(self.node, f"finds its gateway {gateway} again", partial(asked, back, _HOW))
            lose = partial(self._ip, steps, "replace", gateway, "lladdr", NOBODY, "nud", "permanent")
            steps.do(self.node, f"its entry of the gateway {gateway} leads nowhere", partial(asked, lose, _HOW))

    def _ip(self, steps: Steps, verb: str, gateway: str, *more: str) -> None:
        from harness.topology import HOST_DEVICE

        done = steps.backend.exec(self.node, ["ip", "neigh", verb, gateway, "dev", HOST_DEVICE, *more])
        if done.returncode:
            raise LabError(f"{self.node}: {done.stderr.strip()}")
