"""Lag with MetalLB's own speakers: a stall and its end, a node that loses IP, one that comes back too early, a link.

Nothing is scaled here: memberlist has no timers to scale (facts/l2_and_lag.md, section 1.4). The game server is on a
node without a speaker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from harness.errors import Untrusted
from harness.expect import Expect
from harness.faults import LinkDown, NodeSilent, SpanningTree, SpeakerKilled, SpeakerStalled, SpeakerStopped
from harness.lab import Lab
from harness.lag.gaps import Gaps
from harness.lag.mechanisms import Mechanism
from harness.lag.server import game_server, game_service
from harness.lag.watch import Players, Watch
from harness.metallb.settled import BACK_WITHIN, settled
from harness.play import Played
from harness.verdict.predict import metallb_speaker_lost
from harness.wait import let_pass, until
from scenarios.lag.conftest import Note, Witness

pytestmark = [pytest.mark.slow, pytest.mark.lab(topology="metallb-l2", fresh=True)]

#: An address that worker1 leads, by sha256(node#address).
NAME = "game"
LOST = metallb_speaker_lost(3)
#: The kubelet restarts a speaker whose liveness probe has failed three times, 10 s apart (Helm, speaker.livenessProbe).
LIVENESS = 30.0
#: What a busy machine adds to a second.
SLACK = 1.5

#: A node that has just booted forwards nothing: whoever brings its network up turns net.ipv4.ip_forward on.
_NO_FORWARDING = "chain booting { type filter hook forward priority -400; policy drop; };"

#: Four at 30 Hz, who do not reconnect by themselves before a minute is over.
_PLAYERS = Players()

Act = Callable[[], None]
Play = Callable[..., tuple[Gaps, Played]]


@pytest.fixture
def leader(lab: Lab) -> str:
    """The node that announces the game's address; everything is at rest."""
    lab.apply([game_server(NAME, node="storage"), game_service(NAME, app=NAME)])
    address = lab.service(NAME).address
    lab.converge()
    found = lab.l2.leader(address)
    assert found is not None
    settled(lab, address, found)
    return found


@pytest.fixture
def heir(lab: Lab, leader: str) -> str:
    """The node that is next in line."""
    return lab.l2.expected()[lab.service(NAME).address].candidates[0]


@pytest.fixture
def play(lab: Lab, expect: Expect, leader: str, witness: Witness, note: Note) -> Iterator[Play]:
    """Let something happen to a game, and give its players' gaps."""

    def carry_out(
        mechanism: Mechanism | None, act: Act, *, prepare: Act = lambda: None, players: Players = _PLAYERS
    ) -> tuple[Gaps, Played]:
        since = time.monotonic_ns()

        def run() -> dict[str, Played]:
            nonlocal since
            lab.undo_faults()
            prepare()
            settled(lab, lab.service(NAME).address, leader)
            since = time.monotonic_ns()
            with (watch := Watch(lab, NAME, node=leader, players=players)):
                act()
                let_pass(3)
            return {"game": watch.game}

        (found,) = expect.runs(run, count=1)
        if mechanism is not None:
            witness(mechanism, since)
        gaps = Gaps.of(found["game"], 1.0)
        note(gaps)
        print(f"{mechanism.value if mechanism else 'control'}: {gaps}; {len(found['game'].reconnects)} reconnects")
        if not found["game"].trust.trusted:
            raise Untrusted(str(found["game"].trust))
        return gaps, found["game"]

    yield carry_out
    lab.undo_faults()


def test_a_speaker_stalls_and_is_restarted(lab: Lab, play: Play, leader: str, heir: str) -> None:
    """S4: another node takes over after 6 s, the kubelet restarts the speaker after 30 s, and the address comes back.

    In between players come in through a node that translates their addresses otherwise: they rubber-band for some 25 s
    and are well again without having reconnected.
    """
    address = lab.service(NAME).address

    def act() -> None:
        with lab.fault(SpeakerStalled(leader)):
            lab.l2.wait_owner(address, heir, within=2 * LOST.high)
            let_pass(LIVENESS - LOST.likely)
        lab.fault(SpeakerKilled(leader, restart_after=1))
        lab.l2.wait_owner(address, leader, within=BACK_WITHIN)

    gaps, game = play(Mechanism.SPEAKER_STALL, act)
    assert len(gaps.spans) == 1
    assert LIVENESS - LOST.high - SLACK <= gaps.lengths[0] <= LIVENESS + BACK_WITHIN - LOST.low + SLACK
    assert all(lag.rubber_band for lag in gaps.worst)
    assert game.reconnects == []


def test_a_speaker_stalls_and_goes_on(lab: Lab, play: Play, leader: str, heir: str) -> None:
    """The control: it only stalls, and tells nobody that it is back; players are well when they have greeted anew."""
    address = lab.service(NAME).address

    def act() -> None:
        with lab.fault(SpeakerStalled(leader)):
            lab.l2.wait_owner(address, heir, within=2 * LOST.high)
            let_pass(10)

    gaps, game = play(None, act, players=Players(reconnect_after=5.0))
    assert game.reconnects
    assert gaps.lengths
    assert 5.0 - SLACK <= gaps.lengths[0] <= 5.0 + SLACK


def test_a_node_without_ip_that_still_answers_arp(lab: Lab, play: Play, leader: str) -> None:
    """The isolated speaker elects itself, answers ARP on, and has the last word: lag for as long as the partition."""
    partition = 20.0

    def act() -> None:
        with lab.fault(NodeSilent(leader, arp=False)):
            let_pass(partition)
        lab.l2.rejoin()

    gaps, _ = play(Mechanism.SPLIT_BRAIN, act)
    assert gaps.spans
    assert sum(gaps.lengths) >= 0.6 * partition


def test_a_node_takes_its_address_back_too_early(lab: Lab, play: Play, leader: str, heir: str) -> None:
    """After a reboot the speaker is up before the node forwards: it takes the address, and packets end there.

    The players have greeted anew through the other node meanwhile; when the datapath works they have to once more.
    """
    address = lab.service(NAME).address
    early = 4.0

    def act() -> None:
        with lab.fault(SpeakerStopped(leader)):
            lab.l2.wait_owner(address, heir, within=5)
            let_pass(8)
            lab.node(leader).kube_proxy.stop()
            lab.backend.forget(leader)
            # with forwarding on, as it is before and after, the node would pass packets on to whom it knows by ARP
            lab.backend.set_filter(leader, "booting", _NO_FORWARDING)
        lab.l2.wait_owner(address, leader, within=BACK_WITHIN)
        let_pass(early)
        lab.backend.set_filter(leader, "booting", None)
        lab.node(leader).kube_proxy.start()
        let_pass(8)

    gaps, _ = play(Mechanism.EARLY_RETURN, act, players=Players(reconnect_after=2.0))
    assert gaps.spans
    assert max(gaps.lengths) >= early - SLACK


@pytest.mark.parametrize("forward_delay", [2.0, 15.0])
def test_a_link_flaps(lab: Lab, play: Play, leader: str, forward_delay: float) -> None:
    """Spanning tree holds the port back for two forward delays: everything of the node is gone, its own address too."""
    down = 1.0

    def prepare() -> None:
        lab.fault(SpanningTree("servers", forward_delay))
        until("the switch to forward", lambda: reachable(lab), within=4 * forward_delay + 20)
        lab.l2.rejoin()

    def act() -> None:
        with lab.fault(LinkDown(leader, where="switch")):
            let_pass(down)
        let_pass(2 * forward_delay + 5)
        lab.l2.wait_owner(lab.service(NAME).address, leader, within=60)

    gaps, _ = play(Mechanism.LINK_FLAP, act, prepare=prepare)
    assert gaps.spans
    assert sum(gaps.lengths) >= down + 2 * forward_delay - SLACK
    assert sum(gaps.lengths) <= down + 2 * forward_delay + BACK_WITHIN


def reachable(lab: Lab) -> bool:
    """Whether the game's pod answers."""
    try:
        return lab.client().udp(lab.service(NAME).address, 7778, b"?", within=0.5) == b"?"
    except OSError:
        return False
