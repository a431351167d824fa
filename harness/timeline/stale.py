"""Which paths a router keeps for a peer that restarts: FRR's own state, which BMP does not tell.

bgpd is asked over and over, but only from the moment in which a session went down until nothing is stale any more:
often at first, then whenever BMP tells something and now and then. Each event says how long it may have gone unseen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.routing import frr
from harness.routing.frr import Vty, VtyError
from harness.timeline import event
from harness.timeline.event import Event
from harness.timeline.names import Names

#: Seconds between two looks just after a session went down, for how long, and afterwards. A look takes 0.3 ms.
_OFTEN, _OFTEN_FOR, _SELDOM = 0.005, 0.5, 0.1
_FAMILIES = ("ipv4", "ipv6")

#: A path: its prefix and its peer.
Path_ = tuple[str, str]


class StaleWatch:
    """Follows the stale paths of one router in a thread of its own.

    Args:
        router: The router's name.
        folder: Where its vty sockets are.
        names: Names of hosts by address.
        emit: Is called from the thread with events.
    """

    def __init__(self, router: str, folder: Path, names: Names, emit: Callable[[list[Event]], None]) -> None:
        self._router = router
        self._names = names
        self._emit = emit
        self._vty = Vty(folder)
        self._poke = threading.Event()
        self._often_until = 0.0
        self._down_at: int | None = None
        self._stale: dict[Path_, int] = {}
        self._looked_at = 0
        threading.Thread(target=self._run, name=f"stale {router}", daemon=True).start()

    def peer_down(self, at_ns: int) -> None:
        """A session went down: paths may turn stale now."""
        self._down_at = at_ns
        self._often_until = time.monotonic() + _OFTEN_FOR
        self._poke.set()

    def something_changed(self) -> None:
        """The router told something; only of interest while there are stale paths."""
        if self._stale:
            self._poke.set()

    def _run(self) -> None:
        while True:
            often = time.monotonic() < self._often_until
            self._poke.wait(_OFTEN if often else _SELDOM if self._stale else None)
            self._poke.clear()
            try:
                self._look()
            except (OSError, VtyError):
                self._stale = {}  # bgpd is gone, and with it what it remembered

    def _look(self) -> None:
        before, asked_at = self._looked_at, time.monotonic_ns()
        paths = {
            (route.prefix, path.peer): path.stale
            for family in _FAMILIES
            for route in frr.bgp_routes(self._vty, family)
            for path in route.paths
            if path.peer is not None
        }
        now = time.monotonic_ns()
        self._looked_at = asked_at
        if self._down_at is not None:
            before, self._down_at = max(before, self._down_at), None
        events = list(self._changes(paths, now, now - before))
        if events:
            self._emit(events)

    def _changes(self, paths: dict[Path_, bool], now: int, resolution: int) -> Iterator[Event]:
        for (prefix, peer), is_stale in paths.items():
            key, who = (prefix, peer), self._names.of(peer)
            if is_stale and key not in self._stale:
                self._stale[key] = now
                text = f"{self._router}: {prefix} from {who} is stale, and kept"
                yield self._event(event.STALE, key, text, now, resolution)
            elif not is_stale and key in self._stale:
                since = self._stale.pop(key)
                text = f"{self._router}: {prefix} from {who} is fresh again after {(now - since) / 1e9:.3f} s"
                yield self._event(event.FRESH, key, text, now, resolution)
        for key in self._stale.keys() - paths.keys():
            del self._stale[key]  # BMP tells that it has left the table

    def _event(self, kind: str, key: Path_, text: str, now: int, resolution: int) -> Event:
        prefix, peer = key
        data = {"prefix": prefix, "peer": peer, "peer_name": self._names.of(peer)}
        return Event(now, f"vty {self._router}", kind, self._router, text, resolution, data)
