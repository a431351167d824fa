"""Logs: what a router's FreeBSD says of ARP and links, FRR of its peers, and MetalLB's speakers of one another. Pure.

The kernel's sentences are those of sys/netinet/if_ether.c; OPNsense writes them into its system log unless "shared
networks" is on (facts/l2_and_lag.md, section 2.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from harness.diagnose.observed import SECOND, Observations, Sees, Sign, What

_MAC = r"([0-9a-f]{2}(?::[0-9a-f]{2}){5})"
_IP = r"(\d+\.\d+\.\d+\.\d+)"
_SAYS: tuple[tuple[re.Pattern[str], What, tuple[int, int, int]], ...] = (
    # (sentence, sign, (group of what it is about, of who, of who was before); 0: none)
    (re.compile(rf"arp: {_IP} moved from {_MAC} to {_MAC} on"), What.MOVED, (1, 3, 2)),
    (re.compile(rf"arp: {_MAC} attempts to modify permanent entry for {_IP} on"), What.CONFLICT, (2, 1, 0)),
    (re.compile(rf"arp: {_MAC} is using my IP address {_IP} on"), What.CONFLICT, (2, 1, 0)),
    (re.compile(rf"arp: {_IP} is on \S+ but got reply from {_MAC} on"), What.CONFLICT, (1, 2, 0)),
    (re.compile(rf"arpresolve: can't allocate llinfo for {_IP}"), What.UNRESOLVED, (1, 0, 0)),
    (re.compile(r"\b(\w+(?:\.\d+)?): link state changed to DOWN"), What.LINK_DOWN, (1, 0, 0)),
    (re.compile(r"\b(\w+(?:\.\d+)?): link state changed to UP"), What.LINK_UP, (1, 0, 0)),
    (re.compile(rf"ADJCHANGE: neighbor {_IP}\S* .*\bDown\b"), What.PEER_DOWN, (1, 1, 0)),
    (re.compile(rf"ADJCHANGE: neighbor {_IP}\S* .*\bUp\b"), What.PEER_UP, (1, 1, 0)),
    # hashicorp/memberlist in MetalLB's speaker (facts/l2_and_lag.md, section 1.4)
    (re.compile(r"memberlist: (?:Suspect|Marking) (\S+) (?:has|as) failed"), What.SUSPECTED, (1, 0, 0)),
)
_ISO = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(\.\d+)?(Z|[+-]\d{2}:?\d{2})?")
_BSD = re.compile(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d{2}:\d{2}:\d{2})")
#: A line is written within so long after what it tells, and stamped to the second.
_WIDE = SECOND
_LONGEST = 200


def observe(lines: Iterable[str], source: str, around_ns: int) -> Observations:
    """Take a log's evidence.

    Args:
        lines: Of the log.
        source: The file.
        around_ns: A moment near those that matter, since 1970: the year of stamps that have none.
    """
    found = Observations([source])
    understood, without_zone = 0, False
    for text in lines:
        if "memberlist" in text:
            found.sees.add(Sees.METALLB)
        for pattern, what, (about, who, before) in _SAYS:
            said = pattern.search(text)
            if said is None:
                continue
            at, zone = stamp(text, around_ns)
            if at is None:
                break
            without_zone |= not zone
            understood += 1
            groups = ["", *said.groups()]
            sentence = text[said.start() :].strip()[:_LONGEST]
            found.signs.append(
                Sign(at, what, groups[about], groups[who], groups[before], f"log: {sentence}", source, _WIDE)
            )
            break
    if any(sign.what is What.MOVED for sign in found.signs):
        found.sees.add(Sees.NEXT_HOP)
    if any(sign.what in (What.LINK_DOWN, What.LINK_UP) for sign in found.signs):
        found.sees.add(Sees.LINKS)
    if not understood:
        looked_for = "ARP, links or BGP peers as FreeBSD and FRR write them, or members that MetalLB has lost"
        found.problems.append(f"{source}: no line of it is about {looked_for}")
    elif without_zone:
        found.problems.append(f"{source}: its stamps have no time zone; they are taken for this machine's local time")
    found.signs.sort(key=lambda sign: sign.at)
    return found


def stamp(line: str, around_ns: int) -> tuple[int | None, bool]:
    """When a line was written, nanoseconds since 1970, and whether it says its time zone; None without a stamp."""
    iso = _ISO.search(line)
    if iso is not None:
        zone = (iso[4] or "").replace("Z", "+00:00")
        try:
            at = datetime.fromisoformat(f"{iso[1]}T{iso[2]}{zone}")
        except ValueError:
            return None, False
        return round(at.timestamp()) * SECOND + int(float(iso[3] or 0) * SECOND), bool(zone)
    bsd = _BSD.search(line)
    if bsd is None:
        return None, False
    near = datetime.fromtimestamp(around_ns / SECOND)
    try:
        at = datetime.strptime(f"{near.year} {bsd[1]} {int(bsd[2]):02} {bsd[3]}", "%Y %b %d %H:%M:%S")
    except ValueError:
        return None, False
    half = timedelta(days=183)  # a log around New Year
    if at - near > half:
        at = at.replace(year=at.year - 1)
    elif near - at > half:
        at = at.replace(year=at.year + 1)
    return int(at.timestamp()) * SECOND, False
