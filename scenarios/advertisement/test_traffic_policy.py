"""externalTrafficPolicy Local: only nodes with a ready backend are next hops, and the routes follow the backends."""

from __future__ import annotations

import pytest

from harness.client import Client
from harness.lab import Lab
from harness.objects import deployment, service
from harness.wait import until


@pytest.mark.gate
def test_local_only_where_ready_backends_are(lab: Lab, client: Client) -> None:
    """One pod, pinned to one node: that node alone, for a whole window, and it answers."""
    lab.apply([deployment("game", node="worker1"), service("game", policy="Local")])
    game = lab.service("game")
    lab.wait_next_hops(game.prefix, ["worker1"])
    lab.hold_next_hops(game.prefix, ["worker1"], window=2)
    lab.converge()
    assert {answer.node for answer in client.answers(game.url(), 10)} == {"worker1"}


def test_cluster_wherever_backends_are(lab: Lab) -> None:
    """The control: the same pod behind policy Cluster is announced by every node."""
    lab.apply([deployment("game", node="worker1"), service("game", policy="Cluster")])
    lab.wait_next_hops(lab.service("game").prefix, lab.nodes)


def test_local_follows_a_moved_backend(lab: Lab) -> None:
    """The pod is moved to the other node by its Deployment."""
    lab.apply([deployment("game", node="worker1"), service("game", policy="Local")])
    prefix = lab.service("game").prefix
    lab.wait_next_hops(prefix, ["worker1"])
    lab.apply([deployment("game", node="worker2")])
    lab.wait_next_hops(prefix, ["worker2"])


def test_local_follows_readiness(lab: Lab) -> None:
    """A pod that turns unready takes its node's route with it, and brings it back when it is ready again."""
    lab.apply([deployment("game", node="worker1"), service("game", policy="Local")])
    game = lab.service("game")
    lab.wait_next_hops(game.prefix, ["worker1"])
    pod = f"default/{game.ready_backends()[0].pod}"
    lab.node("worker1").set_ready(pod, False)
    lab.wait_next_hops(game.prefix, [])
    lab.node("worker1").set_ready(pod, True)
    lab.wait_next_hops(game.prefix, ["worker1"])


def test_local_without_backends_is_withdrawn_and_cluster_is_not(lab: Lab) -> None:
    """Scaled to nothing: Local has no next hop; Cluster keeps them, as Cilium does by default (facts/cilium.md 2.2)."""
    lab.apply([deployment("game"), service("local", app="game", policy="Local"), service("cluster", app="game")])
    local, cluster = lab.service("local"), lab.service("cluster")
    lab.wait_next_hops(cluster.prefix, lab.nodes)
    until("one next hop", lambda: lab.next_hops(local.prefix), lambda hops: len(hops.kernel) == 1, within=15, show=str)
    lab.cluster.scale("Deployment", "game", 0)
    lab.wait_next_hops(local.prefix, [])
    lab.hold_next_hops(cluster.prefix, lab.nodes, window=2)
