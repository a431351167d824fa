"""What is negotiated in a BGP session is what the manifests say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.cilium import semver
from harness.cilium.peering import EVERY_SERVICE, Communities, Instance, Peer, Peering, generations, md5_secret
from harness.client import Client
from harness.errors import MissingCapability
from harness.lab import Lab
from harness.objects import service
from harness.wait import steady, until

#: Seconds for a session that was configured anew: GoBGP's idle hold of 5 s, then its connect delay (cilium.md 3.3).
RECONNECT = 30


def test_timers_and_bits_are_the_manifests(lab: Lab, quick_peering: Callable[..., Peering]) -> None:
    """Hold and keepalive time, restart time, N and R bits, F bit, and Graceful Restart said by both sides."""
    lab.peer(quick_peering(hold_time=12, keepalive_time=4, restart_time=33))
    node = lab.node("worker1")

    def negotiated() -> tuple[float | None, float | None, int | None]:
        peer = lab.router().bgp.peer(node.address)
        return peer.hold, peer.keepalive, peer.graceful_restart.restart_time

    until("the manifests' timers", negotiated, lambda seen: seen == (12, 4, 33), within=RECONNECT)
    lab.router().wait_established(node.address, within=RECONNECT)
    restart = lab.router().bgp.peer(node.address).graceful_restart
    assert restart.capability == "advertisedAndReceived"
    # FRR's default is to help a restarting peer (shared/facts/opnsense.md 6); Cilium restarts
    assert (restart.local_mode, restart.remote_mode) == ("Helper*", "Restart")
    assert restart.n_bit


def test_without_graceful_restart(lab: Lab, quick_peering: Callable[..., Peering]) -> None:
    """The control of the bits above: a peering without it does not offer the capability."""
    lab.peer(quick_peering(restart_time=None))
    node = lab.node("worker1")
    until(
        "a session without Graceful Restart",
        lambda: lab.router().bgp.peer(node.address),
        lambda peer: peer.state == "Established" and peer.graceful_restart.capability != "advertisedAndReceived",
        within=RECONNECT,
        show=lambda peer: f"{peer.state}, {peer.graceful_restart.capability}",
    )
    remote = lab.router().bgp.peer(node.address).graceful_restart.remote_mode
    assert remote in ("Disable", "NotApplicable", "NotReceived")


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_md5(lab: Lab, quick_peering: Callable[..., Peering], password: str) -> None:
    """TCP MD5 (RFC 2385): the right password brings the session up, a wrong one never does."""
    node, router = lab.node("worker1"), lab.router()
    lab.apply([md5_secret("bgp-password", password)])
    with router.configured(
        ["router bgp 64512", *(f"neighbor {n.address} password right" for n in lab.nodes.values())],
        ["router bgp 64512", *(f"no neighbor {n.address} password" for n in lab.nodes.values())],
    ):
        # FRR resets the sessions for the new password, and Cilium for its own
        lab.peer(quick_peering(auth_secret="bgp-password"))
        if password == "right":
            router.wait_established(node.address, within=RECONNECT)
            lab.wait_next_hops(lab.service("web").prefix, lab.nodes, within=RECONNECT)
        else:
            until("the session to end", lambda: router.bgp.peer(node.address).state != "Established", within=RECONNECT)
            steady(
                "no session with a wrong password",
                lambda: router.bgp.peer(node.address).state,
                lambda state: state != "Established",
                window=6,
            )


@pytest.mark.lab(topology="multihop")
@pytest.mark.parametrize("ttl", [10, None])
def test_multihop(lab: Lab, client: Client, quick_peering: Callable[..., Peering], ttl: int | None) -> None:
    """A router one hop behind the gateway is reached with a TTL of 10, and never with eBGP's default of 1."""
    core, node = lab.router("core"), lab.node("worker1")
    address = str(lab.topology.routers["core"].interfaces["transit"].address[0])
    core.wait_established(node.address, within=RECONNECT)  # with the topology's own TTL of 10
    lab.peer(quick_peering(address=address, multihop_ttl=ttl))
    if ttl:
        lab.wait_next_hops(lab.service("web").prefix, lab.nodes, router="core", within=RECONNECT)
        lab.converge()
        assert client.http(lab.service("web").url()).status == 200
    else:
        until("the session to end", lambda: core.bgp.peer(node.address).state != "Established", within=RECONNECT)
        steady(
            "no session with a TTL of 1",
            lambda: core.bgp.peer(node.address).state,
            lambda state: state != "Established",
            window=6,
        )


@pytest.mark.lab(topology="two-routers")
def test_two_instances(lab: Lab, quick_peer: Callable[..., Peer]) -> None:
    """Two BGP instances in each node, each with a router of its own: both announce, also what is new (#34146)."""
    addresses = [str(router.interfaces["servers"].address[0]) for router in lab.topology.routers.values()]
    lab.peer(
        Peering(
            instances=tuple(
                Instance(
                    name=f"instance-{asn}",
                    local_asn=asn,
                    peers=(quick_peer(address=address),),
                    services=EVERY_SERVICE,
                )
                for asn, address in zip((64513, 64514), addresses, strict=True)
            ),
            nodes={"matchLabels": {"io.cilium/bgp": "worker"}},
        )
    )
    second = list(lab.routers.values())[1]
    lines = [f"neighbor {node.address} remote-as {{}}" for node in lab.nodes.values()]
    with second.configured(
        ["router bgp 64512", *(line.format(64514) for line in lines)],
        ["router bgp 64512", *(line.format(64513) for line in lines)],
    ):
        for router in lab.routers:
            lab.wait_next_hops(lab.service("web").prefix, lab.nodes, router=router, within=RECONNECT)
        lab.apply([service("later", app="web")])
        for router in lab.routers:
            lab.wait_next_hops(lab.service("later").prefix, lab.nodes, router=router)


def test_communities(lab: Lab, quick_peering: Callable[..., Peering]) -> None:
    """Standard and large communities (RFC 1997, 8092) arrive on every path."""
    lab.peer(quick_peering(communities=Communities(standard=("64513:100",), large=("64513:1:2",))))
    prefix = lab.service("web").prefix

    def carried() -> set[tuple[str, ...]]:
        route = lab.router().bgp.routes().get(prefix)
        return {(*path.communities, *path.large_communities) for path in route.paths} if route else set()

    until("the communities", carried, lambda seen: seen == {("64513:100", "64513:1:2")}, within=RECONNECT)


def test_local_preference_over_ibgp(lab: Lab, quick_peer: Callable[..., Peer]) -> None:
    """Within one AS the router hears the LOCAL_PREF that the manifest gives."""
    lines = [f"neighbor {node.address} remote-as {{}}" for node in lab.nodes.values()]
    instance = Instance(local_asn=64512, peers=(quick_peer(local_preference=250),), services=EVERY_SERVICE)
    with lab.router().configured(
        ["router bgp 64512", *(line.format(64512) for line in lines)],
        ["router bgp 64512", *(line.format(64513) for line in lines)],
    ):
        lab.peer(Peering(instances=(instance,), nodes={"matchLabels": {"io.cilium/bgp": "worker"}}))
        prefix = lab.service("web").prefix

        def preferences() -> set[int | None]:
            route = lab.router().bgp.routes().get(prefix)
            return {path.local_pref for path in route.paths} if route else set()

        until("LOCAL_PREF 250", preferences, lambda seen: seen == {250}, within=RECONNECT)


@pytest.mark.lab(topology="dual-stack")
def test_ipv6(lab: Lab, client: Client) -> None:
    """The same over IPv6: a /128 in bgpd and the kernel, and an answer."""
    web = lab.service("web")
    six = next(address for address in web.addresses if ":" in address)
    lab.wait_next_hops(f"{six}/128", lab.nodes)
    assert client.http(f"http://[{six}]/").status == 200


def test_both_api_generations_give_the_same_routes(lab: Lab, quick_peering: Callable[..., Peering]) -> None:
    """CiliumBGPPeeringPolicy and CiliumBGPClusterConfig, one after the other, leave the router with equal tables."""
    served = generations(semver.parse(lab.cilium_version))
    if len(served) < 2:
        raise MissingCapability(f"Cilium {lab.cilium_version} serves one generation of the BGP API only: {served[0]}")
    prefix = lab.service("web").prefix
    tables = []
    for generation in served:
        lab.peer(quick_peering(), generation)
        lab.wait_next_hops(prefix, lab.nodes, within=RECONNECT)
        route = lab.router().bgp.routes()[prefix]
        tables.append({(p.next_hop, p.as_path, p.communities, p.origin, p.med) for p in route.paths})
    assert all(table == tables[0] for table in tables[1:]), dict(zip(served, tables, strict=True))
