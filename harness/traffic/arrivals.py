"""Which packets a server has received, from its log or from what its replies said: yes, no, or not known."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.traffic.control import FlowLog, ServerLog
from harness.traffic.records import Account, Run

#: How many of its latest gaps a server names in a reply (wire.MaxGaps of lablet).
MAX_GAPS = 4

Range = tuple[int, int]


@dataclass(frozen=True)
class Seen:
    """What is known of one flow at one server process.

    Attributes:
        first: Lowest number received.
        highest: Highest number received, as far as is known.
        gaps: Numbers not received in between, ascending ranges with both ends included.
        final: Nothing was received beyond `highest`: a log that was read after the run.
        certain_from: From this number on the gaps are complete; below, a number outside of them is not known.
        ended: When the server process ended, ns; what was sent later cannot have arrived. None: it did not, or unknown.
    """

    first: int
    highest: int
    gaps: tuple[Range, ...] = ()
    final: bool = False
    certain_from: int = 0
    ended: int | None = None

    def received(self, sequence: int, sent: int) -> bool | None:
        """Whether a packet arrived at this server; None: not known."""
        if self.ended is not None and sent > self.ended:
            return False
        if sequence < self.first:
            return False
        if sequence > self.highest:
            return False if self.final else None
        place = bisect_right(self.gaps, (sequence, 1 << 62)) - 1
        if place >= 0 and self.gaps[place][0] <= sequence <= self.gaps[place][1]:
            return False
        return True if sequence >= self.certain_from else None


def from_log(log: FlowLog, ended: int | None = None) -> Seen:
    """What a server's own log says; it is complete, but for gaps that it had to forget."""
    return Seen(log.first, log.highest, log.gaps, final=True, certain_from=log.forgotten, ended=ended)


def from_accounts(accounts: Sequence[Account], ended: int | None = None) -> Seen:
    """What the replies of one server say about one flow.

    A reply names the latest gaps only, so an account replaces what was known from its oldest gap on, and everything
    when it names fewer gaps than it has room for. Whether nothing was missed in between shows in the count.

    Args:
        accounts: At least one, in the order in which the server made them.
        ended: When the server process ended, if it did.
    """
    gaps: list[Range] = []
    for account in accounts:
        oldest = account.gaps[0][0] if len(account.gaps) >= MAX_GAPS else 0
        gaps = [
            *((first, min(last, oldest - 1)) for first, last in gaps if first < oldest),
            *account.gaps,
        ]
    last = accounts[-1]
    missing = last.highest - last.first + 1 - last.received
    complete = sum(end - begin + 1 for begin, end in gaps) == missing
    newest = last.gaps[0][0] if last.gaps else last.highest
    return Seen(last.first, last.highest, tuple(gaps), certain_from=0 if complete else newest, ended=ended)


def by_flow(run: Run, logs: Iterable[ServerLog] = (), ended: Mapping[str, int] | None = None) -> dict[int, list[Seen]]:
    """Everything that is known of each flow of a run, one entry per server process.

    Args:
        run: The prober's records.
        logs: Servers' logs, read after the run; they replace what replies say of the same process.
        ended: When server processes ended, by instance.
    """
    ended = ended or {}
    seen: dict[int, list[Seen]] = {flow: [] for flow in range(run.header.flows)}
    logged: set[str] = set()
    for log in logs:
        logged.add(log.instance)
        for each in log.flows:
            if each.session == run.header.session and each.flow in seen:
                seen[each.flow].append(from_log(each, ended.get(log.instance)))
        for flow, servers in seen.items():
            if not any(each.flow == flow and each.session == run.header.session for each in log.flows):
                servers.append(Seen(1, 0, final=True))  # this server says that it got nothing
    accounts: dict[tuple[int, int], list[Account]] = {}
    for account in run.accounts:
        accounts.setdefault((account.flow, account.backend), []).append(account)
    instances = {backend.number: backend.instance for backend in run.backends}
    for (flow, number), own in accounts.items():
        instance = instances.get(number, "")
        if instance not in logged:
            seen[flow].append(from_accounts(own, ended.get(instance)))
    return seen
