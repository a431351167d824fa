"""LB-IPAM: which address a Service gets, when it gets none, and when two share one."""

from __future__ import annotations

from harness.client import Client
from harness.lab import Lab
from harness.objects import deployment, pool, service
from harness.observe import conditions

#: Where lblab's topologies have their pool; the lab's own services come from it.
SATISFIED = "cilium.io/IPAMRequestSatisfied"
ONLY = {"matchLabels": {"pool": "tiny"}}


def test_exhausted_pool(lab: Lab) -> None:
    """A pool of one address and two services: the second gets none, says why, and is not announced."""
    lab.apply([pool("tiny", "192.168.143.8/32", version=lab.cilium_version, selector=ONLY)])
    # the lab's own pool selects every service: only a requested address makes them wait for the tiny one
    wanted = {"lbipam.cilium.io/ips": "192.168.143.8", "io.cilium/lb-ipam-ips": "192.168.143.8"}
    labels = {"pool": "tiny"}
    lab.apply([service("first", app="web", labels=labels, annotations=wanted)])
    first = lab.service("first")
    assert first.address == "192.168.143.8"
    lab.apply([service("second", app="web", labels=labels, annotations=wanted)])
    second = lab.service("second")
    second.wait(lambda s: conditions(s).get(SATISFIED, {}).get("status") == "False", "to be refused an address")
    assert second.addresses == []
    lab.wait_next_hops(first.prefix, lab.nodes)
    lab.hold_next_hops(first.prefix, lab.nodes, window=1)


def test_conflicting_pools(lab: Lab) -> None:
    """Of two overlapping pools the newer one is disabled and says so; addresses still come from the older."""
    lab.apply([pool("older", "192.168.144.0/30", version=lab.cilium_version)])
    # creationTimestamp has whole seconds, and decides which pool is the older one
    lab.hold_next_hops(lab.service("web").prefix, lab.nodes, window=1.1)
    lab.apply([pool("newer", "192.168.144.0/29", version=lab.cilium_version)])
    lab.cluster.wait(
        "CiliumLoadBalancerIPPool",
        "newer",
        lambda p: p is not None and conditions(p).get("cilium.io/PoolConflict", {}).get("status") == "True",
        within=10,
        what="the newer pool to say that it conflicts",
    )
    older = lab.cluster.get("CiliumLoadBalancerIPPool", "older")
    assert conditions(older).get("cilium.io/PoolConflict", {}).get("status") != "True"


def test_requested_address(lab: Lab, client: Client) -> None:
    """An address asked for by annotation is the one that is announced and answers."""
    wanted = "192.168.142.77"
    asked = {"lbipam.cilium.io/ips": wanted, "io.cilium/lb-ipam-ips": wanted}
    lab.apply([service("asking", app="web", annotations=asked)])
    asking = lab.service("asking")
    assert asking.address == wanted
    lab.wait_next_hops(f"{wanted}/32", lab.nodes)
    lab.converge()
    assert client.http(asking.url()).status == 200


def test_shared_address(lab: Lab, client: Client) -> None:
    """Two services with one sharing key and different ports have one address; it stays while one of them lives."""
    key = {"lbipam.cilium.io/sharing-key": "game", "io.cilium/lb-ipam-sharing-key": "game"}
    lab.apply(
        [
            deployment("game"),
            service("one", app="game", ports=(8001,), annotations=key),
            service("two", app="game", ports=(8002,), annotations=key),
        ]
    )
    one, two = lab.service("one"), lab.service("two")
    assert one.address == two.address
    lab.wait_next_hops(one.prefix, lab.nodes)
    lab.converge()
    assert client.http(one.url(8001)).status == client.http(two.url(8002)).status == 200
    prefix = one.prefix
    lab.cluster.delete("Service", "one")
    lab.hold_next_hops(prefix, lab.nodes, window=2)
    assert client.http(two.url(8002)).status == 200
    lab.cluster.delete("Service", "two")
    lab.wait_next_hops(prefix, [])
