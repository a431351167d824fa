"""A bgpd without BMP: what two looks at its state say has happened between them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from harness.routing import frr
from harness.routing.frr import BgpPeer, Vty
from harness.timeline import event
from harness.timeline.bgp_polled import Comparison
from harness.timeline.event import Event
from harness.timeline.names import Names

DATA = Path(__file__).parent / "data" / "frr-8.4.4"
MS = 1_000_000
ROUTES = {("192.168.142.1/32", "10.0.0.2"): "10.0.0.2"}


class Recorded:
    """Answers as the real bgpd did."""

    def __init__(self, name: str) -> None:
        self._answer = json.loads((DATA / name).read_text())

    def show_json(self, daemon: str, command: str) -> Any:
        assert daemon == "bgpd"
        return self._answer


def peers(name: str) -> list[BgpPeer]:
    every = frr.bgp_peers(cast(Vty, Recorded(f"neighbors_{name}.json")))
    return [peer for peer in every if peer.address == "10.0.0.2"]


def begun(name: str, routes: dict[tuple[str, str], str]) -> Comparison:
    compare = Comparison("opnsense", Names({peers(name)[0].address: "worker1"}))
    assert list(compare.look(peers(name), routes, 0, MS)) == [], "the first look is where things start"
    return compare


def kinds(events: list[Event]) -> list[str]:
    return [each.kind for each in events]


def test_a_session_that_the_peer_shuts_down() -> None:
    address = peers("established")[0].address
    compare = begun("established", {("192.168.142.1/32", address): address})
    events = list(compare.look(peers("shutdown_received"), {}, 20 * MS, 21 * MS))
    assert kinds(events) == [event.PEER_DOWN, event.DROPPED]
    down = events[0]
    assert "NOTIFICATION 6/2 Cease/Administrative Shutdown received" in down.text
    assert (down.data["code"], down.data["subcode"], down.data["peer_name"]) == (6, 2, "worker1")
    # it may have happened since the question before
    assert (down.at_ns, down.resolution_ns) == (21 * MS, 21 * MS)


def test_a_session_that_comes_up_says_what_its_open_did() -> None:
    compare = begun("shutdown_received", {})
    events = list(compare.look(peers("established"), ROUTES, 20 * MS, 21 * MS))
    assert kinds(events)[:2] == [event.OPEN, event.PEER_UP]
    assert event.ACCEPTED in kinds(events)
    assert [each.data["family"] for each in events if each.kind == event.END_OF_RIB] == ["ipv4"]
    assert events[0].data["graceful_restart"]["n_bit"] is True
    assert list(compare.look(peers("established"), ROUTES, 40 * MS, 41 * MS)) == []


def test_a_session_that_was_away_between_two_looks() -> None:
    before = peers("established")
    [again] = [BgpPeer(**{**vars(peer), "established_count": peer.established_count + 1}) for peer in before]
    compare = begun("established", ROUTES)
    events = list(compare.look([again], ROUTES, 20 * MS, 21 * MS))
    assert kinds(events)[:3] == [event.PEER_DOWN, event.OPEN, event.PEER_UP]


def test_what_is_unchanged_makes_the_next_event_more_exact() -> None:
    compare = begun("established", ROUTES)
    compare.unchanged(500 * MS)
    events = list(compare.look(peers("established"), {}, 515 * MS, 516 * MS))
    assert kinds(events) == [event.DROPPED]
    assert events[0].resolution_ns == 16 * MS


def test_a_bgpd_that_does_not_answer() -> None:
    compare = begun("established", ROUTES)
    assert kinds(list(compare.away(20 * MS))) == [event.SPEAKER_DOWN]
    assert list(compare.away(40 * MS)) == []
    events = list(compare.look(peers("established"), ROUTES, 60 * MS, 61 * MS))
    assert kinds(events)[:2] == [event.BLIND, event.SPEAKER_UP]
    assert event.PEER_UP in kinds(events)
    assert events[0].data == {"from_ns": 0, "to_ns": 61 * MS}


def test_a_bgpd_that_was_never_there_is_not_missed() -> None:
    compare = Comparison("opnsense", Names({}))
    assert list(compare.away(MS)) == []
