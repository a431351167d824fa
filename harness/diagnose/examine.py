"""Answers a lag's questions from what was observed around it: evidence, and no decision. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

from harness.diagnose import examine_arp as arp
from harness.diagnose.context import CLAIMS, Context
from harness.diagnose.observed import Sees, What
from harness.diagnose.questions import Answer, Answers, Question, no, unknown, yes

#: The server was away when its own gap is at least this share of the lag.
_MOSTLY = 0.5
#: FreeBSD holds 16 packets of an address that it resolves (net.link.ether.inet.maxhold), which come at once afterwards.
_HELD = 16
#: Seconds, unscaled: from a stalled speaker until its members give it up (26 s unconfirmed, facts/l2_and_lag.md 1.4)
#: and its container is restarted (3 x 10 s), and until a restarted one has joined.
_BEFORE, _AFTER = 40, 10
_SECOND = 1_000_000_000
#: Claims in turns: so many changes, each within so many seconds (memberlist's own time, unscaled) of the claim before.
_TURNS, _IN_TURNS = 3, 10


def examine(context: Context) -> Answers:
    """Answer every question."""
    return {question: answer(context) for question, answer in _ANSWERS.items()}


def server_stalled(c: Context) -> Answer:
    """By what the server says of its own ticks, by other players that it served, or by whom it hit."""
    told = [gap.stalled for _, gap in c.episode.gaps if gap.stalled is not None]
    if told:
        longest = max(told)
        evidence = f"the server's own longest pause was {c.span(longest)} of {c.span(c.episode.length)}"
        return yes(evidence) if longest >= _MOSTLY * c.episode.length else no(evidence)
    own = c.signs(What.SERVER, begin=c.episode.begin - c.near, end=c.episode.end + c.near)
    if own:
        return yes(c.told(own[0]))
    hit = {(flow.address, flow.port) for flow, _ in c.episode.gaps}
    served = [
        flow for flow in c.seen.flows if (flow.address, flow.port) in hit and c.watched(flow) and c.share(flow) == 0
    ]
    if served:
        return no(f"it served another player meanwhile ({served[0].name})")
    other = path_works(c)
    if other.value and c.sees(Sees.NEXT_HOP) and c.at_begin is None and not c.during(What.SEEN_AS):
        return yes(
            f"nobody but its own players was hit: {other.evidence}, and the router sent to the same MAC as before"
        )
    return unknown("the server's own log of its ticks would show it")


def path_works(c: Context) -> Answer:
    """By other services' traffic at the same address."""
    if c.also_hit:
        names = ", ".join(sorted(flow.name for flow in c.also_hit))
        return no(f"different services at {c.episode.address} were hit: {names}")
    clean = [flow for flow in c.others if c.share(flow) == 0]
    if clean:
        return yes(f"{clean[0].name} lost nothing meanwhile")
    if c.others:
        return yes(f"{c.others[0].name} lost hardly anything meanwhile")
    return unknown("steady traffic to a second service at the same address, such as a ping each second, would show it")


def node_lost(c: Context) -> Answer:
    """By traffic to the node's own address, its links, and its state in Kubernetes."""
    own = [flow for flow in c.to_nodes() if not c.owner or flow.node == c.owner]
    hit = [flow for flow in own if c.share(flow) >= _MOSTLY]
    if hit:
        return yes(f"{hit[0].name} was lost as well")
    down = [
        sign for sign in c.during(What.NODE_DOWN, What.PEER_DOWN) if not c.owner or c.owner in (sign.who, sign.about)
    ]
    if own:
        return no(f"{own[0].name} was reached all the time")
    if down:
        return yes(c.told(down[0]))
    return unknown("steady traffic to the node's own address, such as a ping each second, would show it")


def link_went(c: Context) -> Answer:
    """By links, and by what bridges say."""
    went = c.during(What.LINK_DOWN, What.TOPOLOGY_CHANGE)
    if went:
        return yes(c.told(went[0]))
    if c.sees(Sees.LINKS):
        return no("no link went down")
    return unknown("the switch's log, or `dmesg` of the node, would show it")


def only_down(c: Context) -> Answer:
    """By the direction in which packets were lost."""
    ways = c.episode.directions
    if ways == {"down"}:
        return yes("packets to the server went on, and its answers were missing")
    if "up" in ways or "both" in ways:
        return no("packets to the server were lost")
    if "late" in ways:
        return no("answers came, but late")
    return unknown("a capture at the node would show which way packets are lost")


def speaker_lost(c: Context) -> Answer:
    """By memberlist's log, MetalLB's events of its leader, and restarts of the speaker."""
    begin, end = c.episode.begin - _BEFORE * _SECOND, c.episode.end + _AFTER * _SECOND
    found = c.signs(What.SUSPECTED, What.LEADER, begin=begin, end=end)
    found += [sign for sign in c.signs(What.ENDED, begin=begin, end=end) if "speaker" in sign.about]
    if found:
        return yes(c.told(found[0]))
    if c.sees(Sees.METALLB):
        return no("no member of MetalLB's was suspected, and no speaker restarted")
    return unknown("`kubectl logs` of the speakers, and `kubectl get pods -o json`, would show it")


def lease_changed(c: Context) -> Answer:
    """By the lease's holder."""
    changed = c.during(What.LEASE)
    if changed:
        return yes(c.told(changed[-1]))
    if c.sees(Sees.LEASES):
        return no("the lease stayed with its holder")
    return unknown("`kubectl get lease -n kube-system -o json` before and after would show it")


def returned(c: Context) -> Answer:
    """By routes and sessions that came, or by an owner that had lost the address and takes it back."""
    begin = c.episode.begin
    came = [
        sign
        for sign in c.signs(What.PEER_UP, What.ROUTE, begin=begin - c.near, end=begin + c.close)
        if sign.what is What.PEER_UP or (sign.who and _covers(sign.about, c.episode.address))
    ]
    if c.at_begin is not None:  # the one that it moved to has only just come up
        up = c.signs(What.NODE_UP, What.LINK_UP, begin=begin - c.near, end=begin + c.close)
        came += [sign for sign in up if sign.who == c.at_begin.to]
    if came:
        return yes(c.told(came[-1]))
    if c.at_begin is not None:
        lost = [m for m in c.moves if m.at < c.at_begin.at and m.sign.before == c.at_begin.to]
        if lost and c.at_end is None:
            return yes(f"{c.at_begin.to} had lost the address at {c.time(lost[-1].at)}, and took it back")
        return no("the node that it moved to had not lost it before" if not lost else "it moved on again at the end")
    if c.sees(Sees.NEXT_HOP):
        return no("the path did not change when it began")
    return unknown("a capture on the router's interface to the nodes would show it")


def _covers(route: str, address: str) -> bool:
    return route in (address, f"{address}/32")


def strangers(c: Context) -> Answer:
    """By what the server refused, or the addresses that it saw clients under."""
    refused = sum(gap.strangers for _, gap in c.episode.gaps)
    if refused:
        return yes(f"it refused {refused} packets of players that it did not know")
    seen = c.during(What.SEEN_AS)
    if seen:
        return yes(c.told(seen[0]))
    if c.sees(Sees.SERVER):
        return no("it refused nobody")
    return unknown("the server's log would show players under a new address")


def held_back(c: Context) -> Answer:
    """By a burst: more than a router that waits for ARP holds."""
    bursts = [(flow, gap.burst) for flow, gap in c.episode.gaps]
    flow, most = max(bursts, key=lambda each: each[1])
    if most > 2 * _HELD:
        return yes(f"{flow.name}: {most} packets came at once afterwards")
    return no("nothing came at once afterwards")


def refused(c: Context) -> Answer:
    """By ICMP port unreachable or TCP RST from the address."""
    said = c.during(What.REFUSED, about=c.episode.address)
    return yes(c.told(said[0])) if said else unknown("a capture of ICMP at the router would show it")


def conflict(c: Context) -> Answer:
    """By logs."""
    said = c.during(What.CONFLICT)
    return yes(c.told(said[0])) if said else unknown("the router's log would show it")


def node_asked(c: Context) -> Answer:
    """By ARP of the node for the next hop of its answers."""
    asked = [
        sign
        for sign in c.signs(What.NODE_ASKS, begin=c.episode.begin - c.close, end=c.episode.end + c.close)
        if not c.owner or sign.who == c.owner
    ]
    return yes(c.told(asked[0])) if asked else unknown("a capture of ARP at the node would show it")


def both_claim(c: Context) -> Answer:
    """By hosts that announce or answer in turns: one that gives an address up does not claim it again at once."""
    if not c.sees(Sees.ARP):
        return unknown("ARP on the nodes' network would show it")
    margin = _IN_TURNS * _SECOND
    claims = c.signs(*CLAIMS, begin=c.episode.begin - margin, end=c.episode.end + margin, about=c.episode.address)
    claims = [sign for sign in claims if sign.who]
    turns = [(a, b) for a, b in pairwise(claims) if a.who != b.who and b.at - a.at <= margin]
    if len(turns) >= _TURNS and any(sign.what is What.ANNOUNCED for sign in claims):
        first, last = turns[0][0], turns[-1][1]
        who = " and ".join(sorted({sign.who for turn in turns for sign in turn}))
        return yes(f"{who} claimed it in turns, {len(turns)} times from {c.time(first.at)} to {c.time(last.at)}")
    return no("nobody claimed it beside another one")


_ANSWERS: Mapping[Question, Callable[[Context], Answer]] = {
    Question.SERVER_STALLED: server_stalled,
    Question.PATH_WORKS: path_works,
    Question.NODE_LOST: node_lost,
    Question.LINK_WENT: link_went,
    Question.MOVED_AT_BEGIN: arp.moved_at_begin,
    Question.MOVED_AT_END: arp.moved_at_end,
    Question.THERE_AND_BACK: arp.there_and_back,
    Question.EXPIRED: arp.expired,
    Question.AT_REFRESH: arp.at_refresh,
    Question.LEARNED_LATE: arp.learned_late,
    Question.ONLY_DOWN: only_down,
    Question.STRANGER: arp.stranger,
    Question.ANNOUNCED_AT_BEGIN: arp.announced_at_begin,
    Question.ANNOUNCED_AT_END: arp.announced_at_end,
    Question.TWO_ANSWER: arp.two_answer,
    Question.BOTH_CLAIM: both_claim,
    Question.SPEAKER_LOST: speaker_lost,
    Question.LEASE_CHANGED: lease_changed,
    Question.RETURNED: returned,
    Question.STRANGERS: strangers,
    Question.HELD_BACK: held_back,
    Question.REFUSED: refused,
    Question.CONFLICT: conflict,
    Question.NODE_ASKED: node_asked,
}
