"""Which services are announced, and by which nodes."""

from __future__ import annotations

from collections.abc import Callable

from harness.cilium import semver
from harness.cilium.peering import Peering
from harness.lab import Lab
from harness.objects import service
from harness.wait import until

LABEL = "io.cilium/bgp-announce"
#: NOTIFICATION codes (RFC 4271 4.5; RFC 4486; RFC 8538): Cease, Peer De-configured, Hard Reset.
CEASE, PEER_DECONFIGURED, HARD_RESET = 6, 3, 9
#: From here on GoBGP says Hard Reset where Graceful Restart with the N-bit was negotiated (facts/cilium.md 3.2).
HARD_RESET_SINCE = (1, 15, 7)


def test_not_in(lab: Lab, quick_peering: Callable[..., Peering]) -> None:
    """The guide's selector: everything but one label value; services without the label are announced too."""
    lab.peer(quick_peering({"matchExpressions": [{"key": LABEL, "operator": "NotIn", "values": ["secret"]}]}))
    lab.apply([service("open", app="web"), service("secret", app="web", labels={LABEL: "secret"})])
    lab.wait_next_hops(lab.service("open").prefix, lab.nodes)
    lab.hold_next_hops(lab.service("secret").prefix, [], window=2)


def test_in(lab: Lab, quick_peering: Callable[..., Peering]) -> None:
    """Only services with the label value; a service outside the selector has its address and stays silent."""
    lab.peer(quick_peering({"matchExpressions": [{"key": LABEL, "operator": "In", "values": ["public"]}]}))
    lab.apply([service("public", app="web", labels={LABEL: "public"}), service("plain", app="web")])
    lab.wait_next_hops(lab.service("public").prefix, lab.nodes)
    lab.hold_next_hops(lab.service("plain").prefix, [], window=2)


def test_label_of_a_service_decides_at_once(lab: Lab, quick_peering: Callable[..., Peering]) -> None:
    """Adding the label announces, removing it withdraws."""
    lab.peer(quick_peering({"matchLabels": {LABEL: "public"}}))
    lab.apply([service("changing", app="web")])
    prefix = lab.service("changing").prefix
    lab.wait_next_hops(prefix, [])
    lab.cluster.label("Service", "changing", {LABEL: "public"})
    lab.wait_next_hops(prefix, lab.nodes)
    lab.cluster.label("Service", "changing", {LABEL: None})
    lab.wait_next_hops(prefix, [])


def test_no_selector_announces_nothing(lab: Lab, quick_peering: Callable[..., Peering]) -> None:
    """The guide's remark: without a serviceSelector sessions are up and nothing is announced."""
    lab.peer(quick_peering(None))
    prefix = lab.service("web").prefix
    lab.wait_next_hops(prefix, [])
    until(
        "every session up",
        lambda: {peer.state for peer in lab.router().bgp.peers().values()},
        lambda states: states == {"Established"},
        within=20,
    )
    lab.hold_next_hops(prefix, [], window=2)


def test_node_label_brings_the_session_down_and_up(lab: Lab) -> None:
    """A node that loses the label says Cease; its next hop is gone at once, and back with the label.

    Cilium removes the peer (Peer De-configured, 6/3); where Graceful Restart with the N-bit was negotiated newer GoBGP
    turns that into a Hard Reset (6/9), so that the router keeps nothing (RFC 8538; facts/cilium.md 2.5).
    """
    prefix, node = lab.service("web").prefix, lab.node("worker2")
    before = lab.router().bgp.peer(node.address)
    assert before.state == "Established"
    assert before.graceful_restart.n_bit, "the precondition: the N-bit was negotiated"
    node.remove_label("io.cilium/bgp")
    # an older GoBGP's 6/3 leaves the route stale until the restart time is over (20 s)
    lab.wait_next_hops(prefix, ["worker1"], within=30)
    heard = lab.router().bgp.peer(node.address).last_notification
    assert heard is not None, "the session ended without a NOTIFICATION"
    assert heard.direction == "received"
    hard = semver.parse(lab.cilium_version) >= semver.Version(*HARD_RESET_SINCE)
    assert (heard.code, heard.subcode) == (CEASE, HARD_RESET if hard else PEER_DECONFIGURED), heard
    node.add_label("io.cilium/bgp", "worker")
    lab.wait_next_hops(prefix, lab.nodes, within=30)
