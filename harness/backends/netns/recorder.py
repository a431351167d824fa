"""The timeline's processes within an embedded lab: `python -m ...netns.recorder PLAN recorder|observer`."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from harness.backends.netns import namespaces
from harness.timeline.recorder import run as record


class LabNetworks:
    """The lab's network namespaces, for a process that runs in its mount namespace."""

    def socket(self, host: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Make a socket in a host's network."""
        return namespaces.in_netns(host, lambda: socket.socket(family, kind, protocol))

    def enter(self, host: str) -> None:
        """Move the calling thread into a host's network."""
        namespaces.setns(namespaces.NETNS_FOLDER / host)


def main() -> None:
    """Record or observe until the process is killed."""
    plan, role = Path(sys.argv[1]), sys.argv[2]
    if role == "recorder":
        record(plan, LabNetworks())
    else:
        # TLS and the API client take 80 ms to import, which the recorder does not need
        from harness.timeline.observer import run as observe

        observe(plan, LabNetworks())


if __name__ == "__main__":
    main()
