"""What a real bgpd tells over BMP about a session that comes up, is lost, comes back and is shut down."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pytest
from frr_lab import FrrLab
from test_frr_daemons import RAW, SERVICE, needs_namespaces

from harness.routing.bgp_message import NotificationMessage
from harness.routing.bmp import (
    BmpListener,
    EndOfRib,
    Event,
    PeerDown,
    PeerUp,
    RouteChange,
    SpeakerDown,
    SpeakerUp,
    with_bmp,
)
from harness.routing.daemons import installed
from harness.wait import until

PORT = 1790
ROUTER = """\
router bgp 64512
 no bgp ebgp-requires-policy
 neighbor 10.0.0.2 remote-as 64513
 neighbor 10.0.0.2 timers connect 1
"""

E = TypeVar("E", bound=Event)


class Heard:
    """All events so far."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def first(self, kind: type[E], *, after: Event | None = None, **wanted: object) -> E:
        """Wait for the first event of a kind with these attributes, after another one."""
        start = -1.0 if after is None else after.at

        def found() -> list[E]:
            events = [event for event in list(self.events) if isinstance(event, kind) and event.at > start]
            return [event for event in events if all(getattr(event, name) == value for name, value in wanted.items())]

        return until(f"{kind.__name__} {wanted}", found, within=20, show=lambda _: repr(self.events[-3:]))[0]


def test_a_sessions_life_as_bgpd_tells_it(tmp_path: Path) -> None:
    needs_namespaces()
    if not installed().bmp:
        pytest.skip("this FRR has no BMP module")
    heard = Heard()
    lab = FrrLab(tmp_path, {"r1": with_bmp(ROUTER, PORT), "r2": RAW})
    listener = BmpListener(lab.listen("r1", PORT), heard.events.append)
    try:
        lab.start("r1")
        speaker = heard.first(SpeakerUp)
        assert speaker.description.startswith("FRRouting")
        lab.start("r2")

        up = heard.first(PeerUp)
        assert (up.peer, up.asn, up.local_address, up.hold_time) == ("10.0.0.2", 64513, "10.0.0.1", 9)
        assert (up.sent.asn, up.sent.bgp_id, up.sent.hold_time) == (64512, "10.0.0.1", 180)
        gr = up.received.graceful_restart
        assert gr is not None
        assert (gr.r_bit, gr.n_bit, gr.restart_time, gr.f_bit) == (True, True, 20, {"ipv4": True})
        update = heard.first(RouteChange, view="mirrored").update
        assert (update.announced, update.as_path, update.communities) == ((SERVICE,), (64513,), ("64513:7",))
        assert heard.first(EndOfRib, view="mirrored").family == "ipv4"

        lab.kill("r2", "bgpd")
        down = heard.first(PeerDown, after=up)
        assert (down.peer, down.notification) == ("10.0.0.2", None)
        lab.start("r2", "bgpd")
        back = heard.first(PeerUp, after=down)
        heard.first(EndOfRib, view="mirrored", after=back)

        lab.vty["r2"].configure("bgpd", ["router bgp 64513", "neighbor 10.0.0.1 shutdown"])
        shutdown = heard.first(PeerDown, reason="remote notification", after=back)
        assert shutdown.notification == NotificationMessage(6, 2, b"")

        lab.kill("r1", "bgpd")
        gone = heard.first(SpeakerDown)
        lab.start("r1", "bgpd")
        heard.first(SpeakerUp, after=gone)
    finally:
        listener.close()
        lab.close()
    assert listener.error is None
