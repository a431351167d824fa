"""What bgpd, FRR's state, and the Kubernetes API tell, as events."""

from __future__ import annotations

from typing import Any

import pytest

from harness.routing import bmp
from harness.routing.bgp_message import GracefulRestartCapability, NotificationMessage, Open, Update
from harness.timeline import event
from harness.timeline.bgp import BgpWatch, notification_text
from harness.timeline.event import Event
from harness.timeline.kubernetes import ObjectWatch
from harness.timeline.names import Names
from harness.timeline.stamp import Stamp

PEER = "192.168.130.151"
STAMP = Stamp(5_000_000, 100_000)
GRACEFUL = GracefulRestartCapability(r_bit=True, n_bit=True, restart_time=20, f_bit={"ipv4": True, "ipv6": False})


def an_open(graceful: GracefulRestartCapability | None) -> Open:
    return Open(64513, 9, PEER, frozenset({"ipv4"}), graceful, (64,))


def peer_up() -> bmp.PeerUp:
    return bmp.PeerUp(0.0, PEER, 64513, 0.0, "192.168.130.1", 179, 4711, an_open(None), an_open(GRACEFUL))


def peer_down(reason: bmp.Reason, notification: NotificationMessage | None = None, fsm: int | None = None) -> bmp.Event:
    return bmp.PeerDown(0.0, PEER, 64513, 0.0, reason, notification, fsm)


def routes(view: Any, announced: tuple[str, ...] = (), withdrawn: tuple[str, ...] = (), peer: str = PEER) -> bmp.Event:
    update = Update(announced, withdrawn, peer, (64513,), (), None)
    return bmp.RouteChange(0.0, peer, 64513, 0.0, view, update)


class Told:
    """A watch of one router, with the worker's name known."""

    def __init__(self) -> None:
        self.watch = BgpWatch("opnsense", Names({PEER: "worker1"}))

    def __call__(self, what: bmp.Event, at_ns: int = STAMP.at_ns) -> list[Event]:
        return list(self.watch.told(what, Stamp(at_ns, STAMP.resolution_ns)))


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_session_comes_up_with_both_opens(told: Told) -> None:
    sent, received, up = told(peer_up())
    assert (sent.kind, received.kind, up.kind) == (event.OPEN, event.OPEN, event.PEER_UP)
    assert sent.text == "opnsense: OPEN of opnsense: hold time 9 s, no graceful restart"
    assert received.data["direction"] == "received"
    assert received.data["graceful_restart"] == {
        "r_bit": True,
        "n_bit": True,
        "f_bit": {"ipv4": True, "ipv6": False},
        "restart_time": 20,
    }
    assert received.text.endswith("graceful restart 20 s for ipv4 F, ipv6, bits RN")
    assert up.data["hold_time"] == 9
    assert up.data["peer_name"] == "worker1"
    assert (up.at_ns, up.resolution_ns, up.subject, up.source) == (*STAMP, "opnsense", "bmp opnsense")
    assert Event.parse(received.line()) == received


@pytest.mark.parametrize(
    ("what", "text", "data"),
    [
        (
            peer_down("remote notification", NotificationMessage(6, 2, b"")),
            "NOTIFICATION 6/2 Cease/Administrative Shutdown received",
            {"code": 6, "subcode": 2, "hard_reset": False, "direction": "received"},
        ),
        (
            peer_down("local notification", NotificationMessage(4, 0, b"")),
            "NOTIFICATION 4/0 Hold Timer Expired sent",
            {"code": 4, "subcode": 0, "hard_reset": False, "direction": "sent"},
        ),
        (
            peer_down("remote notification", NotificationMessage(6, 9, b"\x06\x03why")),
            "NOTIFICATION 6/9 Cease/Hard Reset (6/3 Cease/Peer De-configured) received",
            {"code": 6, "subcode": 3, "hard_reset": True, "direction": "received"},
        ),
        (peer_down("local, no notification", fsm=18), "its TCP connection failed", {"fsm_event": 18}),
        (peer_down("local, no notification", fsm=0), "the TCP connection ended without a NOTIFICATION", {}),
        (peer_down("local, no notification", fsm=77), "event 77 of RFC 4271 section 8.1", {"fsm_event": 77}),
        (peer_down("remote, no notification"), "worker1 closed the TCP connection without a NOTIFICATION", {}),
    ],
)
def test_why_a_session_went_down(told: Told, what: bmp.Event, text: str, data: dict[str, object]) -> None:
    told(peer_up())
    [down] = told(what)
    assert down.kind == event.PEER_DOWN
    assert down.text == f"opnsense: session with worker1 is down: {text}"
    assert data.items() <= down.data.items()


def test_an_attempt_that_came_to_nothing_is_no_end_of_a_session(told: Told) -> None:
    assert told(peer_down("local, no notification", fsm=0)) == []
    told(peer_up())
    assert len(told(peer_down("remote, no notification"))) == 1
    assert told(peer_down("local, no notification", fsm=0)) == []


def test_unknown_notifications_keep_their_numbers() -> None:
    assert notification_text(NotificationMessage(9, 4, b"")) == "9/4 unknown/unknown"


def test_the_peers_word_and_the_routers_table_are_told_apart(told: Told) -> None:
    [said] = told(routes("mirrored", ("10.0.0.1/32",)))
    [taken] = told(routes("post-policy", ("10.0.0.1/32",)))
    [dropped] = told(routes("post-policy", withdrawn=("10.0.0.1/32",)))
    [withdrawn] = told(routes("mirrored", withdrawn=("10.0.0.1/32",)))
    assert [e.kind for e in (said, taken, dropped, withdrawn)] == [
        event.ANNOUNCE,
        event.ACCEPTED,
        event.DROPPED,
        event.WITHDRAW,
    ]
    assert said.text == "opnsense: worker1 announces 10.0.0.1/32"
    assert said.data["next_hop"] == PEER
    assert dropped.text == "opnsense: 10.0.0.1/32 from worker1 leaves the table"


def test_routes_of_the_router_itself_are_left_out(told: Told) -> None:
    assert told(routes("post-policy", ("10.0.0.0/24",), peer="0.0.0.0")) == []


def test_end_of_rib_is_the_peers_not_bgpds(told: Told) -> None:
    [eor] = told(bmp.EndOfRib(0.0, PEER, 64513, 0.0, "mirrored", "ipv4"))
    assert (eor.kind, eor.data["family"]) == (event.END_OF_RIB, "ipv4")
    assert told(bmp.EndOfRib(0.0, PEER, 64513, 0.0, "post-policy", "ipv4")) == []


def test_a_time_without_bgpd_is_stated(told: Told) -> None:
    assert [e.kind for e in told(bmp.SpeakerUp(0.0, "r", "FRRouting 8.4.4"))] == [event.SPEAKER_UP]
    told(peer_up())
    told(bmp.SpeakerDown(0.0), 1_000_000_000)
    assert told(peer_down("other")) == []
    blind, up = told(bmp.SpeakerUp(0.0, "r", "FRRouting 8.4.4"), 2_500_000_000)
    assert (blind.kind, blind.data) == (event.BLIND, {"from_ns": 1_000_000_000, "to_ns": 2_500_000_000})
    assert up.kind == event.SPEAKER_UP


# -- Kubernetes -----------------------------------------------------------------------------------------------------


def meta(name: str, namespace: str | None = "default", **more: Any) -> dict[str, Any]:
    return {"name": name, "uid": f"uid-{name}", **({"namespace": namespace} if namespace else {}), **more}


def pieces(*endpoints: tuple[str, str, bool, bool], name: str = "web-1") -> dict[str, Any]:
    return {
        "metadata": meta(name, labels={"kubernetes.io/service-name": "web"}),
        "endpoints": [
            {
                "addresses": [address],
                "nodeName": node,
                "conditions": {"ready": ready, "terminating": terminating},
                "targetRef": {"name": f"pod-{address}"},
            }
            for address, node, ready, terminating in endpoints
        ],
    }


def begun(kind: str, *objects: dict[str, Any]) -> ObjectWatch:
    """A watch whose first list held these."""
    watch = ObjectWatch(kind)
    events = [e for obj in objects for e in watch.seen(obj, STAMP)]
    events += watch.list_ends(STAMP)
    assert events == []
    return watch


def texts(events: Any) -> list[str]:
    return [e.text for e in events]


def test_ready_backends_are_counted_over_all_slices() -> None:
    watch = begun("EndpointSlice", pieces(("10.0.0.1", "worker1", True, False)))
    both = list(watch.seen(pieces(("10.0.1.1", "worker2", True, False), name="web-2"), STAMP))
    assert texts(both) == ["default/web has ready backends: worker1 1, worker2 1"]
    assert both[0].data["ready"] == {"worker1": 1, "worker2": 1}
    leaving = watch.seen(pieces(("10.0.0.1", "worker1", False, True)), STAMP)
    assert texts(leaving) == ["default/web has ready backends: worker2 1; terminating: pod-10.0.0.1"]
    assert texts(watch.gone("uid-web-1", STAMP)) == ["default/web has ready backends: worker2 1"]
    assert texts(watch.gone("uid-web-2", STAMP)) == ["default/web has ready backends: none"]


def test_a_slice_whose_readiness_is_left_out_is_ready() -> None:
    watch = begun("EndpointSlice")
    piece = pieces(("10.0.0.1", "worker1", True, False))
    del piece["endpoints"][0]["conditions"]
    assert texts(watch.seen(piece, STAMP)) == ["default/web has ready backends: worker1 1"]
    piece["metadata"]["resourceVersion"] = "2"
    assert texts(watch.seen(piece, STAMP)) == []


def node(ready: str = "True", reason: str = "KubeletReady", **labels: str) -> dict[str, Any]:
    return {
        "metadata": meta("worker1", None, labels=labels),
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": ready, "reason": reason}]},
    }


def test_a_node_becomes_unknown_and_changes_its_labels() -> None:
    watch = begun("Node", node(role="worker"))
    assert texts(watch.seen(node(role="worker", reason="Other"), STAMP)) == []
    assert texts(watch.seen(node("Unknown", "NodeStatusUnknown", role="worker"), STAMP)) == [
        "Node worker1: not Ready (NodeStatusUnknown)"
    ]
    [changed] = watch.seen(node(), STAMP)
    assert changed.text == "Node worker1: Ready; labels without role"
    cordoned = node()
    cordoned["spec"] = {"unschedulable": True, "taints": [{"key": "a/b", "effect": "NoSchedule"}]}
    assert texts(watch.seen(cordoned, STAMP)) == ["Node worker1: taints a/b NoSchedule; is cordoned"]
    assert texts(watch.gone("uid-worker1", STAMP)) == ["Node worker1 is deleted"]


def test_a_service_and_a_pod() -> None:
    service: dict[str, Any] = {
        "metadata": meta("web"),
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"},
    }
    watch = begun("Service")
    made = "Service default/web is made: LoadBalancer, externalTrafficPolicy Cluster"
    assert texts(watch.seen(service, STAMP)) == [made]
    addressed = {**service, "status": {"loadBalancer": {"ingress": [{"ip": "192.168.142.0"}]}}}
    assert texts(watch.seen(addressed, STAMP)) == ["Service default/web: addresses 192.168.142.0"]

    pods = begun("Pod")
    pod: dict[str, Any] = {"metadata": meta("web-abc"), "spec": {"nodeName": "worker1"}, "status": {"phase": "Running"}}
    assert texts(pods.seen(pod, STAMP)) == ["Pod default/web-abc is made"]
    ready = {**pod, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    assert texts(pods.seen(ready, STAMP)) == ["Pod default/web-abc on worker1: ready"]
    assert texts(pods.seen(pod, STAMP)) == ["Pod default/web-abc on worker1: not ready"]
    assert texts(pods.gone("uid-web-abc", STAMP)) == ["Pod default/web-abc is gone"]


def test_what_is_missing_from_a_later_list_was_deleted_meanwhile() -> None:
    watch = begun("Node", node(), {**node(), "metadata": meta("worker2", None)})
    watch.list_begins()
    assert texts(watch.seen(node(), STAMP)) == []
    late = Stamp(9_000_000_000, 3_000_000_000)
    [gone] = watch.list_ends(late)
    assert gone.text == "Node worker2 is deleted"
    assert gone.resolution_ns == 3_000_000_000
