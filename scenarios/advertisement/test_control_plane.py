"""Parts of the control plane that are away: what is announced stays announced."""

from __future__ import annotations

import pytest

from harness.client import Client
from harness.lab import Lab
from harness.objects import service
from harness.wait import steady, until

#: Seconds that nothing may happen: longer than the lab's hold time of 9 s, so that a session that was lost shows.
WINDOW = 10
#: Seconds for an operator that was killed to lead again: it waits for the lease of the one before (15 s).
BACK = 40
#: What the operator logs when LB-IPAM has taken over the addresses that services have (operator/pkg/lbipam/lbipam.go).
ALLOCATING = "done initializing"


@pytest.mark.lab(fresh=True)
def test_routes_stay_while_the_api_server_is_away(lab: Lab, client: Client) -> None:
    """Sessions, routes and packets, for longer than the hold time (#33755).

    A lab of its own: every client of the API server backs off up to 30 s before it watches again (client-go), and the
    next scenario should not have to wait for that.
    """
    web = lab.service("web")
    prefix, url = web.prefix, web.url()
    lab.wait_next_hops(prefix, lab.nodes)
    established = {peer.address: peer.established_count for peer in lab.router().bgp.peers().values()}
    lab.api_server.kill()
    lab.hold_next_hops(prefix, lab.nodes, window=WINDOW)
    assert client.http(url).status == 200
    after = {peer.address: peer.established_count for peer in lab.router().bgp.peers().values()}
    assert after == established, "a session was lost and came back"


def test_routes_stay_while_the_operator_is_away(lab: Lab) -> None:
    """What is there stays; what is new gets no address until the operator is back."""
    prefix = lab.service("web").prefix
    lab.wait_next_hops(prefix, lab.nodes)
    lab.operator.kill()
    lab.apply([service("late", app="web")])
    late = lab.service("late")
    steady("no address without an operator", lambda: late.addresses, lambda given: given == [], window=3)
    lab.hold_next_hops(prefix, lab.nodes, window=1)
    # beside a waiting service, operators before 1.18.2 may move addresses when they start (facts/cilium.md 5, row 35)
    lab.cluster.delete("Service", "late")
    starts = lab.operator.log().count(ALLOCATING)
    lab.operator.start()
    until("LB-IPAM to be back", lambda: lab.operator.log().count(ALLOCATING), lambda n: n > starts, within=BACK)
    lab.apply([service("later", app="web")])
    lab.wait_next_hops(lab.service("later").prefix, lab.nodes)
    lab.hold_next_hops(prefix, lab.nodes, window=1)
