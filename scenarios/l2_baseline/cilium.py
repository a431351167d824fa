"""What scenarios of Cilium's L2 announcements look at: who holds the lease, who answers ARP, where the router sends."""

from __future__ import annotations

from collections.abc import Callable

from harness.arp.question import who_has
from harness.backends.netns.wiring import API_PORT, CONTROL_PLANE
from harness.cilium import semver
from harness.lab import Lab
from harness.measure import Measured, Probe
from harness.topology import HOST_DEVICE
from harness.verdict.predict import Lease
from harness.wait import steady, until

#: Nodes that the topology's policy selects.
ANNOUNCERS = frozenset({"worker1", "worker2"})
LABEL, VALUE = "announce", "l2"
#: From this minor on a holder whose packets to the API server are lost gives up. Before it says that it leads no more,
#: it tries to release the lease, up to client-go 0.30 (Cilium 1.16) without a timeout (tools/leaderelection, release).
GIVES_UP_SINCE = (1, 17)
#: Packets a second of each flow, and flows: outages are seconds long, and known to 20 ms.
_RATE, _FLOWS = 50, 4
_RESOLUTION_MS = 50
#: Seconds: a Linux router takes nobody else for 1 s after an entry's last change (locktime), as Cilium's GARP is a
#: reply to everybody, and none for Linux (facts/l2_and_lag.md, 2.2).
_TAKES_OTHERS_AFTER = 1.2
#: /proc/net/tcp's column `st`; its columns are described in Linux' Documentation/networking/proc_net_tcp.rst.
_TCP_ESTABLISHED, _TCP_SYN_SENT = "01", "02"


def minor(lab: Lab) -> tuple[int, int]:
    """Cilium's minor."""
    return semver.parse(lab.cilium_version).line


class Announced:
    """One Service of a lab whose address Cilium announces by L2."""

    def __init__(self, lab: Lab, name: str = "cluster") -> None:
        self._lab = lab
        self.service = lab.service(name)
        settings = lab.topology.cilium.l2announcements
        #: Seconds.
        self.lease = Lease(settings.lease_duration, settings.lease_retry_period, settings.lease_renew_deadline)

    @property
    def address(self) -> str:
        """Its address."""
        return self.service.address

    def holder(self) -> str:
        """Who holds its lease; there has to be somebody, who may announce."""
        found = self.service.wait_lease_holder()
        assert found in ANNOUNCERS, f"the lease is held by {found}"
        return found

    def other(self, holder: str) -> str:
        """The node that would be next."""
        (found,) = ANNOUNCERS - {holder}
        return found

    def answering(self, address: str | None = None) -> set[str]:
        """The nodes that answer an ARP request for its address, asked by a host beside the router."""
        answers = who_has(self._lab.backend, CONTROL_PLANE, HOST_DEVICE, address or self.address)
        return {self._lab.l2.node_of(answer.mac) or answer.mac for answer in answers}

    def wait_answering(self, nodes: set[str], within: float) -> None:
        """Wait until exactly these nodes answer."""
        wanted = ", ".join(sorted(nodes)) or "nobody"
        until(f"{wanted} to answer for {self.address}", self.answering, lambda seen: seen == nodes, within=within)

    def programmed(self) -> set[str]:
        """The nodes whose responder has an entry for its address, whether it may answer or not."""
        return {
            name
            for name in self._lab.nodes
            if any(entry["ip"] == self.address for entry in self._lab.backend.l2_responder(name).get("entries", ()))
        }

    def at_router(self) -> str | None:
        """The node to which the router sends what is for its address."""
        return self._lab.l2.owner(self.address)

    def wait_at_router(self, node: str, within: float = 10.0) -> None:
        """Wait until the router sends to a node; a GARP does that, within milliseconds."""
        self._lab.l2.wait_owner(self.address, node, within=within)

    def wait_connected(self, within: float = 40.0) -> None:
        """Wait until no announcer's connection to the API server still waits to send again what a fault has dropped.

        TCP waits twice as long after each attempt (RFC 6298, 5.5): a node that was silent for 8 s may be deaf for as
        long again, and would not take a lease meanwhile.
        """
        until(
            "the agents' connections to the API server to be well again",
            lambda: {name: self._sent_again(name) for name in ANNOUNCERS},
            lambda seen: not any(seen.values()),
            within=within,
            every=0.1,
        )

    def _sent_again(self, node: str) -> int:
        """How many connections of a node to the API server have unanswered retransmissions."""
        rows = [line.split() for line in self._lab.node(node).exec(["cat", "/proc/net/tcp"]).stdout.splitlines()[1:]]
        port = f":{API_PORT:04X}"
        alive = [row for row in rows if row[2].endswith(port) and row[3] in (_TCP_ESTABLISHED, _TCP_SYN_SENT)]
        return sum(int(row[6], 16) > 0 for row in alive)

    def measure(self, act: Callable[[], None], *, at_router: set[str] | None = None) -> Measured:
        """Measure what the client loses while something is done; the lab is whole, and the router has an entry.

        That entry is old enough for another node's announcement to be heard, and so new that the router does not verify
        it of its own accord for some 13 s: what Linux makes of a GARP within `locktime` is chance in a real network.

        Args:
            act: What is done.
            at_router: The nodes that the router may send to when it begins; by default it asks, and finds the lease's
                holder.
        """
        self.wait_connected()
        self._lab.converge()
        wanted = at_router or {self.holder()}
        if at_router is None:
            self._lab.router().forget_neighbour(self.address)
        probe = Probe(
            self._lab,
            self.address,
            7777,
            rate=_RATE,
            flows=_FLOWS,
            resolution_ms=_RESOLUTION_MS,
            name=self.service.name,
        )
        with probe:
            until("the router to know where to send", self.at_router, lambda seen: seen in wanted, within=10)
            steady("the router's entry", self.at_router, lambda seen: seen in wanted, window=_TAKES_OTHERS_AFTER)
            act()
        return probe.measured
