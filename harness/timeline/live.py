"""The timeline of a running lab, as a process that uses the lab sees it: reading, adding, waiting."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.timeline import event, journal, plan
from harness.timeline.event import Event
from harness.timeline.inotify import FolderWatch
from harness.timeline.timeline import Timeline
from harness.wait import until

#: Seconds for the recorder to answer; it takes 0.2 ms on an idle machine.
_ANSWER_WITHIN = 5.0


class LiveTimeline:
    """Everything that has happened in a lab so far.

    Args:
        folder: The lab's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / journal.FILE
        self._reader = journal.JournalReader(self._path)
        self._events: list[Event] = []
        self._lock = threading.Lock()

    def events(self, since_ns: int = 0, until_ns: int | None = None) -> Timeline:
        """What happened between two moments; what the kernel and bgpd had told when this was called is in it."""
        problem = self._sync()
        known = self._known()
        chosen = [each for each in known if since_ns <= each.at_ns and (until_ns is None or each.at_ns <= until_ns)]
        if problem is not None:
            now = time.monotonic_ns()
            last = max((each.at_ns for each in known), default=now)
            text = f"the recorder does not answer: {problem}"
            data = {"from_ns": last, "to_ns": now}
            chosen.append(Event(now, "recorder", event.BLIND, "recorder", text, now - last, data))
        return Timeline(chosen)

    def add(self, *events: Event) -> None:
        """Put events on the timeline, such as outages that a probe has found."""
        writer = journal.Journal(self._path)
        try:
            writer.write(*events)
        finally:
            writer.close()

    def wait(self, *kinds: str, within: float, after_ns: int = 0, **wanted: Any) -> Event:
        """Wait for an event.

        Args:
            kinds: Of which kinds, as `Timeline.of` has it.
            within: Deadline in seconds.
            after_ns: Not before this moment.
            wanted: Subject, source, or values in its data.

        Raises:
            WaitTimeout: with what came instead.
        """

        def look() -> list[Event]:
            found = Timeline(self._known()).of(*kinds, **wanted)
            return [each for each in found if each.at_ns >= after_ns]

        def instead(_: list[Event]) -> str:
            others = [each.text for each in self._known() if each.at_ns >= after_ns and each.is_a(*kinds)]
            return "; ".join(others[-3:]) or "nothing"

        details = "".join(f", {key} {value}" for key, value in wanted.items())
        return until(f"{' or '.join(kinds)}{details}", look, within=within, every=0.005, show=instead)[0]

    def follow(self) -> Iterator[Event]:
        """Yield every event from the first one on, then each as it is written; ends with the lab."""
        reader = journal.JournalReader(self._path)
        watch = FolderWatch(self._folder)
        try:
            while True:
                yield from reader.news()
                if not self._path.exists():
                    return
                watch.read()
        finally:
            watch.close()

    def _known(self) -> list[Event]:
        with self._lock:
            self._events += self._reader.news()
            return list(self._events)

    def _sync(self) -> str | None:
        """Wait until the recorder has written what there is; gives what went wrong."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_ANSWER_WITHIN)
            try:
                connection.connect(str(self._folder / plan.SOCKET_FILE))
                connection.sendall(b"\n")
                return None if connection.recv(16) else "it has ended"
            except OSError as error:
                return error.strerror or str(error)

    def __str__(self) -> str:
        return str(self.events())

    def __repr__(self) -> str:
        return f"LiveTimeline({str(self._folder)!r})"
