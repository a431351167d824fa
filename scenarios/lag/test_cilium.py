"""Lag of Cilium's own making: the lease of an address is lost, and the next holder knows no player."""

from __future__ import annotations

import time

import pytest

from harness.errors import Untrusted
from harness.expect import Expect
from harness.faults import ApiServerFiltered
from harness.lab import Lab
from harness.lag.gaps import Gaps
from harness.lag.mechanisms import Mechanism
from harness.lag.server import game_server, game_service
from harness.lag.watch import Players, Watch
from harness.play import Played
from harness.timeline import event
from harness.verdict.predict import Lease, cilium_l2_node_lost
from harness.wait import let_pass
from scenarios.lag.conftest import Note, Witness

pytestmark = [pytest.mark.slow, pytest.mark.lab(topology="cilium-l2", fresh=True)]

#: After how long without an acknowledged input players greet the server anew, and what a busy machine adds.
RECONNECT, SLACK = 5.0, 1.5


def test_a_lease_is_lost(lab: Lab, expect: Expect, witness: Witness, note: Note) -> None:
    """The API server is away from the holder only: the address moves, nothing is dead, players lag until they greet.

    The old holder goes on forwarding what still reaches it. The lease stays with the new one, so nothing but a new
    greeting ends the lag: its length is the application's.
    """
    lab.apply([game_server("game", node="worker3"), game_service("game", app="game")])
    service = lab.service("game")
    lab.converge()
    settings = lab.topology.cilium.l2announcements
    predicted = cilium_l2_node_lost(
        Lease(settings.lease_duration, settings.lease_retry_period, settings.lease_renew_deadline)
    )
    since = time.monotonic_ns()

    def run() -> dict[str, Played]:
        nonlocal since
        lab.undo_faults()
        lab.converge()
        holder = service.wait_lease_holder(within=30)
        lab.l2.ask(service.address)
        lab.l2.wait_owner(service.address, holder, within=10)
        since = time.monotonic_ns()
        with (watch := Watch(lab, "game", node=holder, players=Players(reconnect_after=RECONNECT))):
            let_pass(2)
            with lab.fault(ApiServerFiltered(holder)) as fault:
                lab.timeline.wait(event.LEASE, within=predicted.high + 30, after_ns=fault.at_ns)
                let_pass(RECONNECT + 5)
        return {"game": watch.game}

    (found,) = expect.runs(run, count=1)
    witness(Mechanism.LEASE_LOST, since)
    gaps = Gaps.of(found["game"], 1.0)
    note(gaps, predicted_s=RECONNECT)
    print(f"{gaps}; {len(found['game'].reconnects)} reconnects")
    if not found["game"].trust.trusted:
        raise Untrusted(str(found["game"].trust))
    assert len(gaps.spans) == 1
    assert abs(gaps.lengths[0] - RECONNECT) <= SLACK
    assert all(lag.rubber_band for lag in gaps.worst)
    assert len(found["game"].reconnects) >= found["game"].players
