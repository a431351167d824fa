"""A whole node goes away: silently, in order, or with everything on it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from harness.bgp import ESTABLISHED
from harness.faults import process
from harness.faults.base import Steps
from harness.faults.link import cut, networks
from harness.faults.stamps import asked
from harness.faults.targets import OfNode
from harness.wait import until

#: Seconds for evicted pods to be gone: their grace period is 30 s unless they say otherwise.
_DRAINED_WITHIN = 60.0
#: Seconds for a node whose label is gone to end its sessions: the operator and the agent act on watch events.
_WITHDRAWN_WITHIN = 15.0
#: What NodeSilent drops when ARP is to work on.
_IP = "ether type { ip, ip6 }"


@dataclass(frozen=True)
class NodeSilent(OfNode):
    """Drop all packets of a node in both directions; its processes go on, no carrier is lost.

    The switch drops every frame, or without `arp` every one with IP in it: the node still answers ARP then, as one does
    whose packet filter drops everything. (A filter of the node's own would not do: Cilium's eBPF forwards before it.)
    """

    arp: Annotated[bool, "Whether ARP is dropped too."] = True
    name = "node-silent"

    def apply(self, steps: Steps) -> None:
        """Cut the path, or filter IP."""
        steps.lab.node(self.node)
        of = networks(steps.lab.topology, self.node)
        if self.arp:
            cut(steps, self.node, of, "path")
            return
        for network in of:
            block = partial(steps.backend.block, self.node, network, "silent")
            steps.on_undo(self.node, f"IP packets to and from {network} pass again", partial(block, None))
            steps.do(self.node, f"all IP packets to and from {network} dropped", partial(block, _IP))


@dataclass(frozen=True)
class NodeCrashed(OfNode):
    """End every process on a node at once, pods included, and take its link down.

    A node that loses its power (`silent`) says nothing: the link goes first. `docker kill` of a node, or a reset of
    its user space, lets its kernel still close the TCP connections: the processes go first.
    """

    silent: Annotated[bool, "Whether the link goes before the processes, so that nobody hears their end."] = True
    name = "node-crash"

    def apply(self, steps: Steps) -> None:
        """Kill and cut, in the order that is wanted."""
        steps.lab.node(self.node)
        where = networks(steps.lab.topology, self.node)
        running = process.of_host(steps.backend, self.node)
        process.start_all(steps, running)
        if self.silent:
            cut(steps, self.node, where, "host")
        process.kill_host(steps, self.node, running)
        if not self.silent:
            cut(steps, self.node, where, "host")
        process.forget(steps, self.node)


@dataclass(frozen=True)
class NodeShutDown(OfNode):
    """Shut a node down in order: drain it, take a label off, stop its processes, take its link down."""

    label: Annotated[str | None, "The label that makes it announce, taken off before the processes stop."] = None
    name = "node-shutdown"

    def apply(self, steps: Steps) -> None:
        """Go through the steps of cilium.md 3.4, S4."""
        node = steps.lab.node(self.node)
        steps.on_undo(self.node, "uncordoned", lambda: asked(lambda: node.cordon(False)))
        leaving = {pod["metadata"]["uid"] for pod in node.evictable()}
        steps.do(self.node, "drained", lambda: asked(node.drain))
        until(
            f"the pods to leave {self.node}",
            lambda: leaving & {pod["metadata"]["uid"] for pod in node.pods()},
            lambda left: not left,
            within=_DRAINED_WITHIN,
            every=0.1,
        )
        if self.label is not None:
            key, value = self.label, node.labels.get(self.label)
            if value is not None:
                steps.on_undo(self.node, f"label {key} set", lambda: asked(lambda: node.add_label(key, value)))
                steps.do(self.node, f"label {key} removed", lambda: asked(lambda: node.remove_label(key)))
                self._wait_withdrawn(steps)
        running = process.of_host(steps.backend, self.node)
        process.start_all(steps, running)
        for one in reversed(running):
            process.end(steps, one, signal.SIGTERM, start_on_undo=False)
        cut(steps, self.node, networks(steps.lab.topology, self.node), "host")
        process.forget(steps, self.node)

    def _wait_withdrawn(self, steps: Steps) -> None:
        """Wait until no router has a session with the node, as Cilium's documentation has it before the power goes.

        An agent that is stopped before it has said Cease leaves a graceful restart behind, and with it a black hole.
        """
        addresses = steps.lab.node(self.node).addresses
        until(
            f"the routers' sessions with {self.node} to end",
            lambda: [
                f"{name}: {address}"
                for name, router in steps.lab.routers.items()
                for address, peer in router.bgp.peers().items()
                if address in addresses and peer.state == ESTABLISHED
            ],
            lambda left: not left,
            within=_WITHDRAWN_WITHIN,
        )
