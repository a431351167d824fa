"""The process that removes a kind lab when its owner has gone, however it went.

`python -m harness.backends.kind.reaper FOLDER --owner-fd N` holds the lab's lock and the read end of a pipe whose
writer is the owner. When the writer is closed without a word, or on SIGTERM, it removes from Docker whatever is the
lab's, then the lab's folder, and ends. If it is killed itself, its lock is free, and the next lblab that claims or ends
a lab does the work (`sweep`).
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from harness.backends import registry
from harness.backends.kind import removal, tools
from harness.errors import LabError, LblabError

#: Why a reaper could not remove everything; in the lab's folder.
_LEFT_FILE = "left"
_LOG_FILE = "reaper.log"


@dataclass
class Reaper:
    """A lab's reaper, seen from its owner.

    Attributes:
        folder: The lab's folder.
        pid: The reaper's process.
    """

    folder: Path
    pid: int
    _owner: int | None

    def leave(self) -> None:
        """Let the lab stay when this process ends."""
        if self._owner is not None:
            os.write(self._owner, registry.LEAVE)
            os.close(self._owner)
            self._owner = None

    def end(self) -> None:
        """Remove the lab now; returns when nothing is left.

        Raises:
            LabError: Something could not be removed.
        """
        end(self.folder, self.pid)
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None


def start(folder: Path, lock: int) -> Reaper:
    """Start the reaper of a lab, before anything of it is made.

    Args:
        folder: The lab's folder; its name is the lab's.
        lock: The descriptor of its lock, which the reaper inherits; the caller closes its own.
    """
    marker = {"lab": folder.name, "environment": tools.endpoint_environment()}
    (folder / registry.KIND_FILE).write_text(json.dumps(marker))
    read, write = os.pipe()
    source = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    try:
        with open(folder / _LOG_FILE, "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness.backends.kind.reaper", str(folder), f"--owner-fd={read}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock, read],
                start_new_session=True,  # a terminal's Ctrl-C is for the owner, which ends the lab in order
                env={**os.environ, "PYTHONPATH": path},
            )
    finally:
        os.close(read)
    return Reaper(folder, process.pid, write)


def end(folder: Path, pid: int) -> None:
    """End a lab by its reaper, or without it when it has gone; returns when nothing is left.

    Args:
        folder: The lab's folder.
        pid: The reaper's process.

    Raises:
        LabError: Something could not be removed.
    """
    if not folder.exists():
        return
    if registry.lock_is_free(folder / registry.LOCK_FILE):
        sweep(folder)
        return
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        sweep(folder)
        return
    try:
        signal.pidfd_send_signal(watched, signal.SIGTERM)
        ended = select.poll()
        ended.register(watched, select.POLLIN)
        if not ended.poll((removal.GONE_WITHIN + 10) * 1e3):
            raise LabError(f"the lab in {folder} is still being removed", hint=f"its log: {folder / _LOG_FILE}")
    finally:
        os.close(watched)
    if (left := folder / _LEFT_FILE).exists():
        raise LabError(f"the lab {folder.name} could not be removed: {left.read_text()}")


def sweep(folder: Path) -> None:
    """Remove a lab whose reaper was killed.

    Raises:
        LblabError: Docker does not answer, or something could not be removed.
    """
    marker = json.loads((folder / registry.KIND_FILE).read_text())
    removal.remove(tools.engine(marker["environment"]), folder.name, folder)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Wait for the end of a lab, and remove it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--owner-fd", type=int, required=True, help="read end of a pipe; its writer is the lab's owner")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    wait_for_the_end(arguments.owner_fd)
    try:
        sweep(arguments.folder)
    except LblabError as error:
        (arguments.folder / _LEFT_FILE).write_text(str(error))
        print(error, flush=True)
        return error.exit_code
    except BaseException as error:
        traceback.print_exc()
        (arguments.folder / _LEFT_FILE).write_text(f"{type(error).__name__}: {error}")
        return 1
    return 0


def wait_for_the_end(owner: int) -> None:
    """Return when the owner has closed its pipe without a word, or on SIGTERM."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGTERM, lambda *_: None)
    waiting = select.poll()
    waiting.register(woken, select.POLLIN)
    waiting.register(owner, select.POLLIN | select.POLLHUP)
    while True:
        for descriptor, _ in waiting.poll():
            if descriptor == woken:
                if signal.SIGTERM in os.read(woken, 64):
                    return
            elif os.read(owner, 1) != registry.LEAVE:
                return
            else:
                waiting.unregister(owner)  # the owner is done with the lab, and the lab is to stay


if __name__ == "__main__":
    sys.exit(main())
