"""Measures labs as their users start and end them: with the `lblab` command, and with a process that is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine
from harness.backends import registry
from harness.backends.netns import plan_routers
from harness.bringup import attach
from harness.errors import LabError
from harness.lab import Lab
from harness.objects import deployment, service
from harness.routing import frr
from harness.routing.vty import Vty
from harness.topology import Topology, load
from harness.wait import until

LBLAB = Path(sys.executable).with_name("lblab")
#: Seconds for a lab to come up or to be gone; far above every bar, so that a slow machine gives a figure, too.
_UP_WITHIN, _GONE_WITHIN = 180.0, 30.0
#: Seconds between two looks at the sessions while a lab comes up: a look costs bgpd 0.1 ms for two nodes.
_LOOK_EVERY = 0.02
_BGP_READS = 200
#: What `harness.backends.netns` says when it starts the lab host.
_HOST_STARTS = "namespaces, links, FRR"

#: An owner of a lab that does nothing, and ends only when it is killed.
_OWNER = (
    "import sys; from harness.bringup import open_lab; lab = open_lab(*sys.argv[1:2], name=sys.argv[2], build=False, \
cilium_version=sys.argv[3]); print('up', flush=True); sys.stdin.read()"
)


@dataclass
class Started:
    """A lab that `lblab up` brought up, and what that took; seconds since the start of the command.

    Attributes:
        lab: The lab.
        pids: All its processes.
        seconds: `answer`: first HTTP answer through the address, asked for when the command had ended; `command`: the
            command's end; `network`: from the start of the lab host until links were there and FRR answered;
            `sessions`: every BGP session of every router was Established.
    """

    lab: Lab
    pids: set[int]
    seconds: dict[str, float] = field(default_factory=dict)


@contextlib.contextmanager
def started(topology_file: Path, name: str, cilium: str) -> Iterator[Started]:
    """Bring a lab up with the command, measured; whatever happens, it is gone afterwards.

    Raises:
        LabError: when the command fails; with the end of what it said.
    """
    topology = load(topology_file)
    command = [str(LBLAB), "up", str(topology_file), "--name", name, "--cilium-version", cilium, "--no-build"]
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said: list[tuple[float, str]] = []
    reader = threading.Thread(target=_read, args=(process, said), daemon=True)
    reader.start()
    try:
        sessions = _all_established(topology, name, process)
        process.wait(_UP_WITHIN)
        ended = time.monotonic()
        reader.join()
        if process.returncode != 0:
            raise LabError(f"lblab up failed: {' '.join(line for _, line in said[-3:])}")
        lab = attach(name)
        url = next(iter(lab.status().services)).name
        lab.client().http(lab.service(url).url())
        answered = time.monotonic()
        host = next(at for at, line in said if _HOST_STARTS in line)
        seconds = {
            "answer": answered - begin,
            "command": ended - begin,
            "network": _network_up(lab) - host,
            **({"sessions": sessions - begin} if sessions is not None else {}),
        }
        yield Started(lab, machine.tree(registry.read(registry.root() / name).pid), seconds)
    finally:
        process.kill()
        with contextlib.suppress(LabError):  # it may be down already, which is the aim
            attach(name).close()


def _read(process: subprocess.Popen[str], said: list[tuple[float, str]]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        said.append((time.monotonic(), line.rstrip()))


def _all_established(topology: Topology, name: str, process: subprocess.Popen[str]) -> float | None:
    """Watch the routers of a lab that comes up; returns when all sessions were up, None if the command ended before."""
    folder = registry.root() / name
    with contextlib.ExitStack() as stack:
        vtys = [stack.enter_context(Vty(plan_routers.frr_folder(folder, router))) for router in topology.routers]

        def established() -> bool:
            peers = [peer for vty in vtys for peer in frr.bgp_peers(vty)]
            return bool(peers) and all(peer.established for peer in peers)

        def look() -> bool:
            try:
                return established() or process.poll() is not None
            except LabError:  # its daemons are not there yet
                return process.poll() is not None

        until("the BGP sessions", look, within=_UP_WITHIN, every=_LOOK_EVERY)
        now = time.monotonic()
        return now if process.poll() is None else None


def _network_up(lab: Lab) -> float:
    """When links were there and every FRR daemon answered, as time.monotonic counts."""
    states = lab.backend.processes().values()
    routers = tuple(f"{router}/" for router in lab.routers)
    ready = [state.ready_ns for state in states if state.name.startswith(routers) and state.ready_ns]
    # the first process is started as soon as the namespaces are there, so this is when the lab's clock began
    zero = min(state.started_ns for state in states if state.started_ns) / 1e9 - lab.backend.stages["namespaces"]
    return max(max(ready) / 1e9, zero + lab.backend.stages["links"])


def bgp_read(lab: Lab) -> float:
    """Milliseconds that one read of all sessions of a router takes, parsing included; the median of many."""
    router = lab.router()
    taken = []
    for _ in range(_BGP_READS):
        begin = time.monotonic()
        router.bgp.peers()
        taken.append((time.monotonic() - begin) * 1000)
    return statistics.median(taken)


def reset(lab: Lab) -> float:
    """Seconds to bring a lab back to how it was, and to check that, after a scenario that announced a new service."""
    lab.mark_clean()
    lab.apply([deployment("bench"), service("bench")])
    lab.wait_next_hops(lab.service("bench").prefix, lab.nodes)
    lab.converge()
    begin = time.monotonic()
    put_back = lab.reset()
    seconds = time.monotonic() - begin
    if not put_back:
        raise LabError("the reset found nothing to put back: it was not measured")
    return seconds


def down(up: Started) -> float:
    """Seconds from the start of `lblab down` until no process and no file of the lab is left."""
    begin = time.monotonic()
    subprocess.run([str(LBLAB), "down", "--lab", up.lab.name], check=True, stdout=subprocess.DEVNULL)
    _wait_gone(registry.root() / up.lab.name, up.pids)
    return time.monotonic() - begin


def killed(topology_file: Path, name: str, cilium: str) -> float:
    """Seconds from SIGKILL of a lab's owner until no process and no file of the lab is left."""
    command = [sys.executable, "-c", _OWNER, str(topology_file), name, cilium]
    folder = registry.root() / name
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        if owner.stdout.readline() != "up\n":
            raise LabError(f"the lab {name} did not come up")
        pids = machine.tree(registry.read(folder).pid)
        begin = time.monotonic()
        os.kill(owner.pid, signal.SIGKILL)
        _wait_gone(folder, pids)
        return time.monotonic() - begin
    finally:
        owner.kill()
        owner.wait()


def _wait_gone(folder: Path, pids: set[int]) -> None:
    until(
        f"every process and file of {folder.name} to be gone",
        lambda: (len(machine.alive(pids)), folder.exists()),
        lambda left: left == (0, False),
        within=_GONE_WITHIN,
        every=0.005,
        show=lambda left: f"{left[0]} processes, folder {'there' if left[1] else 'gone'}",
    )
