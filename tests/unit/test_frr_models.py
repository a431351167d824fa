"""FRR's JSON as typed values, recorded from FRR 8.4.4 by tests/integration/record_frr.py, and the vty's protocol."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from harness.routing import frr
from harness.routing.frr import BgpPath, Notification, Vty, VtyError

RECORDED = Path(__file__).parent / "data" / "frr-8.4.4"


class Recorded:
    """Stands in for `Vty`: answers every command with what was recorded, and notes the commands."""

    def __init__(self, answer: str | dict[str, Any]) -> None:
        self.answer = json.loads((RECORDED / f"{answer}.json").read_text()) if isinstance(answer, str) else answer
        self.asked: list[tuple[str, str]] = []

    def show_json(self, daemon: str, command: str) -> Any:
        self.asked.append((daemon, command))
        return self.answer


def recorded(answer: str | dict[str, Any]) -> Vty:
    return cast(Vty, Recorded(answer))


def peer(name: str, address: str) -> frr.BgpPeer:
    return {peer.address: peer for peer in frr.bgp_peers(recorded(name))}[address]


def test_an_established_session() -> None:
    session = peer("neighbors_established", "10.0.0.2")
    assert session.established
    assert (session.remote_as, session.local_as, session.remote_router_id) == (64513, 64512, "2.2.2.2")
    assert (session.hold, session.keepalive) == (9, 3)
    assert (session.configured_hold, session.configured_keepalive) == (180, 60)
    assert (session.md5, session.ttl, session.description) == (True, 10, "first")
    assert session.prefixes_received == {"ipv4": 1}
    assert session.uptime is not None
    assert session.uptime < 60
    assert session.local_address == "10.0.0.1"
    assert (session.established_count, session.dropped_count) == (1, 0)
    assert (session.last_notification, session.last_reset) == (None, "Waiting for peer OPEN")


def test_graceful_restart_of_an_established_session() -> None:
    gr = peer("neighbors_established", "10.0.0.2").graceful_restart
    assert (gr.local_mode, gr.remote_mode) == ("Helper*", "Restart")
    assert (gr.r_bit, gr.n_bit, gr.f_bit) == (True, True, {"ipv4": True})
    assert gr.capability == "advertisedAndReceived"
    assert gr.negotiated
    assert gr.restart_time == 20
    assert gr.eor_sent == {"ipv4"}
    assert gr.eor_received == {"ipv4"}
    assert (gr.restart_timer, gr.stale_timer) == (None, None)


def test_a_session_that_never_came_up_has_a_graceful_restart_block_but_no_capability() -> None:
    session = peer("neighbors_established", "10.0.0.9")
    assert (session.state, session.hold, session.keepalive, session.uptime) == ("Active", None, None, None)
    assert session.graceful_restart.local_mode == "Helper*"
    assert session.graceful_restart.capability is None
    assert not session.graceful_restart.negotiated
    assert (session.md5, session.ttl, session.local_address) == (False, 1, None)


def test_an_ipv6_session() -> None:
    session = peer("neighbors_established", "fd00::2")
    assert session.prefixes_received == {"ipv6": 1}
    assert session.graceful_restart.f_bit == {"ipv6": True}


def test_a_peer_that_restarts_gracefully() -> None:
    gone = peer("neighbors_stale", "10.0.0.3")
    assert (gone.state, gone.last_reset) == ("Idle", "NSF peer closed the session")
    assert gone.last_notification is None
    gr = gone.graceful_restart
    assert (gr.restart_time, gr.capability) == (20, None)
    assert gr.restart_timer is not None
    assert 10 < gr.restart_timer <= 20
    assert gr.stale_timer is not None
    assert 350 < gr.stale_timer <= 360
    assert peer("neighbors_stale", "10.0.0.2").established


def test_a_notification_received() -> None:
    gone = peer("neighbors_shutdown_received", "10.0.0.2")
    assert gone.last_notification == Notification(6, 2, "Cease/Administrative Shutdown", "received", hard_reset=True)
    assert gone.last_reset == "BGP Notification received"
    assert (gone.established_count, gone.dropped_count) == (1, 1)


def test_a_notification_sent() -> None:
    gone = peer("neighbors_hold_expired", "10.0.0.3")
    assert gone.last_notification == Notification(4, 0, "Hold Timer Expired", "sent", hard_reset=False)


def test_a_neighbor_that_is_shut_down_here() -> None:
    session = peer("neighbors_shutdown_sent", "fd00::2")
    assert (session.shut_down, session.last_reset) == (True, "Admin. shutdown")
    assert not peer("neighbors_shutdown_sent", "10.0.0.2").shut_down


def test_one_peer_is_asked_for_alone() -> None:
    vty = Recorded("neighbors_established")
    assert frr.bgp_peer(cast(Vty, vty), "10.0.0.2") == peer("neighbors_established", "10.0.0.2")
    assert vty.asked == [("bgpd", "show bgp neighbors 10.0.0.2 json")]


def test_no_such_neighbor_and_no_bgp_at_all() -> None:
    assert frr.bgp_peer(recorded({"bgpNoSuchNeighbor": True}), "10.0.0.2") is None
    assert frr.bgp_peers(recorded({"warning": "Default BGP instance not found"})) == []


def test_both_paths_of_a_route() -> None:
    (route,) = frr.bgp_routes(recorded("routes_ipv4"))
    assert route.prefix == "192.168.142.1/32"
    assert route.next_hops == {"10.0.0.2", "10.0.0.3"}
    best = BgpPath(
        next_hop="10.0.0.2",
        link_local=None,
        peer="10.0.0.2",
        as_path=(64513,),
        local_pref=None,
        med=0,
        communities=("64513:7", "64513:8"),
        large_communities=("64513:1:2",),
        origin="IGP",
        stale=False,
        valid=True,
        best=True,
        multipath=True,
    )
    assert route.paths == (replace(best, next_hop="10.0.0.3", peer="10.0.0.3", best=False), best)


def test_a_stale_path_is_still_used() -> None:
    (route,) = frr.bgp_routes(recorded("routes_stale"))
    assert {path.peer: path.stale for path in route.paths} == {"10.0.0.3": True, "10.0.0.2": False}


def test_an_ipv6_path_has_both_next_hops() -> None:
    vty = Recorded("routes_ipv6")
    (route,) = frr.bgp_routes(cast(Vty, vty), "ipv6")
    assert vty.asked == [("bgpd", "show bgp ipv6 unicast json detail")]
    (path,) = route.paths
    assert path.next_hop == "fd00::2"
    assert path.link_local is not None
    assert path.link_local.startswith("fe80::")
    assert route.next_hops == {"fd00::2"}


def test_frr_10_lists_paths_in_an_object() -> None:
    path = {
        "aspath": {"segments": [{"type": "as-sequence", "list": [64513, 64514]}]},
        "origin": "incomplete",
        "locPrf": 200,
        "valid": True,
        "bestpath": {"overall": True},
        "multipath": True,
        "nexthops": [{"ip": "10.0.0.2", "afi": "ipv4", "used": True}],
        "peer": {"peerId": "0.0.0.0"},
    }
    (route,) = frr.bgp_routes(recorded({"routes": {"10.0.0.0/8": {"prefix": "10.0.0.0/8", "paths": [path]}}}))
    (own,) = route.paths
    assert (own.peer, own.as_path, own.local_pref, own.best, own.multipath) == (None, (64513, 64514), 200, True, True)


def test_what_a_peer_sent() -> None:
    assert frr.adj_rib_in(recorded("received_routes"), "10.0.0.2") == {"192.168.142.1/32": "10.0.0.2"}


def test_what_a_peer_sent_is_not_kept_without_soft_reconfiguration() -> None:
    answer = {"warning": "Inbound soft reconfiguration not enabled"}
    with pytest.raises(VtyError, match="Inbound soft reconfiguration not enabled"):
        frr.adj_rib_in(recorded(answer), "10.0.0.2")


def test_zebras_table() -> None:
    routes = {route.prefix: route for route in frr.rib(recorded("rib_ipv4"))}
    learned = routes["192.168.142.1/32"]
    assert (learned.protocol, learned.distance, learned.selected, learned.installed) == ("bgp", 20, True, True)
    assert "10.0.0.2" in learned.fib_next_hops
    connected = routes["10.0.0.0/24"]
    assert (connected.protocol, connected.fib_next_hops) == ("connected", frozenset())
    assert [(hop.address, hop.interface) for hop in connected.next_hops] == [(None, "vlan0130")]
    vty = Recorded("rib_ipv6")
    assert "fd01::1/128" in {route.prefix for route in frr.rib(cast(Vty, vty), "ipv6")}
    assert vty.asked == [("zebra", "show ipv6 route json")]


@contextmanager
def bgpd(socket_path: Path, *connections: list[bytes]) -> Iterator[None]:
    """A daemon's socket that answers the n-th connection with a script of raw answers, one for each command."""

    def serve() -> None:
        for answers in connections:
            connection, _ = listener.accept()
            with connection:
                for answer in [b"\0\0\0\0", *answers]:  # the first command is `enable`
                    connection.recv(4096)
                    for byte in answer:
                        connection.sendall(bytes([byte]))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path))
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(5)
        assert not thread.is_alive()


def test_an_answer_may_come_in_pieces(tmp_path: Path) -> None:
    answers = [b'{"a": 1}\n\0\0\0\0', b"\0\0\0\1"]
    with bgpd(tmp_path / "bgpd.vty", answers), Vty(tmp_path) as vty:
        assert vty.show_json("bgpd", "show x") == {"a": 1}
        assert vty.run("bgpd", "show y") == ""


def test_a_refused_command_tells_frrs_words(tmp_path: Path) -> None:
    refusal = b"% [BGP] Unknown command: show z\n\0\0\0\2"
    with (
        bgpd(tmp_path / "bgpd.vty", [refusal]),
        Vty(tmp_path) as vty,
        pytest.raises(VtyError, match=r"bgpd refused 'show z' with code 2: % \[BGP\] Unknown command") as error,
    ):
        vty.run("bgpd", "show z")
    assert (error.value.daemon, error.value.command, error.value.code) == ("bgpd", "show z", 2)


def test_a_restarted_daemon_is_connected_to_again(tmp_path: Path) -> None:
    with bgpd(tmp_path / "bgpd.vty", [b"one\0\0\0\0"], [b"two\0\0\0\0"]), Vty(tmp_path) as vty:
        assert vty.run("bgpd", "show x") == "one"
        assert vty.run("bgpd", "show x") == "two"


def test_a_daemon_that_does_not_run_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Vty(tmp_path).run("bgpd", "show x")


def test_a_folder_whose_name_is_too_long_for_a_socket_address(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    (tmp_path / "s").symlink_to(deep)
    with bgpd(tmp_path / "s" / "bgpd.vty", [b"ok\0\0\0\0"]), Vty(deep) as vty:
        assert vty.run("bgpd", "show x") == "ok"
