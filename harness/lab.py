"""A lab in a scenario's hands: its nodes, routers, clients and services, and the user's manifests in it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness import manifests as manifest_files
from harness.backends.base import Backend
from harness.backends.request import Request
from harness.chain import Chain, trace
from harness.cilium import api, l2, semver
from harness.cilium.peering import Generation, Peering, render
from harness.client import Client
from harness.cluster import Applied, Cluster
from harness.errors import LblabError, UserError
from harness.faults.base import Fault, Injected
from harness.l2 import L2
from harness.manifests import Manifest
from harness.node import Node
from harness.observe import listed
from harness.process import Process
from harness.reset import Baseline, clear
from harness.router import Router
from harness.service import Service
from harness.status import Status
from harness.timeline.live import LiveTimeline
from harness.upgrade import Cilium
from harness.wait import steady, until

__all__ = ["Lab", "NextHops"]

#: Seconds for sessions and routes to come up once everything is applied. Cilium's connect delay is 1 to 2 s; a node
#: whose first attempt fails waits for its connect-retry timer (facts/cilium.md 3.3).
_CONVERGED_WITHIN = 60.0

#: Everything that tells Cilium with whom to peer.
_BGP_KINDS = (
    "ciliumbgpclusterconfigs.cilium.io",
    "ciliumbgppeeringpolicies.cilium.io",
    "ciliumbgpnodeconfigoverrides.cilium.io",
    "ciliumbgppeerconfigs.cilium.io",
    "ciliumbgpadvertisements.cilium.io",
)

Part = TypeVar("Part")


@dataclass(frozen=True)
class NextHops:
    """Next hops of a prefix, by the names of the nodes."""

    bgp: frozenset[str]
    kernel: frozenset[str]

    def __str__(self) -> str:
        text = ", ".join(sorted(self.bgp)) or "none"
        return (
            text
            if self.bgp == self.kernel
            else f"{text} in bgpd, {', '.join(sorted(self.kernel)) or 'none'} in the kernel"
        )


class Lab:
    """One running lab."""

    def __init__(self, backend: Backend, *, applied: Sequence[Manifest] = (), quickened: Sequence[str] = ()) -> None:
        self.backend = backend
        self.topology = backend.topology
        self.name = backend.name
        self.kubeconfig = backend.kubeconfig
        self.cilium_version = backend.cilium_version
        #: None when MetalLB does not run.
        self.metallb_version = backend.metallb_version
        self.cluster = Cluster(backend.kubeconfig, cilium_version=backend.cilium_version, adapt=backend.adapt)
        self.nodes: Mapping[str, Node] = {name: Node(backend, self.cluster, name) for name in self.topology.nodes}
        self.routers: Mapping[str, Router] = {name: Router(backend, name) for name in self.topology.routers}
        self.clients: Mapping[str, Client] = {name: Client(backend, name) for name in self.topology.clients}
        #: Addresses that are announced by ARP and NDP: who should answer for them, and to whom routers send.
        self.l2 = L2(self)
        #: Everything that has happened so far, on one clock.
        self.timeline = LiveTimeline(backend.folder)
        self.applied = list(applied)
        #: What was cut down of the manifests' timers, one phrase each.
        self.quickened = list(quickened)
        #: Faults that are still to be undone, the oldest first.
        self.faults: list[Injected] = []
        self._baseline: Baseline | None = None

    # -- parts ------------------------------------------------------------------------------------------------------

    def node(self, name: str) -> Node:
        """The node of that name."""
        return _pick("node", self.nodes, name)

    def router(self, name: str | None = None) -> Router:
        """The router of that name; the first one without a name."""
        return _pick("router", self.routers, name)

    def client(self, name: str | None = None) -> Client:
        """The client of that name; the first one without a name."""
        return _pick("client", self.clients, name)

    def service(self, name: str) -> Service:
        """A Service by "name" (in the namespace default) or "namespace/name"; it need not exist yet."""
        return Service(self.cluster, name)

    @property
    def operator(self) -> Process:
        """Cilium's operator: LB-IPAM, CRDs and the operator's part of BGP."""
        return Process(self.backend, "control-plane/cilium-operator")

    @property
    def metallb_controller(self) -> Process:
        """MetalLB's controller, which gives addresses to Services."""
        return Process(self.backend, "control-plane/metallb-controller")

    @property
    def api_server(self) -> Process:
        """The Kubernetes API server."""
        return Process(self.backend, "control-plane/kube-apiserver")

    @property
    def controller_manager(self) -> Process:
        """The Kubernetes controllers, among them those for EndpointSlices and for nodes that are not ready."""
        return Process(self.backend, "control-plane/kube-controller-manager")

    @functools.cached_property
    def announces_by_l2(self) -> bool:
        """Whether its agents run with Cilium's L2 announcements."""
        return self.backend.announces_by_l2

    @property
    def agent_starts(self) -> tuple[float, float]:
        """Seconds, at least and at most, until an agent that is started begins to connect to its BGP peers."""
        return self.backend.agent_starts

    def node_of(self, address: str) -> str | None:
        """The name of the node that has an address."""
        return next((name for name, node in self.nodes.items() if address in node.addresses), None)

    @functools.cached_property
    def cilium(self) -> Cilium:
        """The versions of Cilium in this lab, which may be replaced part by part."""
        return Cilium(self)

    # -- faults -----------------------------------------------------------------------------------------------------

    def fault(self, fault: Fault, *, lasting: float | None = None) -> Injected:
        """Make a fault happen now; leaving its `with` block, or `reset`, undoes it.

        Args:
            fault: Such as `AgentKilled("worker1", restart_after=3)` of `harness.faults`.
            lasting: Seconds after which it ends by itself; None: as the fault itself says.
        """
        return fault.inject(self, lasting=lasting)

    def undo_faults(self) -> list[str]:
        """Undo every fault that still lasts, the last first, and what faults of other processes have left behind.

        Returns:
            What was undone, one phrase each.
        """
        undone = []
        for injected in reversed(list(self.faults)):
            injected.undo()
            undone.append(f"undid {injected.fault}")
        return undone + [f"took back: {what}" for what in self.backend.take_back()]

    # -- objects ----------------------------------------------------------------------------------------------------

    def apply(self, what: Path | str | Iterable[Mapping[str, Any]]) -> list[Applied]:
        """Send objects to the API server as they are: a file, a folder, YAML text or objects.

        Raises:
            UserError: for a kind or field that nobody serves, with file, line and the versions that do.
        """
        found = manifest_files.load(what)
        api.check(found, semver.parse(self.cilium_version))
        self._check_l2(found)
        return self.cluster.apply(found)

    def _check_l2(self, manifests: Iterable[Manifest]) -> None:
        """Refuse a policy that nobody would act on: agents are started with or without L2 announcements."""
        for one in manifests:
            if one.kind == l2.POLICY and not self.announces_by_l2:
                hint = "put it into the topology's manifests, or enabled: true below cilium.l2announcements"
                raise one.error(f"{one}: this lab's agents were started without L2 announcements", hint=hint)

    def delete(self, what: Path | str | Iterable[Mapping[str, Any]]) -> None:
        """Delete objects and wait until they are gone."""
        self.cluster.delete(manifest_files.load(what))

    def peer(self, peering: Peering, generation: Generation | None = None) -> None:
        """Replace the lab's BGP configuration, whatever API it is written in; `reset` brings the old one back."""
        wanted = render(peering, semver.parse(self.cilium_version), generation, nodes=list(self.nodes))
        names = {(obj["kind"], obj["metadata"]["name"]) for obj in wanted}
        for kind in _BGP_KINDS:
            for obj in listed(self.cluster, kind):
                if (obj["kind"], obj["metadata"]["name"]) not in names:
                    self.cluster.delete(kind, obj["metadata"]["name"])
        self.apply(wanted)

    # -- routes -----------------------------------------------------------------------------------------------------

    def next_hops(self, prefix: str, router: str | None = None) -> NextHops:
        """The nodes that are next hops of a prefix, in a router's BGP table and in its kernel."""
        at = self.router(router)
        return NextHops(self._names(at.bgp.next_hops(prefix)), self._names(at.forwarded_next_hops(prefix)))

    def wait_next_hops(
        self, prefix: str, nodes: Iterable[str], *, router: str | None = None, within: float = 15.0
    ) -> None:
        """Wait until exactly these nodes are next hops of a prefix, in bgpd and in the router's kernel.

        Args:
            prefix: Such as `lab.service("web").prefix`.
            nodes: Names of nodes; none means that the route is withdrawn.
            router: The router's name; the first one by default.
            within: Deadline in seconds.

        Raises:
            WaitTimeout: with what bgpd and the kernel had, and since when.
        """
        wanted = frozenset(nodes)
        until(
            f"{prefix} to have next hops {', '.join(sorted(wanted)) or 'none'}",
            lambda: self.next_hops(prefix, router),
            lambda seen: seen.bgp == seen.kernel == wanted,
            within=within,
            show=str,
        )

    def hold_next_hops(self, prefix: str, nodes: Iterable[str], *, window: float, router: str | None = None) -> None:
        """Check that exactly these nodes are next hops of a prefix, now and for a whole window of seconds."""
        wanted = frozenset(nodes)
        steady(
            f"{prefix} with next hops {', '.join(sorted(wanted)) or 'none'}",
            lambda: self.next_hops(prefix, router),
            lambda seen: seen.bgp == seen.kernel == wanted,
            window=window,
            show=str,
        )

    def _names(self, addresses: Iterable[str]) -> frozenset[str]:
        return frozenset(self.node_of(address) or address for address in addresses)

    # -- state ------------------------------------------------------------------------------------------------------

    def converge(self, within: float = _CONVERGED_WITHIN) -> None:
        """Wait until every part of the chain that leads to each announced service is up.

        That is: nodes ready, pods ready, an address for every LoadBalancer service, every configured BGP session
        Established with its End-of-RIB, the router's kernel in step with its BGP table, and for an address that is
        announced by ARP the router's entry at the node that should answer.

        Raises:
            WaitTimeout: with the link of the chain that is not there yet.
        """
        until(
            "the lab to converge",
            lambda: trace(self),
            lambda chain: chain.broken is None,
            within=within,
            every=0.05,
            show=str,
        )

    def chain(self) -> Chain:
        """Look at the whole chain now: session, adj-RIB-in, kernel FIB, leader, neighbour, datapath, backend."""
        return trace(self)

    def status(self) -> Status:
        """The lab at this moment, as typed facts."""
        from harness.look import look

        return look(self)

    # -- keeping it clean -------------------------------------------------------------------------------------------

    def mark_clean(self) -> None:
        """Remember this state as the one that `reset` comes back to."""
        self._baseline = Baseline.take(self)

    def reset(self, *, thorough: bool = False) -> list[str]:
        """Bring the lab back to the state that `mark_clean` remembered, and check it.

        Args:
            thorough: Wait until no component ends any more because of what it has lost, which takes seconds.

        Returns:
            What had to be put back, one phrase each; empty when the scenario left the lab as it was.

        Raises:
            WaitTimeout: when the lab does not come back; the caller must replace it.
        """
        if self._baseline is None:
            raise LblabError("reset needs a state to come back to", hint="call mark_clean() first")
        done = self.undo_faults() + self._baseline.restore(self)
        return done + (self._baseline.settle(self) if thorough else [])

    def hand_over(self, request: Request) -> Backend | None:
        """End this lab; what it took long to make becomes part of another one, where it fits.

        Returns:
            The other lab's backend; None when nothing fits, and then nothing of this one is left.
        """
        if not self.backend.fits(request):
            self.close()
            return None
        try:
            self.undo_faults()
            clear(self)
            return self.backend.take_over(request)
        except LblabError as error:
            request.progress(f"the cluster is not used again: {error}")
            self.close()
            return None

    def close(self) -> None:
        """End the lab and remove everything it made."""
        for injected in list(self.faults):
            injected.forget()
        self.cluster.close()
        for router in self.routers.values():
            router.close()
        self.backend.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        metallb = f", MetalLB {self.metallb_version}" if self.metallb_version else ""
        return f"Lab({self.name!r}, {self.topology.name}, Cilium {self.cilium_version}{metallb}, {self.backend.kind})"


def _pick(what: str, parts: Mapping[str, Part], name: str | None) -> Part:
    if name is None and parts:
        return next(iter(parts.values()))
    if name is None or name not in parts:
        raise UserError(f"there is no {what} '{name or ''}'", hint=f"there are: {', '.join(parts) or 'none'}")
    return parts[name]
