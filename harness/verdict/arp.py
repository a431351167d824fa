"""What clients lose behind a router with FreeBSD's ARP, from its timers: F0 to F6 of shared/facts/l2_and_lag.md, 2.3.

u is when the router last heard an ARP packet from the address; packets to it flow all the time. Moments and durations
are seconds of the clock of the caller; `Freebsd.scale` says how many of them one of FreeBSD's seconds is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from harness.verdict.predict import FREEBSD_ARP_MAX_AGE, Prediction, freebsd_arp_silence

_SOURCE = "facts/l2_and_lag.md sections 2.1 and 2.3, {}"
#: From a gratuitous ARP's being sent until packets take the other way (facts/l2_and_lag.md 2.3, F3); it does not scale.
_HEARD = 0.1


@dataclass(frozen=True)
class Freebsd:
    """The timers of FreeBSD's ARP (sys/netinet/if_ether.c): max_age, maxtries and arpt_rexmit.

    Attributes:
        scale: Factor on all of them.
    """

    scale: float = 1.0
    keep: float = FREEBSD_ARP_MAX_AGE
    tries: int = 5
    retransmit: float = 1.0

    @property
    def second(self) -> float:
        """How long one of FreeBSD's seconds is."""
        return self.scale

    @property
    def asks(self) -> tuple[float, ...]:
        """When it asks again for an address that is used, after u: 1196 to 1200 s."""
        first = self.keep - (self.tries - 1) * self.retransmit
        return tuple((first + number * self.retransmit) * self.scale for number in range(self.tries))

    @property
    def deleted(self) -> float:
        """When the entry is deleted if nobody answers, after u: 1201 s."""
        return (self.keep + self.retransmit) * self.scale


def leader_moved() -> Prediction:
    """F0: another node takes the address over, its gratuitous ARP is heard, the old node is alive: nothing is lost."""
    return Prediction(0, 0, 0, "gratuitous ARP heard, old node alive", _SOURCE.format("F0"))


def responder_silent(arp: Freebsd, heard: float, begin: float, end: float) -> Prediction:
    """F1: nobody answers from `begin` to `end`: lost from u+1201 until the first request after the end."""
    return freebsd_arp_silence(begin, end, heard=heard, scale=arp.scale)


def requests_lost(arp: Freebsd, heard: float, gratuitous: float) -> Prediction:
    """F2: requests are never answered: lost from u+1201 until a gratuitous ARP, which answers the open question."""
    outage = max(0.0, gratuitous - heard - arp.deleted)
    text = f"gratuitous ARP at {gratuitous:g} s - entry deleted at {heard + arp.deleted:g} s"
    return Prediction(outage, outage, outage, text, _SOURCE.format("F2"))


def held(outage: Prediction, interval: float, packets: int = 16) -> Prediction:
    """What is lost of a flow while an address is asked for: its last packets are held, and arrive with the answer.

    Args:
        outage: While the router has no entry.
        interval: Between two packets of the flow, of the same seconds.
        packets: net.link.ether.inet.maxhold. It does not scale: a flow in scaled time is held for longer.
    """
    late = interval * packets
    low, likely, high = (max(0.0, value - late) for value in (outage.low, outage.likely, outage.high))
    return Prediction(low, likely, high, f"{outage.formula} - {packets} packets held ({late:g} s)", outage.source)


def leader_died(detected: float, heard: float = _HEARD) -> Prediction:
    """F3: the leader is gone until the others have noticed and announce: Linux and FreeBSD alike.

    Args:
        detected: Seconds from its death to the first gratuitous ARP of the next leader.
        heard: At most so long until packets take the other way; less in a lab, where it does not scale.
    """
    text = f"noticed after {detected:g} s + gratuitous ARP"
    return Prediction(detected, detected, detected + heard, text, _SOURCE.format("F3"))


def leader_flapped(away: float, handshake: float | None = None) -> Prediction:
    """F4: the address goes to another node and comes back; a server that knows its peers by address is deaf meanwhile.

    Args:
        away: Seconds between the two moves.
        handshake: After how many seconds the application greets anew, if it does.
    """
    gap = away if handshake is None else min(away, handshake)
    return Prediction(gap, gap, gap, f"away for {away:g} s", _SOURCE.format("F4"))


def announcement_lost(arp: Freebsd, heard: float, died: float | None) -> Prediction:
    """F5: the new leader's gratuitous ARP was lost, and it answers requests.

    Args:
        arp: The router's timers.
        heard: u, of the old leader.
        died: When the old leader's node stopped forwarding; None when it still does: then nothing is lost, and the path
            moves with the first question.
    """
    source = _SOURCE.format("F5")
    if died is None:
        return Prediction(0, 0, 0, "the old node still forwards", source)
    asked = next((at for at in arp.asks if heard + at >= died), None)
    if asked is None:
        return Prediction(0, arp.second / 2, arp.second, "died between the last question and the deletion", source)
    outage = max(0.0, heard + asked - died)
    return Prediction(outage, outage, outage, f"asked again {asked:g} s after it was heard last", source)


@dataclass(frozen=True)
class Visits:
    """What recurs at each refresh: with two announcers, one of them slow, the address visits the fast one (F6).

    Attributes:
        length: Seconds of each visit, or outage: the slower answer's lateness.
        period: Seconds from one to the next.
        moves: Moves at each refresh.
    """

    length: float
    period: float
    moves: int


def two_announcers(arp: Freebsd, later: float) -> Visits:
    """F6: two announcers answer every request, one `later` seconds after the other; the last one who speaks wins.

    Each refresh begins u+1196 s after the slow one's answer; the fast one's is taken, then the slow one's.
    """
    return Visits(later, arp.asks[0] + later, 2)


def late_announcer(arp: Freebsd, later: float) -> Visits:
    """A single announcer that answers every request `later` seconds late, after the entry has been deleted.

    The entry is gone from u+1201 until the late answer to the request of u+1196. It was asked for once a second until
    then, and each of those answers, the last one as late as the first, begins the 1200 s anew.
    """
    outage = max(0.0, later - (arp.deleted - arp.asks[0]))
    if outage == 0:
        return Visits(0.0, arp.asks[0] + later, 0)
    return Visits(outage, arp.asks[0] + 2 * later, 0)


def intervals_between_moves(arp: Freebsd, wrong: float) -> float:
    """F6 with answers in random order: the mean of the intervals between moves, which are multiples of 1196 s.

    Args:
        arp: The router's timers.
        wrong: With which probability another one than at the refresh before answers last.

    Raises:
        ValueError: unless it is above 0 and at most 1.
    """
    if not 0 < wrong <= 1:
        raise ValueError(f"a probability above 0, not {wrong}")
    return arp.asks[0] / wrong


def refreshes_until_move(wrong: float, confidence: float = 0.95) -> int:
    """F6 with answers in random order: within how many refreshes a move is seen with a confidence (geometric)."""
    from math import log

    return 1 if wrong >= 1 else ceil(log(1 - confidence) / log(1 - wrong))
