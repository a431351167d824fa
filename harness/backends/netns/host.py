"""The lab host: the process in which an embedded lab lives, and with which it dies.

`python -m harness.backends.netns.host FOLDER [--owner-fd N] [--api-fd N]` enters namespaces of its own and forks. The
child is PID 1 of the lab: it makes the inner namespaces, starts the daemons and answers the test process. The parent
only waits and removes the lab's folder. Whatever kills PID 1, the kernel ends every process and namespace of the lab
with it; and PID 1 ends itself when its owner, or its parent, goes away.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from harness.backends.netns import namespaces
from harness.backends.netns.changes import Changes
from harness.backends.netns.network import make_links, make_namespaces
from harness.backends.netns.processes import Supervisor
from harness.backends.netns.rpc import Server
from harness.backends.netns.spec import LOG_FOLDER, HostSpec
from harness.backends.registry import LEAVE
from harness.errors import MissingCapability
from harness.timeline import journal

#: Names within the lab's folder.
SPEC_FILE, SOCKET_FILE, FAILURE_FILE = "spec.json", "host.sock", "failed"


def main() -> int:
    """Run a lab host until its lab ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--owner-fd", type=int, help="read end of a pipe; the lab ends when its writer has gone")
    parser.add_argument(
        "--api-fd", type=int, help="listening socket through which the API server is reached from outside"
    )
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    # a terminal's signals are for the owner, which ends the lab in order
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        namespaces.enter_lab_namespaces()
    except MissingCapability as error:
        (folder / FAILURE_FILE).write_text(str(error))
        return error.exit_code
    # closed by the kernel when this process ends, however it ends
    parent_alive, held_by_parent = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held_by_parent)
        try:
            _first_process(folder, parent_alive, arguments.owner_fd, arguments.api_fd)
        except BaseException as error:  # the last thing that this process can do is to say why
            traceback.print_exc()
            (folder / FAILURE_FILE).write_text(f"{type(error).__name__}: {error}")
        os._exit(1)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    _, status = os.waitpid(child, 0)
    _remove(folder)
    return abs(os.waitstatus_to_exitcode(status))


def _remove(folder: Path) -> None:
    if (folder / FAILURE_FILE).exists():
        return  # the owner reads why the lab did not come up, and removes the folder itself
    shutil.rmtree(folder, ignore_errors=True)


def _first_process(folder: Path, parent: int, owner: int | None, api_fd: int | None) -> None:
    """PID 1 of the lab; never returns while the lab lives."""
    start = time.monotonic_ns()
    spec = HostSpec.load(folder / SPEC_FILE)
    stages: dict[str, float] = {}

    def stage(name: str) -> None:
        stages[name] = (time.monotonic_ns() - start) / 1e9

    def end(*_: Any) -> None:
        os._exit(0)  # the parent removes the folder when the kernel has ended everything

    def end_alone() -> None:
        with contextlib.suppress(OSError):
            namespaces.unmount_below(folder)
        _remove(folder)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    _mounts(spec)
    make_namespaces(spec)
    stage("namespaces")
    events = journal.Journal(folder / journal.FILE)
    supervisor = Supervisor(spec.processes, folder / LOG_FOLDER, api_fd, events.write)
    # daemons start while the links are made: they wait for one another anyway
    supervisor.boot()
    make_links(spec)
    stage("links")
    Server(
        folder / SOCKET_FILE,
        {**_operations(supervisor, stages, stage, end), **Changes(spec, supervisor.pid).operations()},
    )
    threading.Thread(target=_watch_owner, args=(parent, end_alone), daemon=True, name="parent").start()
    if owner is not None:
        threading.Thread(target=_watch_owner, args=(owner, end), daemon=True, name="owner").start()
    supervisor.reap_forever()


def _mounts(spec: HostSpec) -> None:
    namespaces.enter_mount_namespace()
    namespaces.mount("proc", Path("/proc"), "proc")
    for mount in spec.mounts:
        if mount.kind == "shadow":
            _shadow(Path(mount.target), mount.over)
        elif mount.source is None:
            namespaces.mount("tmpfs", Path(mount.target), "tmpfs", data="mode=0755")
        else:
            namespaces.bind(Path(mount.source), Path(mount.target))
    for folder in spec.folders:
        Path(folder).mkdir(parents=True, exist_ok=True)


def _shadow(folder: Path, over: dict[str, str]) -> None:
    """Put a folder of links in a folder's place: to the machine's own entries, but for those that the lab replaces."""
    machines = Path("/run/machine") / folder.name
    machines.mkdir(parents=True)
    namespaces.bind(folder, machines)
    namespaces.mount("tmpfs", folder, "tmpfs", data="mode=0755")
    for entry in machines.iterdir():
        if entry.name not in over:
            (folder / entry.name).symlink_to(entry)
    for name, source in over.items():
        (folder / name).symlink_to(source)


def _watch_owner(descriptor: int, end: Any) -> None:
    with contextlib.suppress(OSError):
        if os.read(descriptor, 1) == LEAVE:
            return  # the owner is done with it, and the lab is to stay
    end()


def _operations(supervisor: Supervisor, stages: dict[str, float], stage: Any, end: Any) -> dict[str, Any]:
    def booted(_: dict[str, Any]) -> tuple[Any, None]:
        supervisor.wait_booted()
        if "processes" not in stages:
            stage("processes")
        return stages, None

    def make_socket(request: dict[str, Any]) -> tuple[Any, int]:
        def make() -> int:
            return socket.socket(request["family"], request["type"], request["protocol"]).detach()

        return None, namespaces.in_netns(request["namespace"], make)

    def replace(request: dict[str, Any]) -> tuple[Any, None]:
        supervisor.replace(request["name"], request["program"])
        return None, None

    def shutdown(_: dict[str, Any]) -> tuple[Any, None]:
        threading.Timer(0.01, end).start()
        return None, None

    return {
        "booted": booted,
        "socket": make_socket,
        "shutdown": shutdown,
        "processes": lambda _: (supervisor.table(), None),
        "start": lambda r: (supervisor.start(r["name"]), None),
        "signal": lambda r: (supervisor.signal(r["name"], r["signal"]), None),
        "replace": replace,
        "wait_ended": lambda r: (supervisor.wait_ended(r["name"], r["within"]), None),
        "tail": lambda r: (supervisor.tail(r["name"]), None),
    }


if __name__ == "__main__":
    sys.exit(main())
