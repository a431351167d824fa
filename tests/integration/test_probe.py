"""The real prober against the real server through a router whose faults are known to the millisecond."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from probe_lab import PORT, ProbeLab, reason_to_skip

from harness import binaries
from harness.errors import LblabError
from harness.traffic import control
from harness.traffic.analysis import analyse
from harness.traffic.outages import Outage, own_gaps
from harness.traffic.packets import Fate, Place, flows
from harness.traffic.records import Run, read, read_tap
from harness.wait import until

MS = 1_000_000

_REASON = reason_to_skip()
pytestmark = pytest.mark.skipif(_REASON is not None, reason=str(_REASON))


@pytest.fixture(scope="session")
def lablet() -> Path:
    try:
        (built,) = binaries.build(["lablet"], progress=lambda _: None)
    except LblabError as error:
        pytest.skip(f"lablet cannot be built: {error}")
    return built.folder / "lablet"


@pytest.fixture
def lab(lablet: Path, tmp_path: Path) -> Iterator[ProbeLab]:
    lab = ProbeLab(lablet, tmp_path)
    try:
        yield lab
    finally:
        lab.close()


def serving(lab: ProbeLab) -> Path:
    socket = lab.serve()
    until("the pod to answer", lambda: control.ask(socket, "ready")["ready"], within=5, every=0.005)
    return socket


def started(records: Path, replies: int = 20) -> None:
    """Wait until the prober has had its first answers."""
    until("the first answers", lambda: records.read_text().count('["r"') >= replies, within=5, every=0.02)


def held_up(run: Run, begin: int, end: int) -> bool:
    """Whether the machine kept the prober from sending in or around an interval: then it is known less exactly."""
    margin = 5 * MS
    return any(
        before < end + margin and after > begin - margin for flow in flows(run) for before, after in own_gaps(flow)
    )


def overlapping(outages: list[Outage], begin: int, end: int) -> Outage:
    (found,) = [outage for outage in outages if outage.start < end and outage.end > begin]
    return found


@pytest.mark.timing
def test_no_packet_is_lost_at_1_khz(lab: ProbeLab) -> None:
    socket = serving(lab)
    records = lab.probe("probe", "--rate", "1000", "--for", "5s")
    lab.wait("probe")
    run = read(records)
    result = analyse(run, logs=[control.log(socket)])
    assert run.end is not None
    assert result.clean, result.facts()
    assert result.outages == []
    assert run.end.sent == run.end.replies == result.loss.sent
    assert run.end.sent + (run.end.skipped or 0) == pytest.approx(5000, abs=20)
    assert run.end.socket_drops == 0
    assert run.end.cpu < 0.15 * 5e9  # 5 % on an idle machine; a loaded one makes everything dearer
    for packet in result.flows[0].packets:
        assert packet.arrived is not None
        assert packet.replied is not None
        assert packet.received is not None
        assert packet.sent <= packet.arrived + MS  # one clock, converted kernel stamps
        assert packet.arrived <= packet.replied + MS
        assert packet.replied <= packet.received + MS


@pytest.mark.timing
def test_a_gap_of_50_ms_is_measured_within_2_ms(lab: ProbeLab) -> None:
    serving(lab)
    records = lab.probe("probe", "--rate", "1000")
    started(records)
    gaps = []
    for _ in range(10):
        lab.pause(0.1)
        gaps.append(lab.cut_for(0.05, "udp dport 7777 drop"))
    lab.pause(0.1)
    lab.end("probe")
    run = read(records)
    result = analyse(run)
    exact = 0
    for on, off in gaps:
        outage = overlapping(result.outages, on.middle, off.middle)
        true = off.middle - on.middle
        doubt = (on.after - on.before + off.after - off.before) // 2
        assert outage.direction == "up"
        assert outage.longest is not None
        assert outage.shortest - 2 * MS <= true + doubt
        assert outage.longest + 2 * MS >= true - doubt
        if not held_up(run, on.middle, off.middle):
            assert abs(outage.duration - true) <= 2 * MS + doubt
            assert abs(outage.start - on.middle) <= 2 * MS + doubt
            exact += 1
    assert len(result.outages) == len(gaps)
    if exact == 0:
        pytest.skip("the machine was too busy: the prober missed slots of its own around every gap")


@pytest.mark.timing
def test_loss_is_split_up_and_down(lab: ProbeLab) -> None:
    socket = serving(lab)
    records = lab.probe("probe", "--rate", "500", "--flows", "2", "--source-port", "4000")
    started(records)
    up = lab.cut_for(0.06, "udp dport 7777 udp sport 4000 drop")
    lab.pause(0.1)
    down = lab.cut_for(0.06, "udp sport 7777 drop")
    lab.pause(0.1)
    lab.end("probe")
    run = read(records)
    assert [source.rpartition(":")[2] for source in run.header.sources] == ["4000", "4001"]
    for result in (analyse(run), analyse(run, logs=[control.log(socket)])):  # by the replies alone, and by the log
        first = [o for o in result.outages if o.start < up[1].after]
        second = [o for o in result.outages if o.start > up[1].after]
        assert [(o.flow, o.direction) for o in first] == [(0, "up")]
        assert sorted((o.flow, o.direction) for o in second) == [(0, "down"), (1, "down")]
        (blackout,) = result.blackouts
        assert abs(blackout.start - down[0].middle) < 20 * MS
    assert {peer.peer.rpartition(":")[2] for peer in control.peers(socket)} == {"4000", "4001"}
    assert all(peer.port == PORT and not peer.moved_from for peer in control.peers(socket))


@pytest.mark.timing
def test_a_cut_path_and_a_killed_server_are_told_apart(lab: ProbeLab) -> None:
    serving(lab)
    tap = lab.tap()
    until("the tap to listen", lambda: "lblab" in tap.read_text(), within=5)
    records = lab.probe("probe", "--rate", "1000")
    started(records)
    to_node = lab.cut_for(0.06, "udp dport 7777 drop")
    lab.pause(0.1)
    to_client = lab.cut_for(0.06, "udp sport 7777 drop")
    lab.pause(0.1)
    died = lab.kill("pod")
    lab.pause(0.06)
    again = lab.serve("pod2")
    until("the second pod to answer", lambda: control.ask(again, "ready")["ready"], within=5, every=0.005)
    lab.pause(0.2)
    lab.end("probe")
    lab.end("tap")
    run, seen = read(records), read_tap(tap)
    assert seen.lost == 0
    first = run.backends[0].instance
    result = analyse(run, taps=[seen], logs=[control.log(again)], ended={first: died})
    assert overlapping(result.outages, to_node[0].after, to_node[1].before).places == {
        Place.TO_NODE: pytest.approx(60, abs=40)
    }
    way_back = overlapping(result.outages, to_client[0].after, to_client[1].before)
    assert (way_back.direction, way_back.place) == ("down", Place.TO_CLIENT)
    dead = overlapping(result.outages, died, died + 30 * MS)
    assert dead.place is Place.TO_BACKEND
    assert dead.directions["up"] >= 40
    assert [backend.pod for backend in run.backends] == ["default/pod", "default/pod2"]
    assert run.icmp_errors[0].error == "ECONNREFUSED"
    assert run.icmp_errors[0].offender == "10.2.0.2"
    refused = {error.sequence for error in run.icmp_errors}
    lost = {p.sequence for p in result.flows[0].packets if p.fate is not Fate.DELIVERED}
    assert refused <= lost


def test_a_packet_that_the_client_cannot_send_is_no_loss_of_the_network(lab: ProbeLab) -> None:
    serving(lab)
    records = lab.probe("probe", "--rate", "200")
    started(records)
    lab.ask("shell", command="ip route del default", place="client")
    lab.pause(0.1)
    lab.ask("shell", command="ip route add default via 10.1.0.1", place="client")
    lab.pause(0.1)
    lab.end("probe")
    result = analyse(read(records))
    assert result.loss.lost == 0
    assert result.loss.unsent >= 10
    (outage,) = result.outages
    assert outage.place is Place.CLIENT
    assert {each.error for each in read(records).unsent} == {"ENETUNREACH"}


@pytest.mark.timing
def test_tcp_stalls_and_goes_on(lab: ProbeLab) -> None:
    serving(lab)
    records = lab.probe("probe", "--tcp", "--rate", "50", "--flows", "2", "--late", "5s")
    started(records)
    cut = lab.cut_for(0.4, "tcp dport 7777 drop")
    lab.pause(1.0)
    lab.end("probe")
    run = read(records)
    result = analyse(run)
    assert result.clean  # TCP repeats what was lost
    assert [event.event for event in run.connections] == ["connected", "connected", "stopped", "stopped"]
    assert min(event.retransmits for event in run.connections[2:]) >= 1
    stalled = [p for p in result.flows[0].packets if p.received and p.received - p.sent > 200 * MS]
    assert stalled
    assert cut[0].before - 100 * MS < stalled[0].sent < cut[1].after
    assert sum(result.disturbances.values()) >= 2  # both connections


def test_http_requests_are_refused_by_a_node_without_a_server(lab: ProbeLab) -> None:
    serving(lab)
    records = lab.probe("probe", "--http", "--rate", "50", "--timeout", "500ms")
    until("the first answers", lambda: records.read_text().count('["h"') >= 5, within=5, every=0.02)
    lab.kill("pod")
    lab.pause(0.2)
    lab.cut("tcp dport 7777 drop")
    lab.pause(0.1)
    lab.end("probe")
    run = read(records)
    outcomes = [request.outcome for request in sorted(run.requests, key=lambda request: request.sequence)]
    assert outcomes[0] == "ok"
    assert {"ok", "refused", "timeout"} == set(outcomes)
    assert run.requests[0].client.startswith("10.1.0.2:")
    (outage,) = analyse(run).outages
    assert outage.first_good is None
