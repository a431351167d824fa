"""munet beside lblab: the same FRR, two routers on a link, brought up by munet 0.17 in a Python of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.binaries import cache
from harness.errors import LblabError, MissingCapability
from harness.routing import daemons

REQUIREMENT = "munet>=0.17,<0.18"
_CHILD = Path(__file__).with_name("munet_child.py")
_ROUTERS = ("r1", "r2")
_CONFIG = "frr defaults traditional\nrouter bgp 64512\n"
_INSTALLS_WITHIN, _RUNS_WITHIN = 300, 60

#: What lblab's own lab host does for FRR (harness.routing.daemons), in words of a shell; then munet takes over.
_ENTER = 'set -e; folder=$1; mount --bind "$folder/group" /etc/group; mount --bind "$folder/etc-frr" /etc/frr; \
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /var/tmp; mkdir /run/frr; exec "$2" -P "$3" "$folder/config.json"'


def install() -> Path:
    """Install munet into a virtual environment of its own, under the user's cache; returns its Python.

    Raises:
        MissingCapability: when it cannot be had, and why.
    """
    if shutil.which("pgrep") is None:
        raise MissingCapability("munet needs pgrep", hint="apt-get install procps")
    folder = cache.root() / "bench" / "munet-0.17"
    python = folder / "bin" / "python"
    if python.exists() and subprocess.run([python, "-c", "import munet"], check=False).returncode == 0:
        return python
    commands = (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUIREMENT],
    )
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_INSTALLS_WITHIN)
        except subprocess.TimeoutExpired:
            raise MissingCapability(f"munet could not be installed within {_INSTALLS_WITHIN} s") from None
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise MissingCapability(f"munet could not be installed: {why}")
    return python


def run(python: Path) -> dict[str, float]:
    """Bring munet's two routers up and down once; seconds as `bench/munet_child.py` says.

    Raises:
        LblabError: when they do not come up.
    """
    with tempfile.TemporaryDirectory(prefix="munet-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "config.json").write_text(json.dumps(_prepare(folder)))
        user = [] if os.getuid() == 0 else ["--user", "--map-root-user"]
        unshare = ["unshare", *user, "--mount", "--pid", "--fork", "--mount-proc", "--net", "--kill-child"]
        command = [*unshare, "sh", "-c", _ENTER, "sh", str(folder), str(python), str(_CHILD)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_RUNS_WITHIN)
        except subprocess.TimeoutExpired:
            raise LblabError(f"munet did not come up within {_RUNS_WITHIN} s") from None
        if done.returncode:
            raise LblabError(f"munet failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
        seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return seconds


def _prepare(folder: Path) -> dict[str, Any]:
    """Write what FRR needs, and say what munet shall run."""
    files = dict(daemons.lab_needs(folder).files)
    nodes, sockets = [], []
    for number, router in enumerate(_ROUTERS, 1):
        own = folder / router
        own.mkdir()
        frr = daemons.router_daemons(router, _CONFIG, own)
        files |= frr.files
        sockets += [str(daemon.ready) for daemon in frr.daemons]
        # zebra first, as in a lab: a bgpd that finds no zebra tries again after ten seconds only
        lines = [f"{' '.join(daemon.argv)} &\n{_wait_for(daemon.ready)}" for daemon in frr.daemons]
        nodes.append(
            {
                "name": router,
                "ip": f"10.255.0.{number}/32",
                "connections": [{"to": "net0", "name": "eth0"}],
                "cmd": "\n".join([*lines, "wait"]),
            }
        )
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    topology = {"networks": [{"name": "net0", "ip": "192.0.2.0/24"}], "nodes": nodes}
    config = {"version": 1, "config_pathname": str(folder / "munet.yaml"), "topology": topology}
    return {"munet": config, "sockets": sockets}


def _wait_for(socket: Path) -> str:
    return f"until [ -S {socket} ]; do sleep 0.01; done"
