"""What a lab's timeline tells: each mechanism by its events, and never by the faults that made it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.diagnose import from_timeline
from harness.diagnose.decide import Diagnosis, diagnose
from harness.diagnose.entries import ENTRIES
from harness.diagnose.episodes import Episode, period
from harness.diagnose.load import Given, load
from harness.diagnose.observed import Sees
from harness.lag.mechanisms import Mechanism
from harness.site.exposure import exposures
from harness.site.model import Site
from harness.timeline import event, journal
from harness.timeline.event import Event
from harness.timeline.timeline import Timeline

VIP, S = "192.168.130.200", 1_000_000_000
NODES = ["node1", "node2", "storage"]
MAC = {"node1": "02:00:00:00:00:51", "node2": "02:00:00:00:00:52", "rogue": "02:00:00:00:00:99"}


class Story:
    """A timeline in the making; seconds."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def tell(self, when: float, kind: str, subject: str, text: str = "", **data: Any) -> Story:
        self.events.append(Event(int(when * S), "story", kind, subject, text, 1_000_000, data))
        return self

    def probe(self, name: str, port: int, *gaps: tuple[float, float, dict[str, int]], **more: Any) -> Story:
        """A probe from 0 to 300 s with these gaps: begin, end, packets lost by direction, and what else is known."""
        address = more.pop("address", VIP)
        for begin, end, directions in gaps:
            way = next(iter(directions)) if len(directions) == 1 else "mixed"
            self.tell(
                begin, event.OUTAGE_BEGIN, name, begin_ns=int(begin * S), end_ns=int(end * S), flow=0,
                direction=way, directions=directions, interval=20_000_000, **more,
            )  # fmt: skip
        return self.tell(
            300, event.PROBED, name, address=address, port=port, flows=1, interval_ns=20_000_000, nodes=NODES,
            node=name if name in NODES else None, began_ns=0, ended_ns=300 * S,
        )  # fmt: skip

    def arp(self, at: float, kind: str, who: str = "", before: str = "") -> Story:
        data = {"address": VIP, "mac": MAC.get(who, ""), "at": who}
        data |= {"from": before} if before else {}
        return self.tell(at, kind, "opnsense", f"{kind} {who}", **data)

    def announced(self, at: float, who: str) -> Story:
        return self.tell(at, event.ARP_ANNOUNCED, "opnsense", f"{who} announces", address=VIP, mac=MAC[who], node=who)

    def moved(self, at: float, before: str, who: str, *, announced: bool = True) -> Story:
        if announced:
            self.announced(at, who)
        return self.arp(at, event.ARP_MOVED, who, before)

    def timeline(self) -> Timeline:
        return Timeline(self.events)


def begun() -> Story:
    return Story().arp(0, event.ARP_ASKED).arp(0.001, event.ARP_LEARNED, "node1")


LOST = {"up": 100}


def two_announcers() -> Story:
    story = begun().probe("game", 7777, (100, 130, LOST)).probe("sidecar", 7778).probe("node1", 9, address="n1")
    story.arp(99.999, event.ARP_VERIFY, "node1").moved(100, "node1", "node2", announced=False)
    return story.moved(130, "node2", "node1", announced=False)


def speaker_stall() -> Story:
    story = begun().probe("game", 7777, (106, 130, LOST), unknown_peer=50).probe("sidecar", 7778)
    story.tell(104, event.LOG, "node2/metallb-speaker", "memberlist: Suspect node1 has failed, no acks received")
    return story.moved(106, "node1", "node2").moved(130, "node2", "node1")


def arp_unanswered() -> Story:
    story = begun().probe("game", 7777, (101, 125, LOST)).probe("sidecar", 7778, (101, 125, LOST))
    for second in range(5):
        story.arp(96 + second, event.ARP_VERIFY, "node1")
    return story.arp(101, event.ARP_EXPIRED, before="node1").arp(125, event.ARP_LEARNED, "node1")


def garp_lost() -> Story:
    story = begun().probe("game", 7777, (60, 96, LOST)).probe("node1", 9, (60, 300, LOST), address="n1")
    return story.arp(95.999, event.ARP_VERIFY, "node1").moved(96, "node1", "node2", announced=False)


def split_brain() -> Story:
    story = begun().probe("game", 7777, (100, 140, LOST)).probe("node1", 9, (100, 140, LOST), address="n1")
    for round_ in range(4):
        story.moved(106 + 2 * round_, "node1", "node2").moved(107 + 2 * round_, "node2", "node1")
    return story


def lease_lost() -> Story:
    story = begun().probe("game", 7777, (100, 116, LOST))
    story.tell(116, event.LEASE, "kube-system/cilium-l2announce-default-game", "Lease is held by node2", holder="node2")
    return story.moved(116.01, "node1", "node2")


def stale_reply_path() -> Story:
    story = (
        begun().probe("game", 7777, (100, 110, {"down": 99, "up": 1})).probe("sidecar", 7778, (100, 110, {"down": 9}))
    )
    return story.tell(
        109.9, event.NEIGHBOUR, "node1", "node1: neighbour opnsense is FAILED", who="opnsense", state="FAILED"
    )


def duplicate_address() -> Story:
    return begun().probe("game", 7777, (100, 130, LOST)).moved(100, "node1", "rogue").moved(130, "rogue", "node1")


def early_return() -> Story:
    story = begun().probe("game", 7777, (150, 151, LOST)).probe("sidecar", 7778, (150, 151, LOST))
    return story.moved(50, "node1", "node2").moved(150, "node2", "node1")


def server_stall() -> Story:
    story = begun().probe("game", 7777, (100, 110, {"late": 400}), server_stalled_ns=10 * S)
    return story.probe("sidecar", 7778).probe("node1", 9, address="n1")


def link_flap() -> Story:
    story = begun().probe("game", 7777, (100, 130, LOST)).probe("node1", 9, (100, 130, LOST), address="n1")
    return story.tell(100, event.LINK_DOWN, "node1", "node1's link has no carrier", port="node1's link")


STORIES: dict[Mechanism, Callable[[], Story]] = {
    Mechanism.TWO_ANNOUNCERS: two_announcers,
    Mechanism.SPEAKER_STALL: speaker_stall,
    Mechanism.ARP_UNANSWERED: arp_unanswered,
    Mechanism.GARP_LOST: garp_lost,
    Mechanism.SPLIT_BRAIN: split_brain,
    Mechanism.LEASE_LOST: lease_lost,
    Mechanism.STALE_REPLY_PATH: stale_reply_path,
    Mechanism.DUPLICATE_ADDRESS: duplicate_address,
    Mechanism.EARLY_RETURN: early_return,
    Mechanism.SERVER_STALL: server_stall,
    Mechanism.LINK_FLAP: link_flap,
}


def answer(story: Story) -> Diagnosis:
    (found,) = diagnose(from_timeline.observe(story.timeline(), "story"))
    assert found.address == VIP
    return found


def test_every_mechanism_has_an_entry_a_story_and_a_judgement_of_sites() -> None:
    assert {entry.mechanism for entry in ENTRIES} == set(Mechanism)
    assert len(ENTRIES) == len(Mechanism)
    assert set(STORIES) == set(Mechanism)
    assert {each.mechanism for each in exposures(Site())} == set(Mechanism)


@pytest.mark.parametrize("mechanism", Mechanism, ids=lambda mechanism: mechanism.value)
def test_its_events_tell(mechanism: Mechanism) -> None:
    found = answer(STORIES[mechanism]())
    assert found.mechanism is mechanism, [(total.mechanism.value, total.score) for total in found.ranking]
    assert found.innocent == (mechanism is Mechanism.SERVER_STALL)
    named = {total.mechanism for total in (*found.ranking, *found.possible, *found.excluded)}
    assert named == set(Mechanism), "each mechanism is named, possible or excluded"


@pytest.mark.parametrize("mechanism", Mechanism, ids=lambda mechanism: mechanism.value)
def test_the_answer_is_not_read(mechanism: Mechanism) -> None:
    """A fault that says something else changes nothing."""
    story = STORIES[mechanism]()
    story.tell(100, event.FAULT, "node1/metallb-speaker", "is stopped (SIGSTOP)", fault="speaker-stall")
    story.tell(100, event.SIGNALLED, "node1/metallb-speaker", "SIGSTOP")
    story.tell(100, event.ANNOUNCER_MUTED, "node1", "node1 leaves requests unanswered", address=VIP)
    story.tell(100, event.ANNOUNCER_ON, "node2", "node2 announces", address=VIP)
    assert answer(story).mechanism is mechanism


def test_a_lost_announcement_while_the_old_node_forwards() -> None:
    """F5: nothing is lost until the router asks anew; then the players are strangers to the new node."""
    story = begun().probe("game", 7777, (96, 126, LOST), unknown_peer=90).probe("sidecar", 7778)
    story.arp(95.999, event.ARP_VERIFY, "node1").moved(96, "node1", "node2", announced=False)
    assert answer(story).mechanism is Mechanism.GARP_LOST


def test_a_node_that_just_dies_is_none_of_them() -> None:
    story = begun().probe("game", 7777, (100, 105.5, LOST)).probe("node1", 9, (100, 300, LOST), address="n1")
    found = answer(story.moved(105.5, "node1", "node2"))
    assert found.mechanism is None


def test_a_server_stall_needs_the_path_to_be_seen() -> None:
    """Without other traffic, and without the server's word, nothing is blamed on the server either."""
    found = answer(begun().probe("game", 7777, (100, 110, LOST)))
    assert found.mechanism is None
    assert Mechanism.SERVER_STALL in [total.mechanism for total in found.possible]
    assert found.capture


def test_a_player_who_is_served_meanwhile_clears_the_server() -> None:
    story = begun().probe("game", 7777, (100, 110, LOST)).probe("other player", 7777).probe("sidecar", 7778)
    assert answer(story).mechanism is not Mechanism.SERVER_STALL


def test_in_scaled_time_a_machines_hitch_is_no_lag() -> None:
    hitch = begun().probe("game", 7777, (100, 100.02, LOST), (200, 200.1, {"late": 5}))
    assert diagnose(from_timeline.observe(hitch.timeline(), "story", 0.02)) == ()
    longer = begun().probe("game", 7777, (100, 100.6, LOST))
    assert len(diagnose(from_timeline.observe(longer.timeline(), "story", 0.02))) == 1


def test_gaps_a_breath_apart_are_one_lag() -> None:
    (found,) = diagnose(
        from_timeline.observe(begun().probe("game", 7777, (100, 105, LOST), (106, 110, LOST)).timeline(), "story")
    )
    assert [finding.episode.length for finding in found.findings] == [10 * S]


def test_a_run_after_another_is_a_flow_of_its_own() -> None:
    story = begun().probe("game", 7777, (100, 130, LOST))
    story.tell(
        900, event.PROBED, "game", address=VIP, port=7777, flows=1, interval_ns=1, began_ns=600 * S, ended_ns=900 * S
    )
    seen = from_timeline.observe(story.timeline(), "story")
    assert [(flow.begin // S, flow.end // S, len(flow.gaps)) for flow in seen.flows] == [(0, 300, 1), (600, 900, 0)]


def lags(*begins: float) -> list[Episode]:
    return [Episode(VIP, int(begin * S), int((begin + 1) * S), True, ()) for begin in begins]


@pytest.mark.parametrize(
    ("begins", "seconds", "missed"),
    [
        ((0, 1226, 2452), 1226, 0),
        ((0, 1226, 3678, 4904), 1226, 1),
        ((0, 1226), None, 0),
        ((0, 100, 730), None, 0),
        ((0, 1, 50, 99), None, 0),
    ],
)
def test_periods(begins: tuple[float, ...], seconds: float | None, missed: int) -> None:
    found = period(lags(*begins), 1.0)
    assert (found.seconds if found else None) == seconds
    assert (found.missed if found else 0) == missed


def test_a_period_is_of_the_real_timers() -> None:
    found = period(lags(0, 24.52, 49.04), 0.02)
    assert found is not None
    assert found.seconds == pytest.approx(1226)


def test_a_saved_timeline_that_was_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    journal.save(file, two_announcers().events)
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    seen = load(Given([file]))
    assert "ends within line" in seen.problems[0]
    assert Sees.ARP in seen.sees
    file.write_bytes(whole)
    assert load(Given([file])).problems == []
