"""What a capture shows: steady traffic with its gaps, the next hops that frames take, ARP, ICMP, BGP. Pure.

Where the capture was made decides what it can show: on the router's interface to the nodes the frames' destination says
where the router sends; in front of the router, or at a client, it does not, and nothing is concluded from that.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import cast

from harness.capture.messages import TCP
from harness.capture.seen import BURST_NS, Seen, Stream, StreamKey
from harness.diagnose import capture_signs
from harness.diagnose.episodes import least
from harness.diagnose.observed import Flow, Gap, Observations, Sees

#: A steady stream: so many packets at least, no more than so many seconds apart (a ping each second is one), and silent
#: for no more than this share of its time.
_PACKETS, _INTERVAL_NS, _SILENT = 20, 1_500_000_000, 0.9
#: Packets of the other direction went on when they came for at least this share of a gap.
_WENT_ON = 0.5
#: A stream that is silent more than a few times, and more often than once in so many packets, pauses by itself.
_FEW, _PER_PAUSE = 2, 200
_ICMP = (1, 58)
#: Ports from here on are given to clients (Linux, net.ipv4.ip_local_port_range; others begin at 49152, RFC 6335).
_EPHEMERAL = 32768


@dataclass(frozen=True)
class Pair:
    """Both directions of a conversation in one place.

    Attributes:
        server: (address, port) of the side that serves.
        up: To the server; None when it was not seen.
        down: From the server.
    """

    server: tuple[str, int]
    up: Stream | None
    down: Stream | None

    @property
    def client(self) -> str:
        """The other side."""
        if self.up is not None:
            return f"{self.up.key[2]}:{self.up.key[3]}"
        assert self.down is not None
        return f"{self.down.key[4]}:{self.down.key[5]}"


def observe(
    seen: Seen, source: str, *, scale: float = 1.0, address: str | None = None, at_node: bool = False
) -> Observations:
    """Take a capture's evidence.

    Args:
        seen: What one pass over it has kept.
        source: The file.
        scale: A lab's time scale; 1 for a real site.
        address: The service's address, where it is known.
        at_node: The capture was made at the node that the answers come from: what was seen there has arrived.
    """
    pairs = _pairs(seen, address)
    servers = {pair.server[0] for pair in pairs}
    hosts = capture_signs.Hosts.of(seen, servers)
    found = Observations([source], seen.first, seen.last, scale=scale)
    found.flows = [flow for pair in pairs if (flow := _flow(pair, seen, hosts, scale, at_node=at_node)) is not None]
    steady = {flow.address for flow in found.flows if not flow.to_node}
    on_link = hosts.on_link(pairs)
    found.signs = sorted(capture_signs.signs(seen, hosts, pairs, steady & on_link), key=lambda sign: sign.at)
    found.own = dict(hosts.own)
    found.nodes = set(hosts.peers)
    if steady & on_link:
        found.sees |= {Sees.NEXT_HOP, Sees.ARP} if seen.arp else {Sees.NEXT_HOP}
    found.problems = [f"{source}: {count} packets left out: {why}" for why, count in sorted(seen.unread.items())]
    if seen.forgotten:
        found.problems.append(f"{source}: {seen.forgotten} conversations were given up, there are too many of them")
    if seen.dropped:
        found.problems.append(f"{source}: {seen.dropped} frames of ARP, ICMP and the like were more than is kept")
    return found


def _pairs(seen: Seen, address: str | None) -> list[Pair]:
    """Find both directions of each conversation, and which side serves."""
    by_ends: dict[StreamKey, Stream] = {}
    for (view, *rest), stream in seen.streams.items():
        key = cast(StreamKey, (view.removesuffix("in").removesuffix("out"), *rest))
        if key not in by_ends or view.endswith("in"):  # what came in, of what a router has twice
            by_ends[key] = stream
    peers: dict[tuple[int, str, int], set[tuple[str, int]]] = defaultdict(set)
    for _, protocol, source, from_port, target, to_port in by_ends:
        peers[protocol, source, from_port].add((target, to_port))
        peers[protocol, target, to_port].add((source, from_port))
    found: list[Pair] = []
    done: set[StreamKey] = set()
    for key, stream in by_ends.items():
        place, protocol, source, from_port, target, to_port = key
        back = (place, protocol, target, to_port, source, from_port)
        if key in done:
            continue
        done |= {key, back}
        other = by_ends.get(back)
        serves = _serves(
            (source, from_port), (target, to_port), peers, protocol, address, first=stream is _earlier(stream, other)
        )
        up, down = (other, stream) if serves == (source, from_port) else (stream, other)
        found.append(Pair(serves, up, down))
    return found


def _earlier(one: Stream, other: Stream | None) -> Stream:
    return one if other is None or one.first <= other.first else other


def _serves(
    source: tuple[str, int],
    target: tuple[str, int],
    peers: dict[tuple[int, str, int], set[tuple[str, int]]],
    protocol: int,
    address: str | None,
    *,
    first: bool,
) -> tuple[str, int]:
    """Which of two ends serves: the named one, the one without a passing port, with more peers, that did not begin."""
    if address in (source[0], target[0]) and source[0] != target[0]:
        return source if source[0] == address else target
    if protocol in _ICMP:
        return target if target[1] == 0 else source
    if (source[1] < _EPHEMERAL) != (target[1] < _EPHEMERAL):
        return source if source[1] < _EPHEMERAL else target
    here, there = len(peers[protocol, *source]), len(peers[protocol, *target])
    if here != there:
        return source if here > there else target
    return target if first else source


def _flow(pair: Pair, seen: Seen, hosts: capture_signs.Hosts, scale: float, *, at_node: bool) -> Flow | None:
    """A pair as a flow that should go on all the time; None when it is no steady one."""
    main = pair.down or pair.up
    if main is None or not _steady(main):
        return None
    address, port = pair.server
    ends = [stream.last for stream in (pair.up, pair.down) if stream is not None]
    node = pair.down.from_mac if pair.down else ""
    return Flow(
        name=f"{pair.client} and {address}:{port}",
        address=address,
        port=port,
        begin=main.first,
        end=max(ends),
        interval=main.interval,
        gaps=tuple(_gaps(pair, main, least(scale), at_node=at_node)),
        node=node,
        to_node=address in hosts.own.get(node, ()),
    )


def _steady(stream: Stream) -> bool:
    if stream.count < _PACKETS or stream.unkept or stream.interval > _INTERVAL_NS:
        return False
    silent = sum(gap.end - gap.begin for gap in stream.gaps)
    return silent <= _SILENT * max(1, stream.last - stream.first)


def _gaps(pair: Pair, main: Stream, at_least: int, *, at_node: bool) -> list[Gap]:
    found = []
    usual = BURST_NS / main.interval if main.interval else 0
    pauses = main.key[1] == TCP or (len(main.gaps) > _FEW and len(main.gaps) * _PER_PAUSE > main.count)
    for gap in main.gaps:
        way = _direction(pair, main, gap.begin, gap.end, at_node=at_node)
        if way == "both" and pauses:
            continue  # nobody had anything to say, as in a download or a chat
        found.append(Gap(gap.begin, gap.end, way, max(0, gap.burst - round(2 * usual))))
    up = pair.up
    if up is not None and main is pair.down and up.last - main.last > max(at_least, 3 * main.interval):
        # the client went on asking, and never had an answer again
        way = _direction(pair, main, main.last, up.last, at_node=at_node)
        found.append(Gap(main.last, None, way))
    return found


def _direction(pair: Pair, main: Stream, begin: int, end: int, *, at_node: bool) -> str:
    """Where packets were missing, as far as one place can tell."""
    other = pair.up if main is pair.down else pair.down
    if other is None:
        return "unknown"
    silent = sum(max(0, min(end, gap.end) - max(begin, gap.begin)) for gap in other.gaps)
    if other.last < end:
        silent += end - max(begin, other.last)
    if silent > _WENT_ON * (end - begin):
        return "both"
    return "down" if at_node else "unknown"
