"""Running soon after being woken, and knowing how late it was: what the exactness of a stamp rests on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct

#: sched_setattr(2), which the C library does not wrap.
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274}
_SCHED_NORMAL = 0
#: Nanoseconds, the shortest that may be asked for. Linux 6.12 and later let a thread that asks for less at a time run
#: sooner (EEVDF); earlier ones ignore it.
_SHORT_SLICE = 100_000
_NICE = -10


def hurry() -> None:
    """Let this process run as soon as an ordinary process may; real-time scheduling stays the probers' own."""
    with contextlib.suppress(PermissionError):  # an ordinary user may not be less nice
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        # struct sched_attr, first version: size, policy, flags, nice, priority, runtime, deadline, period
        attributes = struct.pack("=IIQiIQQQ", 48, _SCHED_NORMAL, 0, nice, 0, _SHORT_SLICE, 0, 0)
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)


class RunDelay:
    """How long the calling thread has waited for a CPU, as the kernel counts it (/proc/thread-self/schedstat).

    A thread that waits for something is woken when it happens; from then on until it runs, this grows. So what has been
    added bounds how long before a stamp the thing happened.
    """

    def __init__(self) -> None:
        try:
            self._descriptor: int | None = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # a kernel without CONFIG_SCHED_INFO
            self._descriptor = None
        self._before = 0
        self.added_ns()

    @property
    def known(self) -> bool:
        """Whether this kernel counts it."""
        return self._descriptor is not None

    def added_ns(self) -> int:
        """Nanoseconds since this was last asked; 0 when the kernel does not count."""
        if self._descriptor is None:
            return 0
        now = int(os.pread(self._descriptor, 128, 0).split()[1])
        added, self._before = now - self._before, now
        return added
