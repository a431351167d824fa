"""Cilium's L2 responder map as the kernel has it: the addresses for which a node's BPF program answers ARP.

Read with bpf(2) from the pin that Cilium's agent makes, as no program on a node is sure to be able to. The map
outlives the agent, and up to 1.19 entries outlive the announcement: an agent that is stopped leaves them (up to 1.18),
and one that starts keeps one and the same key for all that it means to delete (cilium/cilium#45068).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import ipaddress
import os
import platform
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Where Cilium pins its maps (pkg/bpf/bpffs_linux.go), and the map's name (pkg/maps/l2respondermap).
PIN = Path("sys/fs/bpf/tc/globals/cilium_l2_responder_v4")
#: Its key: an IPv4 address as on the wire, and the interface's index in the machine's order (L2ResponderKey).
_KEY = struct.Struct("=4sI")
#: Where its value begins with the number of answers (L2ResponderStats).
_ANSWERS = struct.Struct("=Q")

# bpf(2): <asm/unistd.h>, <linux/bpf.h>
_SYSCALL = {"x86_64": 321, "aarch64": 280}
_MAP_LOOKUP_ELEM, _MAP_DELETE_ELEM, _MAP_GET_NEXT_KEY, _OBJ_GET, _OBJ_GET_INFO_BY_FD = 1, 3, 4, 7, 15
_ATTR_SIZE = 128
_INFO = struct.Struct("=IIII")  # struct bpf_map_info: type, id, key_size, value_size
_libc = ctypes.CDLL(None, use_errno=True)


def entries(root: Path) -> list[dict[str, Any]]:
    """The entries of a node's map, as lblab's own responder tells its own: `ip`, `ifindex`, `responses`.

    Args:
        root: The node's root folder, such as /proc/PID/root.

    Raises:
        OSError: the kernel refuses. Without a map there is nothing.
    """
    with _opened(root) as map_fd:
        return [] if map_fd is None else list(_entries(map_fd))


def forget(root: Path, ip: str, ifindex: int) -> bool:
    """Take an entry out of a node's map; says whether there was one."""
    key = _KEY.pack(ipaddress.IPv4Address(ip).packed, ifindex)
    with _opened(root) as map_fd, contextlib.suppress(FileNotFoundError):
        if map_fd is not None:
            _element(_MAP_DELETE_ELEM, map_fd, key)
            return True
    return False


@contextlib.contextmanager
def _opened(root: Path) -> Iterator[int | None]:
    path = ctypes.create_string_buffer(os.fsencode(root / PIN))
    try:
        map_fd = _bpf(_OBJ_GET, struct.pack("=QII", ctypes.addressof(path), 0, 0))
    except FileNotFoundError:
        yield None
        return
    try:
        yield map_fd
    finally:
        os.close(map_fd)


def _entries(map_fd: int) -> Iterator[dict[str, Any]]:
    size = _value_size(map_fd)
    key: bytes | None = None
    following = ctypes.create_string_buffer(_KEY.size)
    while True:
        try:
            _element(_MAP_GET_NEXT_KEY, map_fd, key, following)
        except FileNotFoundError:
            return
        key = following.raw
        value = ctypes.create_string_buffer(size)
        with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
            _element(_MAP_LOOKUP_ELEM, map_fd, key, value)
            packed, ifindex = _KEY.unpack(key)
            answers = _ANSWERS.unpack_from(value.raw)[0]
            yield {"ip": str(ipaddress.IPv4Address(packed)), "ifindex": ifindex, "responses": answers}


def _value_size(map_fd: int) -> int:
    info = ctypes.create_string_buffer(_INFO.size)
    _bpf(_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", map_fd, _INFO.size, ctypes.addressof(info)))
    key_size: int
    value_size: int
    _, _, key_size, value_size = _INFO.unpack(info.raw)
    if key_size != _KEY.size or value_size < _ANSWERS.size:
        raise OSError(errno.EPROTO, f"Cilium's L2 responder map has keys of {key_size} bytes, not {_KEY.size}")
    return value_size


def _element(command: int, map_fd: int, key: bytes | None, other: ctypes.Array[ctypes.c_char] | None = None) -> None:
    held = ctypes.create_string_buffer(key, _KEY.size) if key is not None else None
    first = ctypes.addressof(held) if held is not None else 0
    _bpf(command, struct.pack("=IIQQQ", map_fd, 0, first, ctypes.addressof(other) if other is not None else 0, 0))


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) is not known here for {platform.machine()}")
    attr = ctypes.create_string_buffer(attributes, _ATTR_SIZE)
    done: int = _libc.syscall(number, command, attr, _ATTR_SIZE)
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done
