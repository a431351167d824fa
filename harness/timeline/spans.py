"""States that last, from the events that begin and end them: a session down, a path stale, a process gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.timeline import event
from harness.timeline.event import Event


@dataclass(frozen=True)
class Span:
    """A state that lasted."""

    begin_ns: int
    end_ns: int
    text: str


@dataclass(frozen=True)
class _State:
    begins: tuple[str, ...]
    ends: tuple[str, ...]
    #: What it is the state of.
    key: Callable[[Event], str]
    text: str


_STATES = (
    _State(
        (event.PEER_DOWN,),
        (event.PEER_UP,),
        lambda e: f"{e.subject} with {e.data.get('peer_name', e.data.get('peer', '?'))}",
        "session of {} down",
    ),
    _State(
        (event.STALE,),
        (event.FRESH, event.DROPPED),
        lambda e: f"{e.data.get('prefix')} from {e.data.get('peer_name', '?')}",
        "{} stale",
    ),
    _State((event.SPEAKER_DOWN,), (event.SPEAKER_UP,), lambda e: e.subject, "{}'s bgpd away"),
    _State((event.ENDED,), (event.STARTED,), lambda e: e.subject, "{} not running"),
    _State(
        (event.LINK_DOWN, event.LINK_GONE),
        (event.LINK_UP,),
        lambda e: str(e.data.get("port", e.subject)),
        "{} down",
    ),
    _State((event.FIB_DELETE,), (event.FIB_ADD,), lambda e: f"{e.subject}: {e.data.get('prefix')}", "no route at {}"),
)


def spans(events: Iterable[Event], end_ns: int) -> Iterator[Span]:
    """Find the states that began within these events.

    Args:
        events: In order of time.
        end_ns: Where a state that did not end is cut off.
    """
    open_states: dict[tuple[_State, str], int] = {}
    for each in events:
        if each.kind == event.BLIND and "from_ns" in each.data:
            yield Span(int(each.data["from_ns"]), int(each.data["to_ns"]), each.text)
        for state in _STATES:
            key = (state, state.key(each))
            if each.kind in state.begins:
                open_states.setdefault(key, each.at_ns)
            elif each.kind in state.ends and key in open_states:
                begin = open_states.pop(key)
                text = f"{state.text.format(key[1])} for {_seconds(each.at_ns - begin)}"
                yield Span(begin, each.at_ns, text)
    for (state, what), begin in open_states.items():
        yield Span(begin, end_ns, f"{state.text.format(what)} since then")


def outages(events: Sequence[Event], end_ns: int) -> Iterator[tuple[int, int]]:
    """The outages that probes found, as (begin, end)."""
    for each in events:
        if each.kind == event.OUTAGE_BEGIN:
            yield int(each.data["begin_ns"]), int(each.data.get("end_ns") or end_ns)


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e6:.0f} ms" if nanoseconds < 1_000_000_000 else f"{nanoseconds / 1e9:.3f} s"
