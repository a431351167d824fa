"""What lblab's ARP daemons write into their logs, as events: they stamp each one with CLOCK_MONOTONIC. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from harness.timeline.event import Event
from harness.timeline.names import Names

#: How long such a daemon may have waited for a CPU before it took a stamp; on a busy machine it may be more.
_RESOLUTION_NS = 1_000_000
#: How their lines begin, and those that FreeBSD's kernel would log: they say what an event has said.
_BEGINS, FREEBSD = '{"now_ns":', "arp: "

_TEXTS: Mapping[str, Callable[[str, Mapping[str, Any]], str]] = {
    "incomplete": lambda host, d: f"{host} asks for {d['address']}",
    "learned": lambda host, d: f"{host} learns that {d['address']} is at {d['at']}",
    "moved": lambda host, d: f"{host}: {d['address']} moved from {d['from']} to {d['at']}",
    "verify_request": lambda host, d: f"{host} asks again for {d['address']} at {d['at']} ({d['try']} of 5)",
    "verified": lambda host, d: f"{host}: {d['address']} is still at {d['at']}",
    "expired": lambda host, d: f"{host} forgets {d['address']}, which was at {d['from']}",
    "timed_out": lambda host, d: f"{host} forgets {d['address']}, which has not answered",
    "host_down": lambda host, d: (
        f"{host} has asked {d['try']} times for {d['address']}: its senders are told it is down"
    ),
    "announced": lambda host, d: f"{host} announces {d['address']}",
    "withdrawn": lambda host, d: f"{host} announces {d['address']} no more",
    "muted": lambda host, d: f"{host} leaves requests for {d['address']} unanswered",
    "unmuted": lambda host, d: f"{host} answers requests for {d['address']} again",
}
#: What the announcer tells; the rest is a router's.
_ANNOUNCER = frozenset({"announced", "withdrawn", "muted", "unmuted"})


def parse(line: str, process: str, names: Names) -> Event | None:
    """Read a line of a process's log; None unless it is an event of an ARP daemon.

    Args:
        line: Without its newline.
        process: "<host>/<program>".
        names: Names of hosts by MAC.
    """
    if not line.startswith(_BEGINS):
        return None
    try:
        told = json.loads(line)
        kind, data = str(told["event"]), {**told}
        at = int(data.pop("now_ns"))
    except (ValueError, KeyError, TypeError):
        return None
    if kind not in _TEXTS:
        return None
    host = process.partition("/")[0]
    group = "announcer" if kind in _ANNOUNCER else "arp"
    for key, who in (("mac", "at"), ("before", "from")):
        if told.get(key):
            data[who] = names.of(told[key])
    try:
        text = _TEXTS[kind](host, data)
    except KeyError:  # a line that was cut off, or of another version
        return None
    return Event(at, f"{group} {host}", f"{group}.{kind}", host, text, _RESOLUTION_NS, data)
