"""The mechanisms that make players lag behind an announced address, and where each is described. Pure.

Their names stand in scenarios, in saved timelines, in what `lblab diagnose` and `lblab lag` say.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

_FACTS = "facts/l2_and_lag.md, {}"


class Mechanism(enum.Enum):
    """One cause of lag; the value is its name in files and on the command line."""

    TWO_ANNOUNCERS = "two-announcers"
    SPEAKER_STALL = "speaker-stall"
    ARP_UNANSWERED = "arp-unanswered"
    GARP_LOST = "garp-lost"
    SPLIT_BRAIN = "split-brain"
    LEASE_LOST = "lease-lost"
    STALE_REPLY_PATH = "stale-reply-path"
    DUPLICATE_ADDRESS = "duplicate-address"
    EARLY_RETURN = "early-return"
    SERVER_STALL = "server-stall"
    LINK_FLAP = "link-flap"

    @property
    def about(self) -> About:
        """What it is."""
        return ABOUT[self]


@dataclass(frozen=True)
class About:
    """What there is to say of a mechanism.

    Attributes:
        sentence: What happens.
        rows: The names that facts/l2_and_lag.md has for it: S1 to S6 and F0 to F6.
        source: Where it is described.
        network: Whether the network has a part in it; a game server that stalls has none.
        periodic: Whether it repeats by itself, with a period of the router's ARP entry.
    """

    sentence: str
    rows: tuple[str, ...]
    source: str
    network: bool = True
    periodic: bool = False


ABOUT: dict[Mechanism, About] = {
    Mechanism.TWO_ANNOUNCERS: About(
        "Two announcers answer for one address on different nodes, and each refresh of the router's ARP entry leads "
        "its packets to the wrong one until the slower answer has come.",
        ("S3", "S6", "F6"),
        _FACTS.format("sections 2.3 and 3, candidate 1"),
        periodic=True,
    ),
    Mechanism.SPEAKER_STALL: About(
        "MetalLB's speaker stalls, another node takes the address over, and the first one takes it back: in between "
        "packets come in through a node that does not translate them as the server knows them.",
        ("S4", "F3", "F4"),
        _FACTS.format("sections 2.3 and 3, candidate 2"),
    ),
    Mechanism.ARP_UNANSWERED: About(
        "The router's ARP entry expires after 1200 s because nobody answers its broadcasts.",
        ("S1", "S2", "F1", "F2"),
        _FACTS.format("sections 2.3 and 3, candidate 3"),
        periodic=True,
    ),
    Mechanism.GARP_LOST: About(
        "The new leader's gratuitous ARP is lost: the router sends to the old node until its entry is refreshed.",
        ("S5", "F5"),
        _FACTS.format("section 2.3"),
    ),
    Mechanism.SPLIT_BRAIN: About(
        "A node loses IP and goes on answering ARP: its speaker sees itself as the only member and keeps the address.",
        (),
        _FACTS.format("section 7"),
    ),
    Mechanism.LEASE_LOST: About(
        "Cilium's lease for the address is lost and taken by another node, whose address translation knows no player.",
        (),
        _FACTS.format("section 3, candidate 4"),
    ),
    Mechanism.STALE_REPLY_PATH: About(
        "The node cannot resolve the gateway for its replies: packets arrive at the server, its answers get nowhere.",
        (),
        _FACTS.format("section 3, candidate 5"),
    ),
    Mechanism.DUPLICATE_ADDRESS: About(
        "Another host uses the address: the router sends the players' packets to a machine that has no such server.",
        (),
        _FACTS.format("section 3, candidate 6"),
    ),
    Mechanism.EARLY_RETURN: About(
        "A node that comes back takes the address or its routes back before it can forward.",
        (),
        _FACTS.format("section 7"),
    ),
    Mechanism.SERVER_STALL: About(
        "The game server itself stops, as for an autosave; the network is innocent.",
        (),
        _FACTS.format("section 3, candidate 7"),
        network=False,
    ),
    Mechanism.LINK_FLAP: About(
        "A node's link goes down and up, and the switch's spanning tree holds the port back for two forward delays.",
        (),
        _FACTS.format("section 3, candidate 8"),
    ),
}
