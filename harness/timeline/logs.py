"""Lines of the daemons' logs that matter, as events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness.timeline import arplog, event, logline
from harness.timeline.clock import WallClock
from harness.timeline.event import Event
from harness.timeline.inotify import FolderWatch
from harness.timeline.names import Names
from harness.timeline.stamp import Stamp

#: A line's own stamp is used when it is at least this fine; otherwise the moment in which the line was read, if that
#: agrees with it.
_FINE_NS = 1_000_000
#: Events of one process within a second of its log; what is more is counted.
_AT_MOST = 20
_SECOND = 1_000_000_000


class LogFile:
    """Reads one log as it grows."""

    def __init__(self, path: Path, process: str, clock: WallClock, names: Names | None = None) -> None:
        self._path = path
        self._process = process
        self._clock = clock
        self._names = names or Names({})
        self._offset = 0
        self._second = 0
        self._told = 0
        self._left_out = 0

    def read(self, since_ns: int) -> list[Event]:
        """Give the events of the lines that were added since a moment."""
        lines = self.added()
        return list(self.events(lines, Stamp.now(since_ns)))

    def added(self) -> list[str]:
        """Read the complete lines that were added."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode(errors="replace").splitlines()

    def events(self, lines: Iterable[str], stamp: Stamp) -> Iterator[Event]:
        """Give the events of lines that were read at a moment."""
        for text in lines:
            if (told := arplog.parse(text, self._process, self._names)) is not None:
                yield told
                continue
            if text.startswith(arplog.FREEBSD):
                continue
            line = logline.parse(text)
            if line.matters:
                yield from self._limited(self._event(line, stamp))

    def _event(self, line: logline.LogLine, stamp: Stamp) -> Event:
        if line.monotonic_ns is not None:
            at, resolution = line.monotonic_ns, line.resolution_ns
        else:
            at, resolution = self._own_stamp(line, stamp)
        text = f"{self._process}: {line.text}"
        return Event(at, f"log {self._process}", event.LOG, self._process, text, resolution, {"level": line.level})

    def _own_stamp(self, line: logline.LogLine, stamp: Stamp) -> Stamp:
        if line.realtime_ns is None:
            return stamp
        told = self._clock.monotonic_ns(line.realtime_ns)
        fine = line.resolution_ns <= _FINE_NS
        if not fine and told <= stamp.at_ns <= told + line.resolution_ns + _FINE_NS:
            return stamp
        # the time is cut off, not rounded: what it tells happened up to one unit after it
        end = told if fine else min(told + line.resolution_ns, stamp.at_ns)
        return Stamp(end, line.resolution_ns + self._clock.error_ns)

    def _limited(self, found: Event) -> Iterator[Event]:
        second = found.at_ns // _SECOND
        if second != self._second:
            if self._left_out:
                text = f"{self._process}: {self._left_out} more lines within the second before"
                yield Event(found.at_ns, found.source, event.LOG, self._process, text, _SECOND, {"level": "info"})
            self._second, self._told, self._left_out = second, 0, 0
        self._told += 1
        if self._told <= _AT_MOST:
            yield found
        else:
            self._left_out += 1


class LogFolder:
    """Follows the logs of a lab.

    Args:
        folder: Where they are.
        files: The process of each file that matters.
        clock: Converts their own stamps.
        names: Names of hosts by MAC.
    """

    def __init__(self, folder: Path, files: Mapping[str, str], clock: WallClock, names: Names | None = None) -> None:
        self.watch = FolderWatch(folder, blocking=False)
        self._files = {name: LogFile(folder / name, process, clock, names) for name, process in files.items()}
        self._begun = False

    def skip(self) -> None:
        """Leave out what is there already."""
        self._begun = True
        for log in self._files.values():
            log.added()

    def read(self, since_ns: int) -> list[Event]:
        """Give the events of what has been written since a moment; the first time, of everything that is there."""
        written = self.watch.read()
        names = [name for name in self._files if name in written or not self._begun]
        self._begun = True
        return [found for name in names for found in self._files[name].read(since_ns)]
