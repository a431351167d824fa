"""How the FRR daemons of one router are run inside a lab: files, mounts, command lines, and what is installed.

Everything here is data for the lab host, which applies it inside namespaces of its own; nothing here starts a daemon.
All of it was tried as an ordinary user in `unshare -Urnmp` with FRR 8.4.4, and tests/integration/test_frr_daemons.py
does so each time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from harness.errors import MissingCapability, UserError
from harness.routing.integrated import needed, split

#: Where distributions put the daemons: Debian and Ubuntu, Fedora and its kin, Arch, Alpine.
FOLDERS = ("/usr/lib/frr", "/usr/libexec/frr", "/usr/sbin", "/usr/local/sbin")
MODULE_FOLDERS = ("/usr/lib/*/frr/modules", "/usr/lib/frr/modules", "/usr/lib64/frr/modules")
_INSTALL_HINT = "install it: apt-get install frr (Debian, Ubuntu), dnf install frr (Fedora)"
#: From this version on daemons may leave their configuration to mgmtd and then refuse `-f`.
_MGMTD_SINCE = (9, 0)
#: From this version on bgpd runs without its BMP module: both routers' bgpd 10.3 (Debian 13) die in it (SIGSEGV) in
#: topologies/multihop.yaml, each time, and never without it; 8.4.4 does not.
BMP_CRASHES_SINCE = (10, 0)


@dataclass(frozen=True)
class Frr:
    """The FRR of this machine.

    Attributes:
        folder: Where its daemons are.
        version: For example (8, 4, 4).
        bmp: Whether bgpd has a BMP module that is safe to load.
        reads_file: The daemons that take `-f FILE`; with mgmtd (FRR 9 and later) not all do.
        mgmtd: Whether there is mgmtd, which then configures those that do not.
    """

    folder: Path
    version: tuple[int, ...]
    bmp: bool
    reads_file: frozenset[str] = frozenset({"zebra", "bgpd", "bfdd", "staticd"})
    mgmtd: bool = False


@lru_cache(maxsize=1)
def installed() -> Frr:
    """Find FRR on this machine, once.

    Raises:
        MissingCapability: when it is not there, with what to install.
    """
    folder = next((Path(name) for name in FOLDERS if os.access(f"{name}/bgpd", os.X_OK)), None)
    if folder is None:
        raise MissingCapability("FRR is not installed, which the lab's routers run", hint=_INSTALL_HINT)
    absent = [name for name in ("zebra", "bfdd", "staticd") if not os.access(folder / name, os.X_OK)]
    if absent:
        raise MissingCapability(f"FRR in {folder} lacks {', '.join(absent)}", hint=_INSTALL_HINT)
    said = subprocess.run([folder / "zebra", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+(?:\.\d+)*)", said)
    if found is None:
        raise MissingCapability(
            f"{folder}/zebra --version does not tell a version: {said.strip()!r}", hint=_INSTALL_HINT
        )
    version = tuple(int(part) for part in found[1].split("."))
    modules = [module for pattern in MODULE_FOLDERS for module in Path("/").glob(f"{pattern[1:]}/bgpd_bmp.so")]
    bmp = bool(modules) and version < BMP_CRASHES_SINCE
    if version < _MGMTD_SINCE:
        return Frr(folder, version, bmp)
    reads_file = frozenset(name for name in ("zebra", "bgpd", "bfdd", "staticd") if _takes_file(folder / name))
    return Frr(folder, version, bmp, reads_file, os.access(folder / "mgmtd", os.X_OK))


def frr_version() -> tuple[int, ...]:
    """Give the version of the installed FRR, read once; raises MissingCapability when there is none."""
    return installed().version


def _takes_file(program: Path) -> bool:
    said = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    return "--config_file" in said


@dataclass(frozen=True)
class Mount:
    """A mount that FRR needs in the lab's mount namespace.

    Attributes:
        kind: `tmpfs`, or `bind` of `source` over `target`.
        target: An existing path.
        source: For `bind`, a file or folder of the lab.
    """

    kind: Literal["tmpfs", "bind"]
    target: Path
    source: Path | None = None


@dataclass(frozen=True)
class LabNeeds:
    """What all routers of a lab need once: write the files, mount in this order, then make the folders."""

    files: Mapping[Path, str]
    mounts: tuple[Mount, ...]
    folders: tuple[Path, ...]


def etc_group(groups: str, gid: int = 0) -> str:
    """An /etc/group in which root is a member of FRR's groups.

    Args:
        groups: The machine's, or an image's.
        gid: The ID of FRR's groups, which its sockets then belong to.
    """
    kept = [line for line in groups.splitlines() if line.partition(":")[0] not in ("frr", "frrvty")]
    return "\n".join([*kept, f"frrvty:x:{gid}:root", f"frr:x:{gid}:root", ""])


def lab_needs(folder: Path, machines_group: str | None = None) -> LabNeeds:
    """Say what FRR needs of a lab's mount namespace.

    FRR insists that its user belongs to the group `frrvty`, and looks the group up by name: in a user namespace that
    maps one id only, that group must be gid 0. It keeps sockets below /run and scratch files in /var/tmp, neither of
    which an ordinary user may write, and vtysh reads /etc/frr/vtysh.conf, which only root and frr may read.

    Args:
        folder: A folder of the lab for the files that are bound.
        machines_group: The machine's /etc/group, read when not given.
    """
    groups = Path("/etc/group").read_text() if machines_group is None else machines_group
    group, etc = folder / "group", folder / "etc-frr"
    return LabNeeds(
        files={
            group: etc_group(groups),
            etc / "vtysh.conf": "service integrated-vtysh-config\n",
        },
        mounts=(
            Mount("bind", Path("/etc/group"), group),
            Mount("bind", Path("/etc/frr"), etc),
            Mount("tmpfs", Path("/run")),
            Mount("tmpfs", Path("/var/tmp")),
        ),
        # Daemons make /run/frr/NAME (-N) themselves, but not /run/frr; bfdd has its control socket there.
        folders=(Path("/run/frr"),),
    )


@dataclass(frozen=True)
class Daemon:
    """One daemon of a router.

    Attributes:
        name: `zebra`, `bgpd`, ...
        argv: Its command line; it stays in the foreground and logs to its standard output.
        ready: A UNIX socket that it listens on once it runs.
        after: Daemons that must be ready before it is started.
    """

    name: str
    argv: tuple[str, ...]
    ready: Path
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class RouterDaemons:
    """The daemons of one router, in the order of their start.

    Attributes:
        vty: The folder of the vty sockets, for `Vty`.
        files: Files to write before the start, also before a restart after the configuration changed.
        daemons: zebra first: a bgpd that finds no zebra tries again only after 10 s, and without `bgp router-id` it
            says 0.0.0.0 to its peers until zebra has told it an address.
        configure: Lines to give to a daemon's vty once it runs, for daemons that take no file (`Vty.configure`).
        unused: Lines of the configuration for protocols that lblab does not run, as (number, text).
    """

    vty: Path
    files: Mapping[Path, str]
    daemons: tuple[Daemon, ...]
    configure: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unused: tuple[tuple[int, str], ...] = ()

    def __getitem__(self, name: str) -> Daemon:
        return next(daemon for daemon in self.daemons if daemon.name == name)


def router_daemons(name: str, config: str, folder: Path, frr: Frr | None = None) -> RouterDaemons:
    """Say how the daemons of a router are run.

    Args:
        name: The router's name, FRR's pathspace (-N): letters, digits, `-`, `_`, `.`.
        config: The integrated FRR configuration: rendered, or a user's own file, unchanged.
        folder: An existing folder of the router for files and sockets; its path must be shorter than 90 characters.
        frr: The FRR to run; the installed one when not given.
    """
    frr = frr or installed()
    if len(os.fsencode(folder)) >= 90:
        raise UserError(f"the path of {folder} is too long for UNIX sockets in it", hint="use a shorter run folder")
    parts = split(config)
    zserv = folder / "zserv.api"
    files: dict[Path, str] = {}
    daemons: list[Daemon] = []
    central: list[str] = []
    for program in (*(["mgmtd"] if frr.mgmtd else []), *needed(config)):
        argv = [str(frr.folder / program), "-N", name, "--vty_socket", str(folder)]
        if program != "mgmtd":
            argv += ["-z", str(zserv)]
        argv += ["-i", str(folder / f"{program}.pid"), "-u", "root", "-g", "root", "-P", "0", "--log", "stdout"]
        if program == "bgpd" and frr.bmp:
            argv += ["-M", "bmp"]
        if program in frr.reads_file:
            files[folder / f"{program}.conf"] = parts.config[program]
            argv += ["-f", str(folder / f"{program}.conf")]
        elif program != "mgmtd":
            central += [line for line in parts.config[program].splitlines() if line != "!"]
        ready = zserv if program == "zebra" else folder / f"{program}.vty"
        daemons.append(Daemon(program, tuple(argv), ready, () if program in ("mgmtd", "zebra") else ("zebra",)))
    configure = {"mgmtd": tuple(central)} if central else {}
    return RouterDaemons(folder, files, tuple(daemons), configure, parts.unused)


def check(config: str, file: Path | str | None = None) -> None:
    """Let the installed FRR read a configuration without running it (45 ms).

    Args:
        config: An integrated FRR configuration.
        file: The user's file that it is, for the error.

    Raises:
        UserError: at the first line that this FRR does not know.
    """
    vtysh = shutil.which("vtysh")
    if vtysh is None:
        raise MissingCapability("vtysh is not installed, which reads FRR's configurations", hint=_INSTALL_HINT)
    # vtysh also warns that an ordinary user may not read /etc/frr/vtysh.conf, which does not matter here.
    said = subprocess.run([vtysh, "-C", "-f", "/dev/stdin"], input=config, capture_output=True, text=True, check=False)
    complain(said.stdout + said.stderr, frr_version(), file)


def complain(said: str, version: tuple[int, ...], file: Path | str | None = None) -> None:
    """Raise what vtysh has said about a configuration.

    Raises:
        UserError: at the first line that it does not know.
    """
    for line in said.splitlines():
        if found := re.match(r"line (\d+): % (.+?)(?:\[\d+\])?: (.*)", line):
            name = ".".join(map(str, version))
            text = f"FRR {name} does not take '{found[3].strip()}': {found[2].lower()}"
            raise UserError(text, file=file, line=int(found[1]))
