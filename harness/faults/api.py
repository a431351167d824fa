"""Steps that go through the API server or a node's agent: the stamp is when the request was accepted."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.backends.base import Stamp


def asked(action: Callable[[], object], how: str = "accepted by the API server") -> Stamp:
    """Ask for something, and take the time between asking and the answer."""
    before = time.monotonic_ns()
    action()
    after = time.monotonic_ns()
    return Stamp(after, after - before, how)
