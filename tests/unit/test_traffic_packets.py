"""What became of each packet, and where it was lost, from what servers and taps saw."""

from __future__ import annotations

import pytest
from probe_data import MS, START, Path, header, probe, server_log, tap

from harness.traffic.arrivals import Seen, from_accounts
from harness.traffic.packets import Fate, Flow, Place, flows
from harness.traffic.records import Account, Request, Run, Unanswered, Unsent


def fates(flow: Flow) -> dict[Fate, set[int]]:
    result: dict[Fate, set[int]] = {}
    for packet in flow.packets:
        result.setdefault(packet.fate, set()).add(packet.sequence)
    return result


def test_direction_by_what_later_replies_say() -> None:
    run = probe(100, Path(up={10, 11, 12, 40}, down={20, 21, 41}, unsent={60}))
    assert fates(flows(run)[0]) == {
        Fate.DELIVERED: set(range(1, 101)) - {10, 11, 12, 40, 20, 21, 41, 60},
        Fate.LOST_UP: {10, 11, 12, 40},
        Fate.LOST_DOWN: {20, 21, 41},
        Fate.UNSENT: {60},
    }


def test_mixed_loss_within_one_outage_is_split_exactly() -> None:
    # While replies are lost, more gaps open than a reply can name; the count shows that, and the log knows them all.
    up = set(range(30, 50, 3))
    down = set(range(30, 50)) - up
    run = probe(100, Path(up=up, down=down))
    found = fates(flows(run)[0])
    assert found[Fate.LOST_UP] < up
    assert found.get(Fate.LOST_DOWN, set()) <= down
    assert found[Fate.LOST] | found[Fate.LOST_UP] | found.get(Fate.LOST_DOWN, set()) == up | down
    log = server_log(run, {0: set(range(1, 101)) - up})
    assert fates(flows(run, logs=[log])[0]) == {
        Fate.DELIVERED: set(range(1, 101)) - up - down,
        Fate.LOST_UP: up,
        Fate.LOST_DOWN: down,
    }


def test_an_outage_that_never_ends_is_unknown_without_a_log() -> None:
    run = probe(20, Path(up=range(10, 21)))
    assert fates(flows(run)[0])[Fate.LOST] == set(range(10, 21))
    log = server_log(run, {0: range(1, 10)})
    assert fates(flows(run, logs=[log])[0])[Fate.LOST_UP] == set(range(10, 21))
    log = server_log(run, {0: range(1, 15)})
    found = fates(flows(run, logs=[log])[0])
    assert found[Fate.LOST_DOWN] == set(range(10, 15))
    assert found[Fate.LOST_UP] == set(range(15, 21))


def test_a_server_that_never_heard_of_a_flow_says_so() -> None:
    run = probe(5, Path(up=range(1, 6)))
    assert fates(flows(run)[0]) == {Fate.LOST: set(range(1, 6))}
    assert fates(flows(run, logs=[server_log(run, {})])[0]) == {Fate.LOST_UP: set(range(1, 6))}


def test_a_dead_server_received_nothing_after_its_end() -> None:
    # Backend 0 answers up to 9, dies, the proxy sends to it up to 19, then backend 1 takes over.
    run = probe(40, Path(up=range(10, 20), backend=lambda sequence: 0 if sequence < 20 else 1))
    # It might have received and answered 10 to 19, for all that is known from backend 1:
    assert fates(flows(run)[0])[Fate.LOST] == set(range(10, 20))
    died = START + 12 * MS
    found = fates(flows(run, ended={"i0": died})[0])
    assert found[Fate.LOST] == {10, 11, 12, 13}  # sent before it died
    assert found[Fate.LOST_UP] == set(range(14, 20))


def test_logs_of_other_runs_are_left_out() -> None:
    run = probe(20, Path(down={5}))
    other = server_log(Run(header()), {0: range(1, 21)})
    other = type(other)(
        other.node, other.pod, "i9", other.at, tuple(type(f)(**{**vars(f), "session": "ff"}) for f in other.flows)
    )
    assert fates(flows(run, logs=[other])[0])[Fate.LOST_DOWN] == {5}


def test_taps_tell_the_dead_backend_from_the_lost_route() -> None:
    run = probe(60, Path(up=[*range(10, 20), *range(30, 40)], down=[45, 46]))
    everything = set(range(1, 61))
    reached = everything - set(range(10, 20))  # 30 to 39 came to the node, not to the backend
    left = reached - set(range(30, 40)) - {45}  # the reply to 45 never left the node, that to 46 did
    packets = {p.sequence: p for p in flows(run, taps=[tap(run, reached, left)])[0].packets}
    assert {packets[n].place for n in range(10, 20)} == {Place.TO_NODE}
    assert {packets[n].place for n in range(30, 40)} == {Place.TO_BACKEND}
    assert packets[45].place is Place.FROM_BACKEND
    assert packets[46].place is Place.TO_CLIENT
    assert packets[1].place is None
    assert {packets[n].fate for n in (*range(10, 20), *range(30, 40))} == {Fate.LOST_UP}


def test_two_nodes_one_of_them_saw_it() -> None:
    run = probe(30, Path(up=range(10, 20)))
    one, other = set(range(1, 15)), set(range(15, 31))
    packets = {p.sequence: p for p in flows(run, taps=[tap(run, one, one), tap(run, other, other)])[0].packets}
    assert {packets[n].place for n in range(10, 20)} == {Place.TO_CLIENT}  # both saw replies leave: only then
    packets = {p.sequence: p for p in flows(run, taps=[tap(run, one, {1}), tap(run, other, {2})])[0].packets}
    assert {packets[n].place for n in range(10, 20)} == {Place.TO_BACKEND}


@pytest.mark.parametrize("lost", [3, None])
def test_a_tap_that_missed_packets_proves_nothing(lost: int | None) -> None:
    run = probe(30, Path(up=range(10, 20)))
    blind = tap(run, set(range(1, 10)), set(range(1, 10)))
    blind.lost = lost
    packets = flows(run, taps=[blind])[0].packets
    assert {p.place for p in packets[9:19]} == {Place.UNKNOWN}
    assert {p.fate for p in packets[9:19]} == {Fate.LOST_UP}  # the replies still tell the direction


def test_a_tap_that_began_later_proves_nothing_about_before() -> None:
    run = probe(30, Path(up=range(10, 20)))
    later = tap(run, set(), set())
    later.started = START + 15 * MS
    packets = flows(run, taps=[later])[0].packets
    assert [p.place for p in packets[9:19]] == [Place.UNKNOWN] * 6 + [Place.TO_NODE] * 4


def test_late_answers_are_lost_but_keep_their_stamps() -> None:
    run = probe(10, Path(delay_down=lambda sequence: 300 * MS if sequence == 4 else MS), late=200 * MS)
    packet = flows(run)[0].packets[3]
    assert packet.fate is Fate.LATE
    assert packet.received == packet.sent + 100_000 + 10 + 300 * MS
    assert flows(run, late=400 * MS)[0].packets[3].fate is Fate.DELIVERED


def test_a_late_reply_replaces_the_note_that_there_was_none() -> None:
    run = probe(10, Path())
    run.unanswered.append(Unanswered(0, 4, run.replies[3].sent))
    assert fates(flows(run)[0]) == {Fate.DELIVERED: set(range(1, 11))}


def test_duplicates_are_counted_and_the_first_one_is_taken() -> None:
    run = probe(10, Path())
    again = run.replies[4]._replace(down=9 * MS)
    run.replies.insert(0, again)  # recorded first, received later
    flow = flows(run)[0]
    assert flow.duplicates == 1
    assert flow.packets[4].received == run.replies[5].received


def test_packets_that_a_killed_prober_did_not_record_keep_their_place() -> None:
    run = probe(10, Path())
    del run.replies[5]
    packet = flows(run)[0].packets[5]
    assert packet.sent == START + 5 * MS
    assert not packet.fate.good


def test_http_requests_are_packets() -> None:
    run = Run(header(rate=10, mode="http"))
    run.requests += [
        Request(0, 2, START + 100 * MS, -1, 5 * MS, "refused", 0, -1, ""),
        Request(0, 1, START, MS, 3 * MS, "ok", 200, 0, "10.0.0.1:4"),
        Request(0, 3, START + 200 * MS, MS, 3 * MS, "ok", 503, 0, "10.0.0.1:5"),
    ]
    run.unsent.append(Unsent(START + 300 * MS, 0, 4, "too many open requests"))
    packets = flows(run)[0].packets
    assert [p.sequence for p in packets] == [1, 2, 3, 4]
    assert [p.fate for p in packets] == [Fate.DELIVERED, Fate.LOST, Fate.LOST, Fate.UNSENT]
    assert packets[0].received == START + 3 * MS


@pytest.mark.parametrize(
    ("seen", "sequence", "received"),
    [
        (Seen(5, 9), 4, False),
        (Seen(5, 9), 7, True),
        (Seen(5, 9), 10, None),
        (Seen(5, 9, final=True), 10, False),
        (Seen(5, 9, gaps=((6, 7),)), 6, False),
        (Seen(5, 9, gaps=((6, 7),)), 8, True),
        (Seen(5, 9, certain_from=8), 7, None),
        (Seen(5, 9, certain_from=8), 8, True),
        (Seen(5, 9, ended=50), 7, False),
    ],
)
def test_what_a_server_has_received(seen: Seen, sequence: int, received: bool | None) -> None:
    assert seen.received(sequence, sent=100) is received


def account(first: int, highest: int, count: int, *gaps: tuple[int, int]) -> Account:
    return Account(0, 0, 0, first, highest, count, 0, gaps)


def test_a_gap_that_was_filled_later_is_forgotten() -> None:
    seen = from_accounts([account(1, 9, 7, (4, 5)), account(1, 10, 9, (4, 4)), account(1, 11, 11)])
    assert seen.gaps == ()
    assert seen.received(4, 0) is True


def test_gaps_older_than_a_reply_names_are_kept() -> None:
    early = account(1, 10, 8, (2, 2), (4, 4))
    later = account(1, 30, 24, (4, 4), (12, 12), (14, 14), (16, 17))
    seen = from_accounts([early, later])
    assert seen.gaps == ((2, 2), (4, 4), (12, 12), (14, 14), (16, 17))
    assert seen.certain_from == 0
    assert [n for n in range(1, 31) if seen.received(n, 0) is False] == [2, 4, 12, 14, 16, 17]


def test_gaps_that_no_reply_named_are_not_known() -> None:
    seen = from_accounts([account(1, 10, 10), account(1, 30, 23, (20, 20), (22, 22), (24, 24), (26, 27))])
    assert seen.received(15, 0) is None  # two numbers are missing somewhere below 20
    assert seen.received(20, 0) is False
    assert seen.received(21, 0) is True
