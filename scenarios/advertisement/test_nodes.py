"""Nodes that are drained, cordoned or not ready: which routes move, and which do not."""

from __future__ import annotations

from harness.lab import Lab
from harness.objects import deployment, service
from harness.wait import until


def test_drain_moves_local_and_keeps_cluster(lab: Lab) -> None:
    """Cilium looks at backends, not at cordons (facts/cilium.md 2.2): a drain moves policy Local by its pods only."""
    lab.apply([deployment("game"), service("local", app="game", policy="Local"), service("cluster", app="game")])
    local, cluster = lab.service("local"), lab.service("cluster")
    lab.wait_next_hops(cluster.prefix, lab.nodes)
    hops = until("one next hop", lambda: lab.next_hops(local.prefix), lambda h: len(h.kernel) == 1, within=15, show=str)
    (before,) = hops.kernel
    (after,) = set(lab.nodes) - {before}
    lab.node(before).drain()
    lab.wait_next_hops(local.prefix, [after])
    lab.hold_next_hops(cluster.prefix, lab.nodes, window=2)


def test_cordon_alone_changes_nothing(lab: Lab) -> None:
    """The control of the drain."""
    lab.apply([deployment("game", node="worker1"), service("local", app="game", policy="Local")])
    prefix = lab.service("local").prefix
    lab.wait_next_hops(prefix, ["worker1"])
    lab.node("worker1").cordon()
    lab.hold_next_hops(prefix, ["worker1"], window=3)


def test_not_ready_node_keeps_its_cluster_route(lab: Lab) -> None:
    """A kubelet that falls silent: after the grace period its pods are no backends any more, so policy Local leaves.

    Policy Cluster does not look at the node. The pod itself runs on all the while.
    """
    lab.apply([deployment("game", node="worker1"), service("local", app="game", policy="Local")])
    prefix, web = lab.service("local").prefix, lab.service("web").prefix
    lab.wait_next_hops(prefix, ["worker1"])
    grace = lab.topology.cluster.node_monitor_grace_seconds
    lab.node("worker1").kubelet.kill()
    lab.wait_next_hops(prefix, [], within=grace + 15)
    lab.hold_next_hops(web, lab.nodes, window=2)
    lab.node("worker1").kubelet.start()
    lab.wait_next_hops(prefix, ["worker1"])
