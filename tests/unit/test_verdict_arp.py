"""F0 to F6: what FreeBSD's ARP costs, by its timers (shared/facts/l2_and_lag.md 2.3)."""

from __future__ import annotations

import pytest

from harness.verdict import arp

REAL, FAST = arp.Freebsd(), arp.Freebsd(scale=0.02)


def test_the_timers() -> None:
    assert REAL.asks == (1196, 1197, 1198, 1199, 1200)
    assert REAL.deleted == 1201
    assert FAST.asks[0] == pytest.approx(23.92)
    assert FAST.deleted == pytest.approx(24.02)


@pytest.mark.parametrize(
    ("begin", "end", "low", "high"),
    [(1190, 1220, 19, 20), (1100, 1231, 30, 31), (1190, 1200, 0, 0), (1197, 1300, 0, 0), (0, 1195, 0, 0)],
)
def test_f1_only_a_silence_over_the_whole_window_costs_anything(
    begin: float, end: float, low: float, high: float
) -> None:
    found = arp.responder_silent(REAL, 0, begin, end)
    assert (found.low, found.high) == (low, high)
    later = arp.responder_silent(REAL, 500, 500 + begin, 500 + end)
    assert (later.low, later.high) == (low, high)
    fast = arp.responder_silent(FAST, 7, 7 + begin / 50, 7 + end / 50)
    assert (fast.low * 50, fast.high * 50) == pytest.approx((low, high), abs=1e-6)


def test_f2_lasts_until_somebody_says_so() -> None:
    assert arp.requests_lost(REAL, 0, 1271).likely == 70
    assert arp.requests_lost(REAL, 0, 1000).likely == 0


def test_f3_and_f4_do_not_depend_on_the_router() -> None:
    assert arp.leader_died(6).low == 6
    assert arp.leader_died(6).high == pytest.approx(6.1)
    assert arp.leader_flapped(30).likely == 30
    assert arp.leader_flapped(30, handshake=10).likely == 10
    assert arp.leader_moved().high == 0


@pytest.mark.parametrize(("died", "outage"), [(None, 0), (0, 1196), (1100, 96), (1196, 0), (1198.5, 0.5), (1200, 0)])
def test_f5_lasts_until_the_next_question(died: float | None, outage: float) -> None:
    assert arp.announcement_lost(REAL, 0, died).likely == pytest.approx(outage)


def test_f5_after_the_last_question() -> None:
    found = arp.announcement_lost(REAL, 0, 1200.5)
    assert (found.low, found.high) == (0, 1)


def test_f6_visits() -> None:
    visits = arp.two_announcers(REAL, 30)
    assert (visits.length, visits.period, visits.moves) == (30, 1226, 2)  # facts 2.3, S6: every 20.4 min
    assert visits.period / 60 == pytest.approx(20.4, abs=0.05)


def test_f6_in_random_order() -> None:
    assert arp.intervals_between_moves(REAL, 0.5) / 60 == pytest.approx(40, abs=0.2)
    assert arp.refreshes_until_move(0.5) == 5
    assert arp.refreshes_until_move(1) == 1
    with pytest.raises(ValueError, match="above 0"):
        arp.intervals_between_moves(REAL, 0)


def test_held_packets_are_not_lost() -> None:
    outage = arp.requests_lost(REAL, 0, 1271)
    assert arp.held(outage, 1 / 30).likely == pytest.approx(70 - 16 / 30)
    assert arp.held(arp.leader_moved(), 1).high == 0
