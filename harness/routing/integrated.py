"""One integrated FRR file, taken apart into what each daemon may read at its start.

A daemon that is given the whole file with `-f` skips lines that it does not know, but not their `exit`: the `exit` of a
block that it skipped takes it out of its configuration mode, and it silently ignores everything after (tried with FRR
8.4.4; FRR writes these `exit` since 8.0). `vtysh -b` sends each line where it belongs, but only after the daemon runs.
So lblab gives each daemon, before it starts, the lines that are its own, each where it stands in the user's file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

DAEMONS = ("zebra", "bgpd", "bfdd", "staticd")
_ALL = frozenset(DAEMONS)
_NONE: frozenset[str] = frozenset()

#: Which daemons know a block or a line, by its first words; the longest that fits counts, others go to every daemon.
_OWNERS: Mapping[str, frozenset[str]] = {
    "router": _NONE,  # the protocols that lblab does not run: ospf, ospf6, rip, isis, eigrp, babel, pim, ...
    "router bgp": frozenset({"bgpd"}),
    "bfd": frozenset({"bfdd"}),
    "interface": frozenset({"zebra"}),
    "vrf": frozenset({"zebra", "bgpd", "staticd"}),
    "route-map": frozenset({"zebra", "bgpd"}),
    "key chain": _NONE,
    "nexthop-group": _NONE,
    "pbr-map": _NONE,
    "mpls ldp": _NONE,
    "l2vpn": _NONE,
    "rpki": _NONE,
    "segment-routing": frozenset({"zebra"}),
    "pseudowire": frozenset({"zebra"}),
    "ip forwarding": frozenset({"zebra"}),
    "ipv6 forwarding": frozenset({"zebra"}),
    "ip nht": frozenset({"zebra"}),
    "ipv6 nht": frozenset({"zebra"}),
    "ip protocol": frozenset({"zebra"}),
    "ipv6 protocol": frozenset({"zebra"}),
    "ip router-id": frozenset({"zebra"}),
    "ipv6 router-id": frozenset({"zebra"}),
    "ip import-table": frozenset({"zebra"}),
    "router-id": frozenset({"zebra"}),
    "zebra": frozenset({"zebra"}),
    "ip prefix-list": frozenset({"zebra", "bgpd"}),
    "ipv6 prefix-list": frozenset({"zebra", "bgpd"}),
    "ip route": frozenset({"staticd"}),
    "ipv6 route": frozenset({"staticd"}),
    "bgp": frozenset({"bgpd"}),
}
#: Lines with these first words open a block; every other unindented line stands alone.
_BLOCKS = (
    *(
        "router",
        "router bgp",
        "bfd",
        "interface",
        "vrf",
        "route-map",
        "key chain",
        "nexthop-group",
        "pbr-map",
        "mpls ldp",
        "l2vpn",
    ),
    *("rpki", "segment-routing", "pseudowire", "line"),
)
_LEAVES_BLOCK = frozenset({"exit", "quit", "end", "exit-vrf"})


@dataclass(frozen=True)
class Split:
    """An integrated file taken apart.

    Attributes:
        config: For each daemon its own configuration; lines keep their numbers, what belongs to others is a comment.
        unused: Lines of blocks that none of lblab's daemons runs (OSPF, ...), as (number, text).
    """

    config: Mapping[str, str]
    unused: tuple[tuple[int, str], ...]


def split(text: str) -> Split:
    """Take an integrated FRR file apart.

    Lines inside a block are indented, as FRR itself writes them; where a user's file does not indent, a block ends
    with its `exit` or with the next line that only stands outside of blocks.

    Args:
        text: The file's text, unchanged.
    """
    lines: dict[str, list[str]] = {daemon: [] for daemon in DAEMONS}
    unused: list[tuple[int, str]] = []
    block = _Block(None)
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        blank = not words or words[0].startswith(("!", "#"))
        owners = _NONE if blank else block.owners_of(line, words)
        if not owners and not blank and words[0] not in _LEAVES_BLOCK:
            unused.append((number, line.strip()))
        for daemon in DAEMONS:
            lines[daemon].append(line if daemon in owners else "!")
    return Split({daemon: "\n".join([*own, ""]) for daemon, own in lines.items()}, tuple(unused))


@dataclass
class _Block:
    """The block that is open while the file is read: whose it is, and whether its lines are indented (once seen)."""

    owners: frozenset[str] | None
    indents: bool | None = None

    def owners_of(self, line: str, words: list[str]) -> frozenset[str]:
        """Say whose a line is, and open or close the block it opens or closes."""
        indented = line[0].isspace()
        inside = self.owners is not None
        if inside and self.indents is None:
            self.indents = indented
        header = None if inside and indented else _first_words(words)
        if header is not None:
            owners = _OWNERS.get(header, _ALL)
            self.owners = owners if header in _BLOCKS and words[0] != "no" else None
            self.indents = None
            return owners
        if words[0] in _LEAVES_BLOCK and not indented:
            # Outside of a block it would take the daemon out of its configuration mode, as `end` does everywhere.
            owners, self.owners = self.owners or _NONE, None
            return _NONE if words[0] == "end" else owners
        if inside and self.indents and not indented:
            self.owners = None
        return _ALL if self.owners is None else self.owners


def _first_words(words: list[str]) -> str | None:
    """Give the known beginning of a line that only stands outside of blocks, None for any other."""
    start = words[1:] if words[0] == "no" else words
    known = {*_OWNERS, *_BLOCKS}
    return next((head for n in (2, 1) if (head := " ".join(start[:n])) in known), None)


def needed(text: str) -> tuple[str, ...]:
    """Say which daemons a configuration needs: always zebra and bgpd, bfdd and staticd only when it speaks of them."""
    bfd = re.search(r"^(bfd\b|\s*neighbor\s+\S+\s+bfd\b|ip(v6)? route .*\sbfd\b)", text, re.MULTILINE)
    static = re.search(r"^\s*ip(v6)? route\s", text, re.MULTILINE)
    return ("zebra", "bgpd", *(["bfdd"] if bfd else []), *(["staticd"] if static else []))
