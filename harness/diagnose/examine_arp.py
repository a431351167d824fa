"""Answers to what the router's ARP entry did: who has the address, since when, by what. Pure."""

from __future__ import annotations

from itertools import zip_longest

from harness.diagnose.context import CLAIMS, Context, Move
from harness.diagnose.observed import Sees, Sign, What
from harness.diagnose.questions import Answer, no, unknown, yes
from harness.verdict.arp import Freebsd

#: FreeBSD's timers in its own seconds (facts/l2_and_lag.md, section 2.1).
_TIMERS = Freebsd()
#: Seconds, unscaled, by which stamps and a busy machine may be off.
_SLACK_NS = 100_000_000
#: Answers to one question: the slower of two announcers was seen to take 30 s (facts/l2_and_lag.md, section 2.3, S6).
_ONE_QUESTION = 120
#: Two sources' stamps of one moment.
_ALMOST_NS = 1_000_000
_CAPTURE = "a capture on the router's interface to the nodes would show it"


def moved_at_begin(c: Context) -> Answer:
    """Whether the lag began with a move."""
    return _moved(c, c.at_begin)


def moved_at_end(c: Context) -> Answer:
    """Whether it ended with one."""
    if not c.episode.ended:
        return unknown("its end was not seen")
    return _moved(c, c.at_end)


def _moved(c: Context, move: Move | None) -> Answer:
    if move is not None:
        how = "announced by gratuitous ARP" if move.announced else "without a gratuitous ARP"
        return yes(f"{c.time(move.at)}: from {move.sign.before} to {move.to}, {how}")
    if c.sees(Sees.NEXT_HOP):
        return no("the router went on sending to the same MAC")
    return unknown(_CAPTURE)


def there_and_back(c: Context) -> Answer:
    """Whether the lag was the address's visit to another node."""
    first, last = c.at_begin, c.at_end
    if first is not None and last is not None:
        if last.to == first.sign.before and first.to != last.to:
            return yes(f"it was with {first.to} for {c.span(last.at - first.at)}, and is with {last.to} again")
        return no(f"it went to {first.to} and then to {last.to}")
    if c.sees(Sees.NEXT_HOP):
        return no("it did not move at both ends of the lag")
    return unknown(_CAPTURE)


def expired(c: Context) -> Answer:
    """Whether the router was left without an answer: by its own account, or by its questions."""
    begin, end = c.episode.begin, c.episode.end
    gone = c.signs(
        What.EXPIRED,
        What.UNRESOLVED,
        What.HOST_UNREACHABLE,
        begin=begin - c.near,
        end=max(begin, end - c.close),
        about=c.episode.address,
    )
    if gone:
        return yes(c.told(gone[0]))
    asked = c.signs(What.ASKED, begin=begin - c.near, end=end, about=c.episode.address)
    answered = c.signs(*CLAIMS, begin=begin - c.near, end=end - c.close, about=c.episode.address)
    if len(asked) >= _TIMERS.tries and not answered:
        return yes(f"it asked {len(asked)} times from {c.time(asked[0].at)} on, and nobody answered")
    if c.sees(Sees.ARP):
        return no("its questions were answered" if asked else "it did not ask in vain")
    return unknown("the router's ARP, in a capture of its interface to the nodes, would show it")


def at_refresh(c: Context) -> Answer:
    """Whether it began 1196 to 1201 s after the address was last heard of by ARP."""
    begin = c.episode.begin
    window = int((_TIMERS.tries + 1) * c.second) + _SLACK_NS
    asked = c.signs(What.VERIFIES, begin=begin - window, end=begin + _SLACK_NS, about=c.episode.address)
    if asked:
        return yes(f"{c.time(asked[-1].at)}: the router asked again for an address that it had")
    heard = [
        sign
        for sign in c.signs(*CLAIMS, begin=c.seen.begin, end=begin - window, about=c.episode.address)
        if sign.at < begin - window
    ]
    if heard:
        since = (begin - heard[-1].at) / c.second
        evidence = f"{since:.0f} s after the address was last heard of by ARP"
        low, high = _TIMERS.asks[0] - 1, _TIMERS.deleted + 2
        return yes(evidence) if low <= since <= high else no(evidence)
    if c.sees(Sees.ARP):
        return no("the router did not ask")
    return unknown("the router's ARP, in a capture of its interface to the nodes, would show it")


def learned_late(c: Context) -> Answer:
    """Whether the router heard of the address's new host only when it asked, at the end of the lag or at its begin.

    At its end when the old host was dead; at its begin when that one had gone on forwarding until then, and the new one
    does not know the players.
    """
    if not c.sees(Sees.ARP):
        return unknown("the router's ARP, in a capture of its interface to the nodes, would show it")
    for move in (c.at_end, c.at_begin):
        if move is None or move.announced:
            continue
        asked = _asked_before(c, move.at)
        if asked is not None and (move is c.at_end or (c.at_end is None and two_answer(c).value is False)):
            return yes(f"{c.time(asked.at)}: the router asked, and {move.to} answered")
    return no("it did not move by an answer to a question of the router's")


def _asked_before(c: Context, at: int) -> Sign | None:
    """The question of the router's that a move shortly after it answers."""
    begin = at - int(_TIMERS.tries * c.second) - _SLACK_NS
    asked = c.signs(What.VERIFIES, What.ASKED, begin=begin, end=at + _SLACK_NS, about=c.episode.address)
    return asked[-1] if asked else None


def stranger(c: Context) -> Answer:
    """Whether the address went to a host that is no node."""
    if c.at_begin is None:
        return no("it did not move") if c.sees(Sees.NEXT_HOP) else unknown(_CAPTURE)
    names = c.seen.nodes
    if c.at_begin.to in names:
        return no(f"{c.at_begin.to} is a node")
    if names:
        return yes(f"{c.at_begin.to} is none of the nodes' ({', '.join(sorted(names))})")
    return unknown("`kubectl get nodes -o json` tells which MACs are the nodes'")


def announced_at_begin(c: Context) -> Answer:
    """Whether gratuitous ARP led the router astray."""
    return _announced(c, c.at_begin)


def announced_at_end(c: Context) -> Answer:
    """Whether gratuitous ARP led it back; what is announced again and again, without a move, ends nothing."""
    return _announced(c, c.at_end)


def _announced(c: Context, move: Move | None) -> Answer:
    if not c.sees(Sees.ARP):
        return unknown("gratuitous ARP, in a capture of the nodes' network, would show it")
    if move is None:
        return no("it did not move then")
    if move.announced:
        return yes(f"{move.to} announced it by gratuitous ARP")
    return no(f"{move.to} was followed without a gratuitous ARP: it had answered a question")


def two_answer(c: Context) -> Answer:
    """Whether two hosts answer one question of the router's, anywhere in the recording."""
    if not c.sees(Sees.ARP):
        return unknown("the router's ARP, in a capture of its interface to the nodes, would show it")
    about = c.episode.address
    asked = c.signs(What.ASKED, What.VERIFIES, begin=c.seen.begin, end=c.seen.end, about=about)
    said = c.signs(What.ANSWERED, What.MOVED, begin=c.seen.begin, end=c.seen.end, about=about)
    announced = {id(move.sign) for move in c.moves if move.announced}
    said = [sign for sign in said if id(sign) not in announced]
    # what is asked again within a few seconds is one question: nobody has answered yet
    groups = [first for first, before in zip(asked, [None, *asked], strict=False) if _new_question(c, before, first)]
    for question, following in zip_longest(groups, groups[1:]):
        within = question.at + int(_ONE_QUESTION * c.second)
        if following is not None:
            within = min(within, following.at - 1)
        answers = [sign for sign in said if question.at - sign.wide - _ALMOST_NS <= sign.at <= within]
        who = dict.fromkeys(sign.who for sign in answers if sign.who)
        if len(who) > 1:
            late = c.span(answers[-1].at - question.at)
            return yes(f"{c.time(question.at)}: {' and '.join(who)} answered one question, the last after {late}")
    if asked and said:
        return no(f"{len(asked)} questions, each answered by one host at most")
    return unknown("no question of the router's was seen: record for longer than its ARP entry lives (20 minutes)")


def _new_question(c: Context, before: Sign | None, asked: Sign) -> bool:
    return before is None or asked.at - before.at > (_TIMERS.tries + 1) * c.second
