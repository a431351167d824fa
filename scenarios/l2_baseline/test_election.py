"""Who answers for an address: sha256(node#address) among the nodes that may, worked out by every speaker for itself."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from harness.cluster import Obj
from harness.lab import Lab
from harness.metallb import election
from harness.metallb.expected import EXCLUDED
from harness.objects import deployment, service
from harness.wait import steady, until

pytestmark = [pytest.mark.lab(topology="metallb-l2")]

SPEAKERS = ("worker1", "worker2", "worker3")
#: Addresses of the pool; their leaders differ, which the first scenario checks.
ADDRESSES = tuple(f"192.168.130.{last}" for last in range(201, 207))


def at(address: str, name: str, *, app: str = "web", annotations: Mapping[str, str] | None = None, **more: Any) -> Obj:
    """A Service at a given address."""
    asked = {"metallb.io/loadBalancerIPs": address, **(annotations or {})}
    return service(name, app=app, annotations=asked, **more)


def test_the_leader_is_the_formulas(lab: Lab) -> None:
    """Each address is answered for by the node with the least hash; ServiceL2Status says the same."""
    wanted = {address: election.leader(address, SPEAKERS) for address in ADDRESSES}
    assert len(set(wanted.values())) == len(SPEAKERS), "one leader for all of them would prove nothing"
    lab.apply([at(address, f"web-{place}") for place, address in enumerate(ADDRESSES)])
    lab.converge()
    assert {address: lab.l2.ask(address) for address in ADDRESSES} == wanted
    for place, address in enumerate(ADDRESSES):
        until(
            f"a ServiceL2Status of web-{place} at {wanted[address]}",
            partial(lab.l2.announced_by, f"web-{place}"),
            partial(operator.eq, {wanted[address]}),
            within=10,
        )


def test_policy_local_leaves_only_nodes_with_a_backend(lab: Lab) -> None:
    """The last in line leads when it alone has a ready backend; with policy Cluster the first in line does."""
    address = ADDRESSES[0]
    first, *_, last = election.ranking(address, SPEAKERS)
    lab.apply([deployment("game", node=last), at(address, "game", app="game", policy="Local")])
    lab.converge()
    assert lab.l2.ask(address) == last
    lab.apply([at(address, "game", app="game", policy="Cluster")])
    lab.l2.wait_owner(address, first)
    lab.converge()


def test_shared_address_has_one_leader(lab: Lab) -> None:
    """Two Services that share an address land on the same node, whatever they are called; both answer there."""
    address = ADDRESSES[1]
    shared = {"metallb.io/allow-shared-ip": "key"}
    lab.apply(
        [at(address, "one", ports=(8001,), annotations=shared), at(address, "two", ports=(8002,), annotations=shared)]
    )
    lab.converge()
    assert [lab.service(name).addresses for name in ("one", "two")] == [[address], [address]]
    leader = election.leader(address, SPEAKERS)
    assert lab.l2.ask(address) == leader
    for port in (8001, 8002):
        assert lab.client().http(f"http://{address}:{port}/").status == 200
    until(
        "both to be announced there",
        lambda: [lab.l2.announced_by(n) for n in ("one", "two")],
        lambda found: found == [{leader}] * 2,
        within=10,
    )
    # the control: without the annotation a second Service does not get the address
    lab.apply([at(address, "three", ports=(8003,))])
    steady(
        "no address for the third", lambda: lab.service("three").addresses, lambda found: not found, window=2, every=0.1
    )


def test_nobody_answers_without_a_backend(lab: Lab) -> None:
    """No ready endpoint, no answer: the router asks and nobody is there; with one there is."""
    address = "192.168.130.211"  # that nobody has used: a router keeps what it knows
    lab.apply([deployment("empty", replicas=0), at(address, "empty", app="empty")])
    assert lab.service("empty").address == address
    lab.converge()
    assert lab.l2.ask(address) is None
    lab.cluster.scale("Deployment", "empty", 1)
    leader = election.leader(address, SPEAKERS)
    until("the leader to answer", lambda: lab.l2.ask(address), lambda owner: owner == leader, within=15, every=0.1)


def test_an_excluded_node_is_no_candidate(lab: Lab) -> None:
    """The label exclude-from-external-load-balancers hands the leader's addresses over, and gives them back."""
    address = lab.service("web").address
    first, second, _ = election.ranking(address, SPEAKERS)
    assert lab.l2.ask(address) == first
    lab.node(first).add_label(EXCLUDED, "")
    lab.l2.wait_owner(address, second)
    assert lab.l2.leader(address) == second
    lab.node(first).remove_label(EXCLUDED)
    lab.l2.wait_owner(address, first)
