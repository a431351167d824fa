"""A lab in a scenario's hands: its nodes, routers, clients and services, and the user's manifests in it."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness import manifests as manifest_files
from harness.backends import opening
from harness.backends.base import Backend
from harness.backends.kind.options import KindOptions
from harness.backends.request import Request
from harness.chain import Chain, trace
from harness.cilium import api, l2, semver, versions
from harness.cilium.peering import Generation, Peering, render
from harness.cilium.timers import QUICK, QUICK_WHOLE_AGENT, quicken
from harness.client import Client
from harness.cluster import Applied, Cluster
from harness.errors import LabError, LblabError, UserError, WaitTimeout
from harness.faults.base import Fault, Injected
from harness.l2 import L2
from harness.manifests import Manifest
from harness.metallb import versions as metallb_versions
from harness.node import Node
from harness.observe import listed
from harness.peers import check_peers
from harness.process import Process
from harness.reset import Baseline, clear
from harness.router import Router
from harness.routing import integrated
from harness.service import Service
from harness.status import Status
from harness.timeline import text as timeline_text
from harness.timeline.live import LiveTimeline
from harness.topology import Topology, load
from harness.upgrade import Cilium
from harness.wait import steady, until

__all__ = ["Lab", "attach", "open_lab"]

#: Seconds for sessions and routes to come up once everything is applied. Cilium's connect delay is 1 to 2 s; a node
#: whose first attempt fails waits for its connect-retry timer (facts/cilium.md 3.3).
_CONVERGED_WITHIN = 60.0

#: Of the timeline of a lab that did not come up.
_LINES_OF_A_FAILED_START = 80

#: Everything that tells Cilium with whom to peer.
_BGP_KINDS = (
    "ciliumbgpclusterconfigs.cilium.io",
    "ciliumbgppeeringpolicies.cilium.io",
    "ciliumbgpnodeconfigoverrides.cilium.io",
    "ciliumbgppeerconfigs.cilium.io",
    "ciliumbgpadvertisements.cilium.io",
)

Progress = Callable[[str], None]
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

    def reset(self) -> list[str]:
        """Bring the lab back to the state that `mark_clean` remembered, and check it.

        Returns:
            What had to be put back, one phrase each; empty when the scenario left the lab as it was.

        Raises:
            WaitTimeout: when the lab does not come back; the caller must replace it.
        """
        if self._baseline is None:
            raise LblabError("reset needs a state to come back to", hint="call mark_clean() first")
        return self.undo_faults() + self._baseline.restore(self)

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


def open_lab(
    topology_file: Path | str,
    *,
    backend: str = "netns",
    cilium_version: str | None = None,
    manifests: Sequence[Path] = (),
    name: str | None = None,
    build: bool = True,
    timers: Literal["quick", "whole-agent", "manifest"] = "manifest",
    time_scale: float | None = None,
    owner: Literal["process", "none"] = "process",
    progress: Progress = lambda _: None,
    metallb_version: str | None = None,
    metallb_manifest: Path | None = None,
    kind: KindOptions | None = None,
    instead_of: Lab | None = None,
) -> Lab:
    """Bring a lab up and apply the manifests; returns when the chain to every announced service is up.

    Args:
        topology_file: The topology.
        backend: "netns" or "kind".
        cilium_version: Exact, a minor, or "auto" (None): the newest known that serves every manifest.
        manifests: Instead of the topology's own.
        name: The lab's name; by default the topology's name and this process's PID.
        build: Build missing binaries; otherwise a missing one is an error.
        timers: The manifests' own, or cut down to seconds (`harness.cilium.timers.QUICK`, `QUICK_WHOLE_AGENT`).
        time_scale: Instead of the topology's: the factor on FreeBSD's ARP and lblab's announcer.
        owner: "process": the lab ends with this process; "none": it stays until it is closed by name.
        progress: Told each stage.
        metallb_version: Exact, a minor, or "auto" (None): the newest known. It runs if a manifest is of metallb.io, or
            the topology asks for it.
        metallb_manifest: A file with MetalLB's CustomResourceDefinitions, served instead of those of its Go types.
        kind: The choices that only a lab of kind has.
        instead_of: A lab of this process that is not needed any more: it is ended, and what it took long to make is
            used again where it fits.

    Raises:
        UserError: for bad input.
        MissingCapability: when the machine lacks something.
        LabError: when a part does not come up. Nothing is left behind.
    """
    path = Path(topology_file)
    topology = load(path)
    if time_scale is not None:
        if not 0 < time_scale <= 1:
            raise UserError(
                f"a time scale of {time_scale:g} is not above 0 and at most 1", hint="0.02: fifty times faster"
            )
        topology = topology.model_copy(update={"time_scale": time_scale})
    version, objects = choose(topology, cilium_version, manifests)
    with_metallb = metallb_versions.choose(topology, objects, metallb_version)
    cut_to = {"quick": opening.QUICK.get(backend, QUICK), "whole-agent": QUICK_WHOLE_AGENT}.get(timers)
    objects, quickened = quicken(objects, cut_to) if cut_to is not None else (objects, [])
    topology, cut = l2.decided(topology, objects, semver.parse(version), quick=cut_to is not None)
    quickened += cut
    for router, settings in topology.routers.items():
        if settings.frr_config is not None:
            for number, line in integrated.split(settings.frr_config.read_text()).unused:
                progress(f"{router}: {settings.frr_config}:{number} is left out, lblab does not run it: {line.strip()}")
    request = Request(
        name=name or f"{topology.name[:20]}-{os.getpid()}",
        topology=topology,
        topology_file=path,
        cilium_version=version,
        metallb_version=None if with_metallb is None else str(with_metallb),
        metallb_manifest=metallb_manifest,
        objects=objects,
        owned=owner == "process",
        build=build,
        progress=progress,
        kind=kind or KindOptions(),
    )
    made = (None if instead_of is None else instead_of.hand_over(request)) or opening.create(backend, request)
    lab = Lab(made, applied=objects, quickened=quickened)
    try:
        made.prepare(lab.cluster, progress)
        progress("manifests")
        lab.cluster.apply(objects, within=30.0)
        progress("sessions, routes and pods")
        # not sooner: until here the lab's own programs keep every core busy, and then Cilium waits before it connects
        made.record()
        try:
            lab.converge(within=made.comes_up_within)
        except WaitTimeout as error:
            happened = timeline_text.render(lab.timeline.events(), at_most=_LINES_OF_A_FAILED_START)
            raise LabError(f"{error.message}; the logs are gone with the lab, its timeline was:\n{happened}") from None
        if owner == "none":
            made.leave()
    except BaseException:
        with contextlib.suppress(LblabError):
            lab.close()
        raise
    return lab


def choose(topology: Topology, cilium_version: str | None, instead: Sequence[Path] = ()) -> tuple[str, list[Manifest]]:
    """Decide which Cilium version runs and which manifests are applied, before anything is started.

    Raises:
        UserError: when the version does not exist, or does not serve a kind or field; with file and line.
    """
    choices = (
        [versions.Choice.of(manifest_files.load(path)) for path in instead] if instead else versions.choices(topology)
    )
    version = versions.resolve(cilium_version or "auto", choices)
    objects = versions.select(choices, version)
    check_peers(topology, objects)
    return str(version), objects


def attach(name: str) -> Lab:
    """Use a lab that another process brought up."""
    return Lab(opening.attach(name))


def _pick(what: str, parts: Mapping[str, Part], name: str | None) -> Part:
    if name is None and parts:
        return next(iter(parts.values()))
    if name is None or name not in parts:
        raise UserError(f"there is no {what} '{name or ''}'", hint=f"there are: {', '.join(parts) or 'none'}")
    return parts[name]
