"""A router's zebra that knows its own networks, whatever it made of them as it started."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import WaitTimeout
from harness.routing.vty import Vty
from harness.topology import Link
from harness.wait import until

#: Seconds for zebra to have the routes to its own networks; it takes some milliseconds.
_KNOWN_WITHIN = 1.5


def know_networks(router: str, vty: Path, links: Sequence[Link], set_link: Callable[[str, bool], object]) -> None:
    """Wait until a zebra that was just started has the routes to its own networks; cut its links once if it has not.

    FRR 10.3's zebra now and then has its interfaces and their addresses as it starts, and no route to them for as long
    as nothing happens to a link (seen twice in some 60 starts); bgpd then takes every next hop for invalid.

    Args:
        router: The router.
        vty: The folder of its vty sockets.
        links: Its links.
        set_link: Takes its link to a network down, or up.

    Raises:
        WaitTimeout: with the networks that it does not know even then.
    """
    wanted = {str(own.network) for link in links for own in link.addresses if own.version == 4}

    def missing() -> set[str]:
        with Vty(vty) as asked:
            table = asked.run("zebra", "show ip route connected")
        return {network for network in wanted if network not in table}

    def look() -> None:
        until(f"{router} to know its networks", missing, lambda left: not left, within=_KNOWN_WITHIN)

    with contextlib.suppress(WaitTimeout):
        look()
        return
    for link in links:
        for up in (False, True):
            set_link(link.network, up)
    look()
