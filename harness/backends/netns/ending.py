"""The end of an embedded lab."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
from pathlib import Path

from harness.backends.netns.host import SOCKET_FILE
from harness.backends.netns.rpc import Client
from harness.errors import LabError


def end(folder: Path, host: int, within: float = 10.0) -> None:
    """End a lab and wait until nothing of it is left: no process, no namespace, no file.

    Args:
        folder: The lab's folder.
        host: PID of its host's outer process, which removes the folder when the kernel has ended all others.
        within: Seconds for that.

    Raises:
        LabError: when it takes longer.
    """
    try:
        watched = os.pidfd_open(host)
    except ProcessLookupError:
        shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        client = Client(folder / SOCKET_FILE)
        with contextlib.suppress(LabError):  # it may be ending already
            client.call("shutdown")
        client.close()
        ended = select.poll()
        ended.register(watched, select.POLLIN)
        if not ended.poll(within * 1e3):
            raise LabError(f"the lab in {folder} has not ended after {within:g} s", hint=f"kill {host}")
    finally:
        os.close(watched)
