"""Events in the order in which they happened, and choices among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from harness.timeline.event import Event

#: Around an outage, what happened so long before and after it is shown too: a fault comes before what it does.
_MARGIN_NS = 1_000_000_000


class Timeline(Sequence[Event]):
    """Events sorted by time.

    Args:
        events: In any order.
        zero_ns: The moment that times are shown relative to; by default the first fault, or else the first event.
    """

    def __init__(self, events: Iterable[Event], zero_ns: int | None = None) -> None:
        self._events = tuple(sorted(events, key=lambda each: each.at_ns))
        self._zero_ns = zero_ns

    @property
    def zero_ns(self) -> int:
        """The moment that times are shown relative to."""
        if self._zero_ns is not None:
            return self._zero_ns
        fault = next((each for each in self._events if each.is_fault), None)
        return fault.at_ns if fault else self._events[0].at_ns if self._events else 0

    def of(self, *kinds: str, subject: str | None = None, source: str | None = None, **data: Any) -> Timeline:
        """Those of some kinds, or groups of kinds ("bgp"), about one subject, with these values in their data."""
        return Timeline(
            (
                each
                for each in self._events
                if (not kinds or each.is_a(*kinds))
                and (subject is None or each.subject == subject)
                and (source is None or each.source == source)
                and all(each.data.get(key) == value for key, value in data.items())
            ),
            self.zero_ns,
        )

    def first(self, *kinds: str, after_ns: int | None = None, **wanted: Any) -> Event | None:
        """The first one as `of` has it, at or after a moment; None when there is none."""
        for each in self.of(*kinds, **wanted) if wanted else self._events:
            if (not kinds or each.is_a(*kinds)) and (after_ns is None or each.at_ns >= after_ns):
                return each
        return None

    def between(self, begin_ns: int, end_ns: int) -> Timeline:
        """Those from one moment to another, both included."""
        return Timeline((each for each in self._events if begin_ns <= each.at_ns <= end_ns), self.zero_ns)

    def around(self, begin_ns: int, end_ns: int, margin_ns: int = _MARGIN_NS) -> Timeline:
        """Those within an interval, such as an outage, and shortly before and after it."""
        return self.between(begin_ns - margin_ns, end_ns + margin_ns)

    def relative_to(self, zero_ns: int) -> Timeline:
        """The same, shown relative to another moment."""
        return Timeline(self._events, zero_ns)

    def __add__(self, others: Iterable[Event]) -> Timeline:
        return Timeline((*self._events, *others), self._zero_ns)

    @overload
    def __getitem__(self, place: int) -> Event: ...
    @overload
    def __getitem__(self, place: slice) -> Timeline: ...
    def __getitem__(self, place: int | slice) -> Event | Timeline:
        if isinstance(place, slice):
            return Timeline(self._events[place], self.zero_ns)
        return self._events[place]

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __str__(self) -> str:
        from harness.timeline.text import render

        return render(self)

    def __repr__(self) -> str:
        return f"Timeline({len(self)} events)"
