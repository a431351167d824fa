"""A kind lab as the process that uses it sees it: asks its lab host, its API server, Docker; ends it by its reaper."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.backends.base import Backend
from harness.backends.hosted import LINUX_STAND_IN, HostedBackend, router_stand_ins
from harness.backends.kind import components, cpu, names, pods, reaper, tools, upgrading, zebra
from harness.backends.kind.cluster import KindCluster, wait_for_init
from harness.backends.kind.containers import Containers, name_of
from harness.backends.kind.fingerprint import fingerprint
from harness.backends.kind.options import KindOptions
from harness.backends.kind.plan import PODS_FOLDER
from harness.backends.kind.reaper import Reaper
from harness.backends.netns import cpu as own_cpu
from harness.backends.netns.plan_timeline import OBSERVER, RECORDER
from harness.backends.registry import LabInfo
from harness.backends.request import Request
from harness.cluster import Cluster
from harness.errors import LabError, LblabError, MissingCapability, UserError
from harness.topology import Topology
from harness.traffic import control

#: What a kubelet is made to look by: an annotation of the pod, and seconds between two of them.
_LOOK, _LOOK_EVERY = "lblab.dev/look", 0.4
#: Seconds after which that is given up.
_STARTED_AGAIN_WITHIN = 30.0


def stand_ins(topology: Topology) -> list[str]:
    """What in a lab of a topology is not the real thing; everything else is."""
    return [LINUX_STAND_IN, *router_stand_ins(topology)]


class KindBackend(HostedBackend):
    """One lab on a kind cluster."""

    kind = "kind"
    #: The first pods of a cluster wait for Cilium to compile their datapath: a minute and more on two busy cores.
    comes_up_within = 240.0
    #: A whole agent, or a node, starts in that time on two busy cores.
    comes_back_within = 90.0
    #: The whole agent, with its datapath's programs in its cache; seen on two cores: docs/kind.md, What was measured.
    agent_starts = (0.5, 10.0)
    kubelet = "kubelet"

    def __init__(self, info: LabInfo, topology: Topology, own: Reaper | None = None) -> None:
        super().__init__(info, topology)
        self.info = info
        #: What the backend knows of its containers and images.
        self.details: Mapping[str, Any] = info.details
        self.reaper = own
        self._containers: Mapping[str, str] = info.details["containers"]
        self._pause_image: str = info.details["pause_image"]
        #: The Cilium version that agents get when they are stopped, and those of them that are to get it.
        self._staged = info.cilium_version
        self._replaced: set[str] = set()

    def fits(self, request: Request) -> bool:
        """Whether another lab can be made of this one's cluster.

        Raises:
            UserError: it cannot, and this lab is not this process's to end.
        """
        fits: bool = fingerprint(request) == self.details["fingerprint"]
        if not fits and self.reaper is None:
            raise UserError(
                f"the cluster of the lab {self.name} is not one for {request.topology.name}",
                hint="its nodes, subnets, versions or options are others; leave --lab-attach out",
            )
        return fits

    def take_over(self, request: Request) -> Backend:
        """Make another lab of this one's cluster; this one is over then."""
        from harness.backends.kind import opening

        self._rpc.close()
        return opening.take_over(self, replace(request, name=self.name))

    def prepare(self, cluster: Cluster, progress: Callable[[str], None]) -> None:
        """Everything runs already."""

    def record(self) -> None:
        """Start the processes that make the timeline, or start them anew; returns when they record."""
        for process in (OBSERVER, RECORDER):
            self._rpc.call("restart", name=process)

    def adapt(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """An object of a manifest as it is sent: its pods are lblab's servers."""
        return pods.adapt(obj, image=self._pause_image, lablet=self.lablet, folder=self._pods_folder)

    def pod_of(self, process: str) -> str:
        """The pod that a component runs in, "namespace/name".

        Raises:
            MissingCapability: it runs in none.
        """
        node, _, program = process.partition("/")
        component = components.of(program)
        where = {"spec.nodeName": node} if component and not component.single else {}
        for pod in self._api.list("Pod", namespace="", fields=where) if component else ():
            if component and component.container in [one["name"] for one in pod["spec"]["containers"]]:
                return _name(pod)
        raise MissingCapability(f"{process} runs in no pod of this lab")

    @property
    def announces_by_l2(self) -> bool:
        """Whether the agents run with Cilium's L2 announcements."""
        return bool(self.details["announces_by_l2"])

    def cpu_times(self) -> dict[int, int]:
        """CPU time of each process of the lab and of the run that uses it, in clock ticks by PID."""
        containers = [self._rpc.peer_pid(), *self._rpc.call("hosts").values()]
        return {**own_cpu.times(), **cpu.of_containers(containers)}

    # -- hosts ------------------------------------------------------------------------------------------------------

    def argv(self, host: str, argv: Sequence[str], *, interactive: bool = False) -> list[str]:
        """The command line that runs a command in a host's network from outside, with the machine's files."""
        if os.getuid() == 0:
            first = self._rpc.peer_pid()
            enter = ["nsenter", f"--target={first}", "--mount", "--root"]
            return [*enter, f"--net=/proc/{first}/root/run/netns/{host}", "--", *argv]
        docker = ["docker", "exec", "--interactive", *(["--tty"] if interactive else []), name_of(self.name, "host")]
        return [*docker, "chroot", "/host", "nsenter", f"--net=/run/netns/{host}", "--", *argv]

    def node_agent(self, node: str, request: dict[str, Any]) -> Any:
        """Ask about a node's pods that are lblab's servers, or have one killed or made unready."""
        if request["op"] == "pods":
            return {"pods": [self._pod(pod) for pod in self._servers(node)]}
        if request["op"] == "kill":
            return self._rpc.call("kill_pod", node=node, pod=request["pod"])
        if request["op"] == "unready":
            for pod in self._servers(node):
                if _name(pod) == request["pod"]:
                    socket = pods.control_socket(self._pods_folder, pod["metadata"]["uid"])
                    return control.ask(socket, f"unready {'on' if request['on'] else 'off'}")
            raise LabError(f"no server of a pod {request['pod']} runs on {node}")
        raise LabError(f"unknown op {request['op']!r}; there are pods, unready and kill")

    def l2_responder(self, node: str) -> dict[str, Any]:
        """What the map of Cilium's L2 responder holds on a node: entries, and the answers that its BPF program gave."""
        found = self._rpc.call("l2_entries", node=node)
        return {"entries": found, "responses": [entry.pop("responses") for entry in found]}

    def l2_forget(self, node: str, entry: Mapping[str, Any]) -> None:
        """Take an entry out of the map of Cilium's L2 responder."""
        self._rpc.call("l2_forget", node=node, ip=entry["ip"], ifindex=entry["ifindex"])

    @functools.cached_property
    def _api(self) -> Cluster:
        return Cluster(self.kubeconfig)

    @property
    def _pods_folder(self) -> Path:
        return self.folder / PODS_FOLDER

    def _servers(self, node: str) -> list[dict[str, Any]]:
        found = self._api.list("Pod", namespace="", fields={"spec.nodeName": node})
        return [pod for pod in found if pods.SERVER_LABEL in (pod["metadata"].get("labels") or {})]

    def _pod(self, pod: Mapping[str, Any]) -> dict[str, Any]:
        metadata, status = pod["metadata"], pod.get("status") or {}
        states = status.get("containerStatuses") or [{}]
        return {
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "ip": status.get("podIP", ""),
            "control": str(pods.control_socket(self._pods_folder, metadata["uid"])),
            "restarts": states[0].get("restartCount", 0),
            "ready": bool(states[0].get("ready")),
            "terminating": "deletionTimestamp" in metadata,
        }

    # -- processes --------------------------------------------------------------------------------------------------

    def start(self, process: str) -> int:
        """Start a process that has ended and wait until it runs; a container that has ended with it is started first.

        What the kubelet or systemd starts is let run; returns when it was started.
        """
        host = process.partition("/")[0]
        if host in self._containers:
            self._wake(host)
        if process in (RECORDER, OBSERVER) or self.processes()[process].pid is None:
            started = super().start(process)
            if process == f"{host}/zebra":
                set_link = functools.partial(self.set_link, host)
                zebra.know_networks(host, self.vty_folder(host), self.topology.links(host), set_link)
            return started
        return self.processes()[process].started_ns or 0

    def replace(self, process: str, version: str) -> None:
        """Let one of Cilium's processes be of another Cilium version from its next start on, by Helm.

        The operator goes first, as in every upgrade by Helm, and is of the new version at once; an agent keeps its own
        until it is stopped, which deletes its pod.

        Raises:
            LabError: it is none of Cilium's, Helm fails, or an agent was to go first.
        """
        name = process.rpartition("/")[2]
        if name == "cilium-operator":
            used = tools.provide(self.folder)
            chosen = KindOptions.of(self.details["options"])
            upgrading.stage(used, self._cluster, self.topology, chosen, self.folder, version)
            self._staged = version
        elif name != "cilium-agent":
            raise LabError(
                f"{process} is none of Cilium's", hint="<node>/cilium-agent or control-plane/cilium-operator"
            )
        elif self._staged != version:
            raise LabError(f"{process} cannot be of Cilium {version} before the operator is", hint="upgrade that first")
        else:
            self._replaced.add(process)

    def signal(self, process: str, number: int) -> int:
        """Send a signal; returns when the kernel took it. An agent that is to be replaced ends with its pod."""
        if process not in self._replaced or number != signal.SIGTERM:
            return super().signal(process, number)
        self._replaced.discard(process)
        space, _, name = self.pod_of(process).partition("/")
        self._api.delete("Pod", name, namespace=space, wait=False)  # the kubelet sends it SIGTERM
        return time.monotonic_ns()

    @property
    def _cluster(self) -> KindCluster:
        nodes = {name: self._containers[name] for name in (*self.topology.nodes, names.CONTROL_PLANE)}
        version = str(self.details["kubernetes"])
        return KindCluster(names.cluster(self.name), self.kubeconfig, nodes, version, self._pause_image)

    def wait_ended(self, process: str, within: float) -> int:
        """Wait until a process has ended; returns when it did. Who starts it again is told to do so now."""
        ended = super().wait_ended(process, within)
        if process.partition("/")[0] in self._containers and components.of(process.rpartition("/")[2]):
            threading.Thread(target=self._hasten, args=(process,), daemon=True, name="hasten").start()
        return ended

    def _hasten(self, process: str) -> None:
        """Let a kubelet look at the pod of a component that has ended until it has started it again.

        A kubelet that looks while its back-off lasts, a second here, looks again only after 10 to 15 s (kubelet,
        backOffPeriod); a change of the pod makes it look at once.
        """
        pause, deadline = threading.Event(), time.monotonic() + _STARTED_AGAIN_WITHIN
        with contextlib.suppress(LblabError):  # no API server, or no such pod any more: it takes the time that it takes
            namespace, _, name = self.pod_of(process).partition("/")
            while time.monotonic() < deadline and not self._rpc.call("there", name=process):
                note = {"metadata": {"annotations": {_LOOK: str(time.monotonic_ns())}}}
                self._api.patch("Pod", name, note, namespace=namespace)
                pause.wait(_LOOK_EVERY)

    def _wake(self, host: str) -> None:
        """Start the container of a host that has ended, and wire it."""
        engine = self._engine
        container = engine.containers.get(self._containers[host])
        if container.status == "running":
            return
        container.start()
        if host in self.topology.routers:
            Containers(engine, self.name, self.folder).ready_for_frr(container)
        if host == names.CONTROL_PLANE or host in self.topology.nodes:
            wait_for_init(self._engine, self._containers[host])
        self.join(host)
        self.record()  # what it recorded of this host was of a network that has gone

    def join(self, host: str) -> None:
        """Wire the container of a host that has just been started."""
        kind = "node" if host == names.CONTROL_PLANE or host in self.topology.nodes else "other"
        first = Containers(self._engine, self.name, self.folder).first_process(self._containers[host])
        self._rpc.call("join", name=host, pid=first, kind=kind)

    @functools.cached_property
    def _engine(self) -> Any:
        return tools.engine()

    # -- the end ----------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Let the lab stay when this process ends; until then it ends with it, however it ends."""
        if self.reaper is not None:
            self.reaper.leave()

    def close(self) -> None:
        """End the lab and remove everything it made; returns when nothing is left."""
        self._rpc.close()
        if self.reaper is not None:
            self.reaper.end()
        else:
            reaper.end(self.folder, self.info.pid)


def _name(pod: Mapping[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
