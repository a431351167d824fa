"""The embedded lab as the process that uses it sees it: starts the lab host, talks to it, ends it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.backends import registry
from harness.backends.hosted import LINUX_STAND_IN, HostedBackend, router_stand_ins
from harness.backends.netns import cpu, credentials, ending, plan, plan_routers, wiring
from harness.backends.netns.host import FAILURE_FILE, SOCKET_FILE, SPEC_FILE
from harness.backends.netns.rpc import Client
from harness.backends.netns.spec import LOG_FOLDER
from harness.backends.registry import LEAVE, LOCK_FILE, LabInfo
from harness.backends.request import Request
from harness.binaries import Binaries, ensure
from harness.cluster import Cluster
from harness.errors import LabError, MissingCapability
from harness.metallb import install as metallb
from harness.topology import Topology
from harness.wait import until

#: Seconds for the lab host to answer; it takes 0.1 s on an idle machine.
_HOST_WITHIN = 20.0
#: Seconds for a version's CRDs to be registered; 1.20 looks once a second for each of them (design.md).
_REGISTERED_WITHIN = 60.0
#: Seconds for the kernel to end every process of a lab.
_GONE_WITHIN = 10.0

STAND_INS = (
    "nodes are network namespaces and pods are processes in them",
    "lblab's node agent stands in for the kubelet",
    "kube-proxy stands in for Cilium's eBPF datapath",
    LINUX_STAND_IN,
)
L2_STAND_IN = "lblab's responder stands in for Cilium's BPF program that answers ARP, and for its reconciler"


def stand_ins(topology: Topology) -> list[str]:
    """What in a lab of a topology is not the real thing."""
    l2 = [L2_STAND_IN] if topology.cilium.l2announcements.enabled else []
    return [*STAND_INS, *l2, *router_stand_ins(topology)]


class NetnsBackend(HostedBackend):
    """One embedded lab."""

    kind = "netns"
    comes_up_within = 60.0
    #: A session that a scenario took down comes back after GoBGP's idle hold and connect delay (facts/cilium.md 3.3), a
    #: pod after its readiness probe.
    comes_back_within = 30.0
    #: The BGP control plane alone: "controller running" after 10 ms (shared/design.md).
    agent_starts = (0.0, 1.0)
    #: lblab's own agent stands in for it.
    kubelet = "node-agent"

    def __init__(self, info: LabInfo, topology: Topology, owner: int | None = None) -> None:
        super().__init__(info, topology)
        self._pid = info.pid
        self._owner = owner
        self._metallb_crds: list[dict[str, Any]] = []

    # -- making and finding -----------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        topology: Topology,
        topology_file: Path,
        binaries: Binaries,
        *,
        name: str,
        cilium_version: str,
        owned: bool,
        progress: Callable[[str], None] = lambda _: None,
        metallb_crds: Sequence[dict[str, Any]] = (),
    ) -> NetnsBackend:
        """Bring a lab up: namespaces, links, FRR, Kubernetes, Cilium; the user's manifests are not applied yet.

        Args:
            topology: What to build.
            topology_file: Where it was read from; whoever attaches to the lab reads it again.
            binaries: What to run in it.
            name: The lab's name, unique among this user's labs.
            cilium_version: The Cilium version that `binaries` holds.
            owned: End the lab when this process ends; otherwise it stays until it is closed by name.
            progress: Told each stage.
            metallb_crds: MetalLB's CustomResourceDefinitions, for a lab that runs it.

        Raises:
            UserError: when the name is taken.
            MissingCapability: when this user may not make namespaces here.
            LabError: when a daemon does not start; with its last log lines. Nothing is left behind.
        """
        started = time.monotonic()
        folder, lock = registry.claim(name)
        owner_read, owner_write = os.pipe()
        try:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
                (folder / LOG_FOLDER).mkdir(mode=0o700)
                access = credentials.make(folder / "pki", ["127.0.0.1", *plan.api_addresses(topology)])
                access.kubeconfig(folder / "kubeconfig", f"https://127.0.0.1:{port}")
                plan.make(name, topology, binaries, folder, access).save(folder / SPEC_FILE)
                progress("namespaces, links, FRR")
                host = _spawn(folder, lock, owner_read, listener.fileno())
            _wait_host(folder, host)
            rpc = Client(folder / SOCKET_FILE)
            progress("Kubernetes and Cilium")
            stages = rpc.call("booted")
            rpc.close()
        except BaseException:
            os.close(lock)
            _discard(folder, owner_write)
            raise
        finally:
            os.close(owner_read)
        os.close(lock)  # the lab host holds it from now on
        info = LabInfo(
            name=name,
            folder=str(folder),
            topology=str(topology_file.absolute()),
            cilium_version=cilium_version,
            pid=host.pid,
            created=time.time(),
            owner="process" if owned else "none",
            provenance=dict(binaries.provenance),
            stages={**stages, "booted": time.monotonic() - started},
            stand_ins=stand_ins(topology),
            time_scale=topology.time_scale,
            lablet=str(binaries.lablet),
            metallb_version=binaries.metallb.version if binaries.metallb else None,
        )
        registry.write(info)
        made = cls(info, topology, owner_write)
        made._metallb_crds = list(metallb_crds)
        return made

    def fits(self, request: Request) -> bool:
        """Nothing of an embedded lab is worth keeping: another one is up in seconds."""
        return False

    def take_over(self, request: Request) -> NetnsBackend:
        """Never done."""
        raise LabError(f"an embedded lab does not become {request.name}")

    def prepare(self, cluster: Cluster, progress: Callable[[str], None]) -> None:
        """Start MetalLB, where the lab has it: its programs look for kinds and objects that must be there first."""
        if self.metallb_version is not None:
            progress("MetalLB")
            metallb.install(self, cluster, self._metallb_crds)

    def adapt(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Objects go to the API server as they are: the node agents make each pod one of lblab's servers."""
        return dict(obj)

    def pod_of(self, process: str) -> str:
        """Components of an embedded lab are no pods.

        Raises:
            MissingCapability: always.
        """
        raise MissingCapability(f"in an embedded lab {process} is a process, not a pod", hint="--lab-backend kind")

    @property
    def announces_by_l2(self) -> bool:
        """Whether its agents run with Cilium's L2 announcements."""
        return any(name.endswith("/l2-responder") for name in self.processes())

    def cpu_times(self) -> dict[int, int]:
        """CPU time of each process of the lab and of the run that uses it, in clock ticks by PID."""
        return cpu.times(self._pid)

    def leave(self) -> None:
        """Let the lab stay when this process ends; until then it ends with it, however it ends."""
        if self._owner is not None:
            os.write(self._owner, LEAVE)
            os.close(self._owner)
            self._owner = None

    # -- hosts ------------------------------------------------------------------------------------------------------

    def argv(self, host: str, argv: Sequence[str], *, interactive: bool = False) -> list[str]:
        """The command line that runs a command in a host's network from outside."""
        del interactive  # nsenter keeps the terminal as it is
        first = self._rpc.peer_pid()
        target = ["nsenter", f"--target={first}", "--mount", "--pid", f"--net=/proc/{first}/root/run/netns/{host}"]
        if os.getuid() != 0:
            target += ["--user", "--preserve-credentials"]
        return [*target, "--", *argv]

    def node_agent(self, node: str, request: dict[str, Any]) -> Any:
        """Ask a node's agent about its pods; one JSON line each way."""
        return _ask(f"{node}'s node agent", plan_routers.node_folder(self.folder, node) / "node-agent.sock", request)

    def l2_responder(self, node: str) -> dict[str, Any]:
        """What the stand-in for Cilium's L2 responder on a node holds: entries, answers given, sign of life."""
        return self._l2_responder(node, {"op": "list"})

    def l2_forget(self, node: str, entry: Mapping[str, Any]) -> None:
        """Take an entry away from that stand-in."""
        self._l2_responder(node, {"op": "delete", **entry})

    def _l2_responder(self, node: str, request: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = _ask(f"{node}'s L2 responder", plan.l2_responder_socket(self.folder, node), request)
        return found

    # -- processes --------------------------------------------------------------------------------------------------

    def replace(self, process: str, version: str) -> None:
        """Let one of Cilium's processes be of another Cilium version from its next start on.

        A real operator registers its CRDs when it starts; here that is done beforehand, as when a lab is made.
        """
        binaries = ensure(version)
        programs = {"cilium-agent": binaries.cilium_bgp, "cilium-operator": binaries.cilium_operator}
        name = process.rpartition("/")[2]
        if name not in programs:
            raise LabError(f"{process} is none of Cilium's", hint=f"<host>/{' or <host>/'.join(programs)}")
        if name == "cilium-operator":
            register = [str(programs[name]), f"--kubeconfig={plan.inner_kubeconfig(self.folder)}", "--register-crds"]
            done = self.exec(wiring.CONTROL_PLANE, register, within=_REGISTERED_WITHIN)
            if done.returncode:
                raise LabError(f"the CRDs of Cilium {version} cannot be registered: {done.stderr.strip()[-500:]}")
        self._rpc.call("replace", name=process, program=str(programs[name]))

    # -- the end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the lab and remove everything it made; returns when nothing is left."""
        self._rpc.close()
        ending.end(self.folder, self._pid, _GONE_WITHIN)
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None
        if _is_child(self._pid):
            os.waitpid(self._pid, 0)


def _ask(whom: str, path: Path, request: dict[str, Any]) -> Any:
    """Send one JSON line to a process of the lab and read one."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as lines:
            reply = json.loads(lines.readline() or b'{"error": "it closed the connection"}')
    if isinstance(reply, dict) and reply.get("error"):
        raise LabError(f"{whom}: {reply['error']}")
    return reply


def _is_child(pid: int) -> bool:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1]) == os.getpid()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _spawn(folder: Path, lock: int, owner: int, api: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "harness.backends.netns.host", str(folder)]
    command += [f"--api-fd={api}", f"--owner-fd={owner}"]
    source = str(Path(__file__).resolve().parents[3])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]).rstrip(":")}
    with open(folder / LOG_FOLDER / "host.log", "wb") as log:
        # a session of its own: the terminal's signals reach the owner, which ends the lab in order
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock, owner, api],
            start_new_session=True,
            env=environment,
        )


def _wait_host(folder: Path, host: subprocess.Popen[bytes]) -> None:
    sock = folder / SOCKET_FILE
    until(
        "the lab host to answer",
        lambda: sock.exists() or host.poll() is not None,
        within=_HOST_WITHIN,
        every=0.005,
        show=lambda _: (folder / LOG_FOLDER / "host.log").read_text()[-2000:] or "nothing in its log",
    )
    if host.poll() is None:
        return
    failure = folder / FAILURE_FILE
    if failure.exists() and host.returncode == MissingCapability.exit_code:
        raise MissingCapability(failure.read_text())
    log = folder / LOG_FOLDER / "host.log"
    reason = failure.read_text() if failure.exists() else log.read_text()[-2000:] if log.exists() else "no word"
    raise LabError(f"the lab host ended with {host.returncode}: {reason}")


def _discard(folder: Path, owner: int) -> None:
    """Take back a lab that did not come up: end its host if there is one, then remove its folder."""
    os.close(owner)
    with contextlib.suppress(LabError):  # there may be no host, or no more
        Client(folder / SOCKET_FILE).call("shutdown")
    lock = folder / LOCK_FILE
    if lock.exists():
        until("the failed lab's host to end", lambda: registry.lock_is_free(lock), within=_GONE_WITHIN)
    shutil.rmtree(folder, ignore_errors=True)
