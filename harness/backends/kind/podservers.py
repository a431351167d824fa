"""The pods of a lab on a node, as processes: lblab's server in each (`pods.py`), found by its command line."""

from __future__ import annotations

import os
import signal
import time

from harness.backends.kind import proc
from harness.errors import LabError


def pid_of(first: int, pod: str) -> int | None:
    """The PID of a pod's server.

    Args:
        first: The first process of the node's container.
        pod: "namespace/name".
    """
    wanted = f"--pod={pod}"
    for seen, _ in proc.Nodes().parts(first):
        if wanted in seen.argv:
            return seen.pid
    return None


def kill(first: int, pod: str) -> dict[str, int]:
    """End a pod's server (SIGKILL); gives when the kernel took it."""
    pid = pid_of(first, pod)
    if pid is None:
        raise LabError(f"no server of a pod {pod} runs there")
    os.kill(pid, signal.SIGKILL)
    return {"at_ns": time.monotonic_ns()}
