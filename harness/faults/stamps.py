"""Stamps of what others carry out: how far off they may be is known from when it was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.backends.base import Stamp

BY_HOST = "taken by the lab host"
BY_API = "accepted by the API server"
BY_NODE = "answered by the node's agent"


def asked(action: Callable[[], object], how: str = BY_API) -> Stamp:
    """Ask for something whose effect lies between asking and the answer."""
    before = time.monotonic_ns()
    action()
    after = time.monotonic_ns()
    return Stamp(after, after - before, how)


def stamped(action: Callable[[], int], how: str = BY_HOST) -> Stamp:
    """Ask for something that is stamped where it is done; it was not done before it was asked for."""
    before = time.monotonic_ns()
    at_ns = action()
    return Stamp(at_ns, max(0, at_ns - before), how)
