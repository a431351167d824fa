"""What a session has negotiated, asserted before anything is done to it; a failure names the broken link.

A test of graceful restart passes for nothing when it was never negotiated (shared/facts/anchors.md, section 8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.verdict.predict import BgpTimers

if TYPE_CHECKING:
    from harness.lab import Lab
    from harness.routing.frr import BgpPeer


def graceful(lab: Lab, router: str, node: str) -> BgpTimers:
    """Assert that a router keeps a node's routes while its agent restarts: both advertised it, the router helps.

    Also the N-bit (RFC 8538), which every Cilium sets: without it an expired hold timer would end what is kept.

    Returns:
        The negotiated timers.

    Raises:
        AssertionError: "broken link: session of worker1 with both: ...".
    """
    peer = lab.router(router).bgp.peer(lab.node(node).address)
    found = peer.graceful_restart
    want = ("advertisedAndReceived", "Helper*", "Restart", True)
    have = (found.capability, found.local_mode, found.remote_mode, found.n_bit)
    if have != want:
        raise AssertionError(_broken(router, node, "graceful restart was not negotiated", peer))
    if peer.hold is None or peer.keepalive is None or found.restart_time is None:
        raise AssertionError(_broken(router, node, "the timers of the session are not known", peer))
    return BgpTimers(peer.hold, peer.keepalive, found.restart_time, connect_retry=1)


def plain(lab: Lab, router: str, node: str) -> None:
    """Assert that a router does not keep a node's routes: the twin, without which the protected case proves nothing.

    Raises:
        AssertionError: when graceful restart was negotiated.
    """
    peer = lab.router(router).bgp.peer(lab.node(node).address)
    if peer.graceful_restart.negotiated or not peer.established:
        raise AssertionError(_broken(router, node, "graceful restart was negotiated, or the session is down", peer))


def _broken(router: str, node: str, what: str, peer: BgpPeer) -> str:
    found = peer.graceful_restart
    return (
        f"broken link: session of {node} with {router}: {what}: capability {found.capability}, router "
        f"{found.local_mode}, node {found.remote_mode}, N-bit {found.n_bit}; state {peer.state}, hold {peer.hold} s"
    )
