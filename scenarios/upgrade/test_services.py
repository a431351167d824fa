"""What Cilium versions announced wrongly when services change: shared/facts/cilium.md, section 5."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.cilium.peering import EVERY_SERVICE, Instance, Peer, Peering
from harness.lab import Lab
from harness.objects import deployment, service
from harness.wait import until

#: As in test_restart.py, so that both share their labs.
pytestmark = [pytest.mark.lab(timers="manifest")]

#: Seconds for a session that was configured anew: GoBGP's idle hold of 5 s, then its connect delay (cilium.md 3.3).
RECONNECT = 30.0
#: Seconds in which an advertisement that is not meant to be would come: the reconciler is triggered within 0.1 s and
#: retries for 15 s (facts/cilium.md 2.1), but only what has failed.
WINDOW = 3.0
#: The AS of each instance; the first is that of the routers' configuration.
INSTANCES = (64513, 64514)


@pytest.fixture
def two_instances(lab: Lab, quick_peer: Callable[..., Peer]) -> Iterator[None]:
    """Two BGP instances in each node, each with a router of its own."""
    addresses = [str(router.interfaces["servers"].address[0]) for router in lab.topology.routers.values()]
    lab.peer(
        Peering(
            instances=tuple(
                Instance(name=f"as{asn}", local_asn=asn, peers=(quick_peer(address=address),), services=EVERY_SERVICE)
                for asn, address in zip(INSTANCES, addresses, strict=True)
            ),
            nodes={"matchLabels": {"io.cilium/bgp": "worker"}},
        )
    )
    second = list(lab.routers.values())[1]
    lines = [f"neighbor {node.address} remote-as {{}}" for node in lab.nodes.values()]
    with second.configured(
        ["router bgp 64512", *(line.format(INSTANCES[1]) for line in lines)],
        ["router bgp 64512", *(line.format(INSTANCES[0]) for line in lines)],
    ):
        yield


@pytest.mark.gate
@pytest.mark.lab(topology="two-routers")
@pytest.mark.usefixtures("two_instances")
def test_34146_every_instance_hears_of_services(lab: Lab) -> None:
    """1.16.0: of two instances only the first one announced what was made later, and withdrew what was deleted.

    Row 12 of facts/cilium.md 5 (#34146, #33076).
    """
    for router in lab.routers:
        lab.wait_next_hops(lab.service("web").prefix, lab.nodes, router=router, within=RECONNECT)
    lab.apply([service("later", app="web")])
    prefix = lab.service("later").prefix
    for router in lab.routers:
        lab.wait_next_hops(prefix, lab.nodes, router=router)
    lab.cluster.delete("Service", "later")
    for router in lab.routers:
        lab.wait_next_hops(prefix, [], router=router)


@pytest.mark.lab(topology="two-routers")
def test_44803_local_address_from_its_node_only(lab: Lab) -> None:
    """1.19.1 to 1.19.5 are said to announce addresses with externalTrafficPolicy Local from every node.

    Row 28 of facts/cilium.md 5. As reported: two routers, sessions up long before, a service made anew; and once more
    after the backend has moved and after the agents have started anew.
    """
    lab.apply([deployment("game", node="worker1"), service("game", policy="Local")])
    game = lab.service("game")

    def only(node: str) -> None:
        for router in lab.routers:
            lab.wait_next_hops(game.prefix, [node], router=router, within=RECONNECT)
        for router in lab.routers:
            lab.hold_next_hops(game.prefix, [node], router=router, window=WINDOW / 2)

    only("worker1")
    lab.apply([deployment("game", node="worker2")])
    only("worker2")
    for node in lab.nodes.values():
        node.agent.kill()
        node.agent.start()
    for router in lab.routers.values():
        for node in lab.nodes.values():
            router.wait_established(node.address)
    lab.converge()
    only("worker2")


def test_40358_addresses_stay_when_the_operator_restarts(lab: Lab) -> None:
    """Before 1.18.2 an operator that started gave addresses in use to services that were waiting for one.

    Row 35 of facts/cilium.md 5 (#40358, #41122, #43131).
    """
    names = [f"game{number}" for number in range(6)]
    lab.apply([service(name, app="web") for name in names])
    before = {name: lab.service(name).address for name in names}
    lab.operator.kill()
    waiting = [f"early{number}" for number in range(6)]
    lab.apply([service(name, app="web") for name in waiting])
    lab.operator.start()
    until(
        "the waiting services to have addresses",
        lambda: [name for name in waiting if not lab.service(name).addresses],
        lambda left: not left,
        within=RECONNECT,
    )
    after = {name: lab.service(name).address for name in names}
    assert after == before
