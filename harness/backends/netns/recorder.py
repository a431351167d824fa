"""The timeline's recorder within an embedded lab: `python -m harness.backends.netns.recorder PLAN`."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from harness.backends.netns import namespaces
from harness.timeline import recorder


class LabNetworks:
    """The lab's network namespaces, for a process that runs in its mount namespace."""

    def socket(self, host: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """Make a socket in a host's network."""
        return namespaces.in_netns(host, lambda: socket.socket(family, kind, protocol))

    def enter(self, host: str) -> None:
        """Move the calling thread into a host's network."""
        namespaces.setns(namespaces.NETNS_FOLDER / host)


if __name__ == "__main__":
    recorder.run(Path(sys.argv[1]), LabNetworks())
