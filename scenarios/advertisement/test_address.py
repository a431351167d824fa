"""A Service gets an address, every selected node announces it, and clients behind the router reach it."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.client import Client
from harness.lab import Lab
from harness.objects import deployment, service
from harness.wait import until


@pytest.mark.gate
def test_every_selected_node_is_a_next_hop(lab: Lab) -> None:
    """In bgpd and in the router's kernel, as an exact /32."""
    web = lab.service("web")
    assert web.prefix.endswith("/32")
    lab.wait_next_hops(web.prefix, lab.nodes)


def test_http_answers_and_spreads_over_nodes(lab: Lab, client: Client) -> None:
    """With policy Local the node that answers is the one that the router chose: ECMP must use every next hop."""
    lab.apply([service("spread", app="web", policy="Local")])
    spread = lab.service("spread")
    lab.wait_next_hops(spread.prefix, lab.nodes)
    lab.converge()
    by_node = Counter(answer.node for answer in client.answers(spread.url(), 60))
    # 60 flows over 2 next hops: fewer than 12 on one of them has a probability of 1 in 10^6 with a fair hash
    assert set(by_node) == set(lab.nodes)
    assert min(by_node.values()) >= 12, f"flows by node: {dict(by_node)}"


def test_udp_answers(lab: Lab, client: Client) -> None:
    """A datagram to the address comes back from the address."""
    assert client.udp(lab.service("web").address, 7777, b"are you there?") == b"are you there?"


@pytest.mark.parametrize(("policy", "seen_as_itself"), [("Local", True), ("Cluster", False)])
def test_client_address(lab: Lab, client: Client, policy: str, seen_as_itself: bool) -> None:
    """The pod sees the client's own address with policy Local, and a node's or pod gateway's with Cluster."""
    lab.apply([service("source", app="web", policy=policy)])
    source = lab.service("source")
    lab.wait_next_hops(source.prefix, lab.nodes)
    lab.converge()
    own = str(lab.topology.clients[client.name].address[0])
    # kube-proxy may still have the rules of another service that had this address before
    until(
        f"the pods to see {'' if seen_as_itself else 'another address than '}{own}",
        lambda: {(answer.client or "").rpartition(":")[0] for answer in client.answers(source.url(), 10)},
        lambda seen: (seen == {own}) == seen_as_itself,
        within=5,
    )


def test_deleted_service_is_withdrawn(lab: Lab) -> None:
    """Precondition: it was announced. The withdrawal must empty the kernel too."""
    lab.apply([deployment("gone"), service("gone")])
    prefix = lab.service("gone").prefix
    lab.wait_next_hops(prefix, lab.nodes)
    lab.cluster.delete("Service", "gone")
    lab.wait_next_hops(prefix, [])
    lab.hold_next_hops(prefix, [], window=1)


def test_service_of_another_class_is_silent(lab: Lab) -> None:
    """A loadBalancerClass of somebody else gets no address from LB-IPAM and no route, while its neighbour does."""
    lab.apply([service("foreign", app="web", loadBalancerClass="example.com/other"), service("own", app="web")])
    own = lab.service("own")
    lab.wait_next_hops(own.prefix, lab.nodes)
    before = set(lab.router().bgp.routes())
    assert lab.service("foreign").addresses == []
    lab.hold_next_hops(own.prefix, lab.nodes, window=2)
    assert set(lab.router().bgp.routes()) == before
