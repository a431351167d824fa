"""Linux namespaces as a lab host needs them: its own set around itself, and one network namespace per host in it.

Python has `os.unshare` and `os.setns` from 3.12 on; lblab runs on 3.11, so the four system calls are made through libc.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from harness.errors import MissingCapability

T = TypeVar("T")

# <linux/sched.h>
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# <sys/mount.h>
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
_MNT_DETACH = 2

#: Where the lab's network namespaces are bound by name, inside the lab's own mount namespace.
NETNS_FOLDER = Path("/run/netns")

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: object) -> None:
    if getattr(_libc, name)(*args) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """Give the calling thread new namespaces (unshare(2))."""
    _call("unshare", flags)


def setns(path: Path, kind: int = CLONE_NEWNET) -> None:
    """Move the calling thread into the namespace that a file stands for (setns(2))."""
    with open(path, "rb") as file:
        setns_to(file.fileno(), kind)


def setns_to(descriptor: int, kind: int) -> None:
    """Move the calling thread into the namespace that an open file stands for."""
    _call("setns", descriptor, kind)


def mount(source: str, target: Path, fstype: str | None, flags: int = 0, data: str = "") -> None:
    """Mount a file system (mount(2))."""
    _call(
        "mount", source.encode(), str(target).encode(), fstype and fstype.encode(), ctypes.c_ulong(flags), data.encode()
    )


def bind(source: Path, target: Path) -> None:
    """Make a file or folder appear at another place of this mount namespace."""
    mount(str(source), target, None, MS_BIND | MS_REC)


def unmount(target: Path) -> None:
    """Detach what is mounted at a place of this mount namespace."""
    _call("umount2", str(target).encode(), _MNT_DETACH)


def unmount_below(folder: Path) -> None:
    """Detach everything that is mounted below a folder in this mount namespace, such as the pods' namespaces."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        target = line.split()[1]
        if target.startswith(f"{folder}/"):
            unmount(Path(target))


def enter_lab_namespaces() -> None:
    """Give this process its own user (unless it is root), network, IPC, host name and future PID namespaces.

    The caller must be single-threaded and must fork afterwards: the child is PID 1 of the lab, and takes a mount
    namespace of its own (`enter_mount_namespace`). The caller stays in the machine's, so that it can remove the lab's
    folder however much the lab has mounted in it.

    Raises:
        MissingCapability: when the kernel or a security policy forbids it to this user.
    """
    flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS
    uid, gid = os.getuid(), os.getgid()
    if uid != 0:
        flags |= CLONE_NEWUSER
    try:
        unshare(flags)
        if uid != 0:
            # user_namespaces(7): setgroups must be denied before an ordinary user may write gid_map
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSPC, errno.EACCES, errno.EINVAL, errno.ENOSYS):
            raise
        raise MissingCapability(
            f"this machine does not let {'root' if uid == 0 else 'an ordinary user'} make namespaces: {error.strerror}",
            hint="Debian: sysctl kernel.unprivileged_userns_clone=1; Ubuntu 24.04: sysctl "
            "kernel.apparmor_restrict_unprivileged_userns=0; in a container: --security-opt seccomp=unconfined",
        ) from error


def enter_mount_namespace() -> None:
    """Take a mount namespace in which nothing that is mounted shows outside."""
    unshare(CLONE_NEWNS)
    mount("none", Path("/"), None, MS_REC | MS_PRIVATE)


def in_netns(name: str, work: Callable[[], T]) -> T:
    """Run something in one of the lab's network namespaces, in a thread of its own so that nothing else moves."""
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            setns(NETNS_FOLDER / name)
            result.append(work())
        except BaseException as error:  # carried over to the caller's thread, which raises it
            failure.append(error)

    thread = threading.Thread(target=run, name=f"netns-{name}")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def create_netns(name: str) -> None:
    """Make a network namespace that lives under its name as long as the lab (like `ip netns add`)."""
    target = NETNS_FOLDER / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch()

    failure: list[OSError] = []

    def run() -> None:
        try:
            unshare(CLONE_NEWNET)
            bind(Path(f"/proc/self/task/{threading.get_native_id()}/ns/net"), target)
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
