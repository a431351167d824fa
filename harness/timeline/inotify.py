"""Being told at once when a file of a folder is written to (inotify(7)); Python has no module for it."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

# <sys/inotify.h>
_IN_MODIFY, _IN_CREATE, _IN_MOVED_TO = 0x2, 0x100, 0x80
_HEADER = struct.Struct("iIII")
_BUFFER = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


class FolderWatch:
    """Tells which files of a folder have been written to."""

    def __init__(self, folder: Path, *, blocking: bool = True) -> None:
        self._descriptor = _checked(_libc.inotify_init1(os.O_CLOEXEC | (0 if blocking else os.O_NONBLOCK)))
        _checked(_libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO))

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._descriptor

    def read(self) -> set[str]:
        """Names of the files that have been written to; none when it does not block and there is nothing."""
        try:
            data = os.read(self._descriptor, _BUFFER)
        except BlockingIOError:
            return set()
        names = set()
        while data:
            _, _, _, length = _HEADER.unpack_from(data)
            names.add(os.fsdecode(data[_HEADER.size : _HEADER.size + length].rstrip(b"\0")))
            data = data[_HEADER.size + length :]
        return names

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"inotify: {os.strerror(code)}")
    return result
