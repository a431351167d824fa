"""Logs of the components that run in pods, copied line by line to where the lab keeps those of its processes.

The container runtime writes below /var/log/pods of its node, a new file for every start of a container, and puts a
stamp of its own before each line (Kubernetes, CRI logging: `<RFC 3339 time> stdout|stderr P|F <text>`). The copies have
the lines as the programs wrote them, with the stamps that the programs themselves put in.
"""

from __future__ import annotations

import contextlib
import selectors
import threading
from collections.abc import Callable
from pathlib import Path

from harness.backends.kind import components
from harness.backends.netns.wiring import CONTROL_PLANE
from harness.timeline.inotify import FolderWatch

#: Seconds between two looks for new pods.
_LOOK_EVERY = 0.5


class _Container:
    """One container of one pod: a folder with a file for each of its starts."""

    def __init__(self, folder: Path, copy: Path) -> None:
        self.folder = folder
        self.watch = FolderWatch(folder, blocking=False)
        self._copy = copy
        self._read: dict[str, int] = {}
        self._part = b""

    def copy(self) -> None:
        """Copy what has been written since the last time."""
        self.watch.read()
        lines: list[bytes] = []
        for file in sorted(self.folder.glob("*.log"), key=lambda path: int(path.stem) if path.stem.isdigit() else 0):
            with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
                opened.seek(self._read.get(file.name, 0))
                data = opened.read()
                whole = data[: data.rfind(b"\n") + 1]
                self._read[file.name] = self._read.get(file.name, 0) + len(whole)
                lines += whole.splitlines()
        text = b"".join(self._plain(line) for line in lines)
        if text:
            with self._copy.open("ab") as out:
                out.write(text)

    def _plain(self, line: bytes) -> bytes:
        """A line without the runtime's stamp; a long one comes in parts (P), of which the last is full (F)."""
        _, _, rest = line.partition(b" ")
        _, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        self._part += text
        if tag.startswith(b"P"):
            return b""
        text, self._part = self._part, b""
        return text + b"\n"


class PodLogs:
    """Copies the logs of the components of all nodes.

    Args:
        nodes: Gives each node's name and the PID of its container's first process.
        log: Gives a component's log by its name.
    """

    def __init__(self, nodes: Callable[[], list[tuple[str, int]]], log: Callable[[str], Path]) -> None:
        self._nodes = nodes
        self._log = log
        self._followed: dict[str, _Container] = {}
        self._selector = selectors.DefaultSelector()
        self._components = components.containers()
        threading.Thread(target=self._follow, daemon=True, name="pod-logs").start()

    def _follow(self) -> None:
        while True:
            ready = self._selector.select(_LOOK_EVERY)
            for key, _ in ready:
                key.data.copy()
            self._look()

    def _look(self) -> None:
        """Find the folders of pods that are new, and leave those that have gone."""
        current: dict[str, tuple[Path, str]] = {}
        for node, first in self._nodes():
            with contextlib.suppress(OSError):  # a node that has just ended
                for folder in Path(f"/proc/{first}/root/var/log/pods").glob("*/*"):
                    component = self._components.get(folder.name)
                    if component is not None and folder.is_dir():
                        host = CONTROL_PLANE if component.single else node
                        current[str(folder)] = folder, f"{host}/{component.name}"
        for name in self._followed.keys() - current.keys():
            gone = self._followed.pop(name)
            gone.copy()
            self._selector.unregister(gone.watch)
            gone.watch.close()
        for name in current.keys() - self._followed.keys():
            folder, process = current[name]
            with contextlib.suppress(OSError):
                self._followed[name] = found = _Container(folder, self._log(process))
                self._selector.register(found.watch, selectors.EVENT_READ, found)
                found.copy()
