"""What clients lose behind FreeBSD's ARP: F0 to F6 of shared/facts/l2_and_lag.md 2.3, fifty times as fast.

Every row is a service of its own in one lab, so that all of them take one and two refreshes of the router's entries:
about a minute. Seconds in this file are FreeBSD's; a lab's are `topology.time_scale` of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import pytest

from harness.arp.announcer import Announcer
from harness.arp.router_arp import FreebsdArp
from harness.errors import Untrusted
from harness.expect import Expect
from harness.lab import Lab
from harness.measure import Measured, Probe, together
from harness.timeline import event
from harness.verdict import arp as formulas
from harness.verdict.predict import Prediction
from harness.wait import let_pass, until

pytestmark = [pytest.mark.lab(topology="router-arp")]

#: Courses that are run again because a row was off.
_MORE_COURSES = 2
#: How far a row may be from its formula.
_TOLERANCE = 1.0
#: Packets a second: more where the last 16 are held (maxhold, which does not scale).
_RATE, _RATE_HELD = 200, 500
#: Everything has to be under way before the first row begins.
_FIRST_ACT = 600
#: How late the slower of two announcers answers (F6), and how long a leader is away (F4).
_LATE = _AWAY = 30.0
#: How long it takes the others to notice that a leader has died (F3); memberlist takes 5 to 7 s (facts 1.4).
_NOTICED = 6.0
#: Two refreshes of the entry with the slower announcer (F6), and something more.
_LENGTH = 2 * (1196 + _LATE) + 40

#: The network of the nodes, the routers and the addresses.
_NETWORK = "servers"

HELD = ("silent", "unanswered")


@dataclass(eq=False)
class Course(dict[str, Measured]):
    """One run: what each probe measured, when each entry was heard of before the row began, and when what was done."""

    begun: int = 0
    heard: dict[str, int] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)


class Rows:
    """Carries the rows out on a lab."""

    def __init__(self, lab: Lab, slow: Announcer, quick: Announcer) -> None:
        self.lab, self.slow, self.quick = lab, slow, quick
        self.scale = lab.topology.time_scale
        self.address = {row: lab.service(row).address for row in ROWS}
        found = lab.router("freebsd").arp
        assert isinstance(found, FreebsdArp)
        self.arp = found

    def begin(self) -> None:
        """Worker1 announces everything; one address is announced by worker2, too, which answers first."""
        self.arp.delete()
        for address in self.address.values():
            self.slow.announce(address, gratuitous=False)
        self.slow.delay(self.address["both"], _LATE * self.scale)
        self.quick.announce(self.address["both"], gratuitous=False)
        for row, address in self.address.items():
            until(f"an answer from {row}", partial(self._answers, "client-freebsd", address), within=10)
        until("an answer through Linux", partial(self._answers, "client-linux", self.address["both"]), within=10)

    def _answers(self, client: str, address: str) -> bool:
        return self.lab.client(client).udp(address, 7777, b"ready?", within=0.5) == b"ready?"

    def probes(self) -> dict[str, Probe]:
        """A probe through the FreeBSD router for each row; for the last one a second one through the Linux router."""
        made = {row: partial(self._probe, row, "client-freebsd") for row in ROWS}
        made["both-linux"] = partial(self._probe, "both", "client-linux")
        return {name: make(name) for name, make in made.items()}

    def _probe(self, row: str, client: str, name: str) -> Probe:
        rate = _RATE_HELD if row in HELD else _RATE
        resolution = _TOLERANCE * self.scale * 1000
        return Probe(self.lab, self.address[row], 7777, client=client, rate=rate, resolution_ms=resolution, name=name)

    def acts(self) -> Iterator[tuple[float, str, Callable[[], int]]]:
        """(seconds after the entry was heard of, "row what", act), in the order of each row.

        Predictions are made with when something was done, not with when it was due.
        """
        slow, quick, at = self.slow, self.quick, self.address
        yield 600, "moved", partial(quick.announce, at["moved"])
        yield 601, "moved away", partial(slow.withdraw, at["moved"])
        yield 1180, "silent", partial(slow.mute, at["silent"])
        yield 1231, "silent end", partial(slow.unmute, at["silent"])
        yield 1180, "briefly-silent", partial(slow.mute, at["briefly-silent"])
        yield 1197.5, "briefly-silent end", partial(slow.unmute, at["briefly-silent"])
        yield 700, "unanswered", partial(slow.mute, at["unanswered"])
        yield 1271, "unanswered end", partial(slow.announce, at["unanswered"])
        yield 1280, "unanswered over", partial(slow.unmute, at["unanswered"])
        yield 800, "died", partial(self.dies, "died")
        yield 800 + _NOTICED, "died end", partial(quick.announce, at["died"])
        yield 600, "flapped", partial(self.hand_over, slow, quick, at["flapped"])
        yield 600 + _AWAY, "flapped end", partial(self.hand_over, quick, slow, at["flapped"])
        yield 900, "lost", partial(self.hand_over, slow, quick, at["lost"], gratuitous=False)
        yield 1100, "lost-and-dead", partial(self.dies, "lost-and-dead")
        yield 1101, "lost-and-dead end", partial(quick.announce, at["lost-and-dead"], gratuitous=False)

    def dies(self, row: str) -> int:
        """Worker1 gets no packet for the row's address and answers for it no more, as if it were dead."""
        stamp = self.lab.backend.block("worker1", _NETWORK, row, f"ip daddr {self.address[row]}")
        self.slow.withdraw(self.address[row])
        return stamp.at_ns

    def hand_over(self, old: Announcer, new: Announcer, address: str, *, gratuitous: bool = True) -> int:
        """Let another node announce an address."""
        old.withdraw(address)
        return new.announce(address, gratuitous=gratuitous)

    def carry_out(self, course: Course) -> None:
        """Do everything at its time, and wait until the last timer has fired."""
        for row, address in self.address.items():
            entry = self.arp.entry(address)
            assert entry is not None, f"{row} has no entry"
            assert entry.heard_ns is not None, f"{row} is not resolved"
            assert entry.host == "worker1", f"{row} is at {entry.host}"
            course.heard[row] = entry.heard_ns
        course.begun = time.monotonic_ns()
        second = self.scale * 1e9
        by_row: dict[str, list[tuple[float, str, Callable[[], int]]]] = {row: [] for row in ROWS}
        for at, what, act in self.acts():
            row = what.split()[0]
            by_row[row].append((course.heard[row] + at * second, what, act))
        with ThreadPoolExecutor(len(ROWS)) as pool:  # no row waits for what another one does
            for done in [pool.submit(self._do, course, acts) for acts in by_row.values()]:
                done.result()
        let_pass(max(0.0, (course.heard["both"] + _LENGTH * second - time.monotonic_ns()) / 1e9))

    def _do(self, course: Course, acts: list[tuple[float, str, Callable[[], int]]]) -> None:
        for due, what, act in acts:
            let_pass(max(0.0, (due - time.monotonic_ns()) / 1e9))
            course.done[what] = act()


ROWS = ("moved", "silent", "briefly-silent", "unanswered", "died", "flapped", "lost", "lost-and-dead", "both")


@contextlib.contextmanager
def carried_out(lab: Lab) -> Iterator[Rows]:
    """The lab with both announcers, and afterwards without what the rows have changed."""
    with lab.node("worker1").announcer as slow, lab.node("worker2").announcer as quick:
        rows = Rows(lab, slow, quick)
        rows.begin()
        try:
            yield rows
        finally:
            for row in ("died", "lost-and-dead"):
                lab.backend.block("worker1", _NETWORK, row, None)
            rows.arp.delete()


def one_run(lab: Lab) -> Course:
    """All rows once."""
    course = Course()
    with carried_out(lab) as rows:
        probes = rows.probes()
        with together(probes):
            until(
                "the slower announcer to have answered last",
                lambda: rows.arp.entry(rows.address["both"]),
                lambda entry: entry is not None and entry.host == "worker1",
                within=5,
            )
            rows.carry_out(course)
            assert lab.router("linux").arp.moves(rows.address["both"]) == 0, "Linux took the late answer"
            linux = lab.router("linux").arp.entry(rows.address["both"])
            assert linux is not None
            assert linux.host == "worker2", "Linux keeps the first answer for as long as it is confirmed"
        course.update({name: probe.measured for name, probe in probes.items()})
    return course


def moves_of(lab: Lab, course: Course, row: str, address: str) -> list[tuple[float, str]]:
    """When an address moved, seconds after it was heard of, and where to."""
    second = lab.topology.time_scale * 1e9
    found = lab.timeline.events(since_ns=course.heard[row] + 1).of(event.ARP_MOVED, subject="freebsd", address=address)
    ended = course[row].ended_ns
    return [((each.at_ns - course.heard[row]) / second, each.data["at"]) for each in found if each.at_ns < ended]


def test_the_formulas(lab: Lab, expect: Expect) -> None:
    """F0 to F6, each within a second; `briefly-silent` is the control of `silent`, Linux that of two announcers.

    A second is 20 ms here, and a core that is away for so long spoils a row: all have to hold in one of three courses.
    """
    for course in expect.runs(partial(one_run, lab)):
        assert isinstance(course, Course)
        report = judged(lab, expect, course)
        for _ in range(_MORE_COURSES):
            if report.wrong:
                report = judged(lab, expect, one_run(lab))
        report.settle()


def judged(lab: Lab, expect: Expect, course: Course) -> Report:
    """Hold one course beside the formulas."""
    scale = lab.topology.time_scale
    timers = formulas.Freebsd(scale)
    report = Report(lab, course, expect)
    since = {row: at / 1e9 for row, at in course.heard.items()}
    done = {what: at / 1e9 for what, at in course.done.items()}

    def silence(row: str) -> Prediction:
        return formulas.responder_silent(timers, since[row], done[row], done[f"{row} end"])

    report.outage("F0", "moved", formulas.leader_moved(), some=False)
    report.outage("F1", "silent", formulas.held(silence("silent"), 1 / _RATE_HELD))
    report.outage("F1", "briefly-silent", silence("briefly-silent"), some=False)
    unanswered = formulas.requests_lost(timers, since["unanswered"], done["unanswered end"])
    report.outage("F2", "unanswered", formulas.held(unanswered, 1 / _RATE_HELD))
    report.outage("F3", "died", formulas.leader_died(done["died end"] - done["died"], heard=0))
    report.outage("F4", "flapped", formulas.leader_moved(), some=False)
    report.outage("F5", "lost", formulas.announcement_lost(timers, since["lost"], None), some=False)
    died = done["lost-and-dead"]
    report.outage("F5", "lost-and-dead", formulas.announcement_lost(timers, since["lost-and-dead"], died))
    report.outage("F6", "both", formulas.leader_moved(), some=False)

    away = formulas.leader_flapped(done["flapped end"] - done["flapped"]).likely / scale
    visits = formulas.two_announcers(timers, _LATE * scale)
    at = {what: (moment - since[what.split()[0]]) / scale for what, moment in done.items()}
    report.moves("F0", "moved", [(at["moved"], "worker2")])
    report.moves("F4", "flapped", [(at["flapped"], "worker2"), (at["flapped"] + away, "worker1")])
    report.moves("F5", "lost", [(1196.0, "worker2")])
    period, length = visits.period / scale, visits.length / scale
    first = period - length
    report.moves(
        "F6",
        "both",
        [
            (first, "worker2"),
            (first + length, "worker1"),
            (first + period, "worker2"),
            (first + period + length, "worker1"),
        ],
    )
    return report


class Report:
    """Holds measured figures beside predicted ones, prints all of them, and only then fails."""

    def __init__(self, lab: Lab, course: Course, expect: Expect) -> None:
        self.lab, self.course, self.expect = lab, course, expect
        self.scale = lab.topology.time_scale
        self.wrong: list[str] = []
        self.untrusted: Untrusted | None = None

    def outage(self, formula: str, row: str, predicted: Prediction, *, some: bool = True) -> None:
        """A row's longest outage, and its formula; `some`: whether the row is meant to have one."""
        if (predicted.high > 0) != some:
            self.untrusted = Untrusted(f"the machine was busy: what makes {row} was done too late for it")
        measured = self.course[row]
        slack = _TOLERANCE * self.scale
        low, high = max(0.0, predicted.low - slack), predicted.high + slack
        try:
            if predicted.high == 0:
                self.expect.no_outage(
                    measured,
                    window=20.0,
                    precondition=f"the entry of {row} moved, or was asked for again without an answer",
                    held=self._touched(row),
                    since_ns=self.course.begun,
                )
            else:
                self.expect.outage_between(
                    measured, min_ms=low * 1e3, max_ms=high * 1e3, since_ns=self.course.begun, predicted=predicted
                )
        except Untrusted as error:
            self.untrusted = error
        except AssertionError as error:
            self.wrong.append(f"{formula} {row}: {error}")
        worst = measured.worst(self.course.begun)
        seen = (worst.duration / 1e9 if worst else 0.0) / self.scale
        expected = f"{predicted.low / self.scale:8.2f} to {predicted.high / self.scale:.2f}"
        print(f"{formula}  {row:15} outage {seen:8.2f} s, predicted {expected} s")

    def _touched(self, row: str) -> bool:
        """Whether the row's entry moved, or a question for it was left unanswered."""
        address = self.lab.service(row).address
        asked = self.lab.timeline.events(since_ns=self.course.begun, until_ns=self.course[row].ended_ns).of(
            event.ARP_VERIFY, subject="freebsd", address=address
        )
        return bool(moves_of(self.lab, self.course, row, address)) or any(each.data["try"] > 1 for each in asked)

    def moves(self, formula: str, row: str, predicted: list[tuple[float, str]]) -> None:
        """When a row's address moved, and where to."""
        seen = moves_of(self.lab, self.course, row, self.lab.service(row).address)
        text = ", ".join(f"{at:.2f} s to {host}" for at, host in seen) or "never"
        wanted = ", ".join(f"{at:.2f} s to {host}" for at, host in predicted)
        print(f"{formula}  {row:15} moved at {text}; predicted {wanted}")
        near = all(abs(one - other) <= _TOLERANCE for (one, _), (other, _) in zip(seen, predicted, strict=False))
        if [host for _, host in seen] != [host for _, host in predicted] or not near:
            self.wrong.append(f"{formula} {row}: moved at {text}, not {wanted}")

    def settle(self) -> None:
        """Fail if anything was wrong, unless it cannot be told."""
        if self.untrusted is not None:
            raise self.untrusted
        assert not self.wrong, "\n".join(self.wrong)
