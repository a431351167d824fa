"""One kind cluster: made for a topology, with a kubeconfig of its own, and explained when it does not come up."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.backends.kind import config, failures, management, names
from harness.backends.kind.config import Settings
from harness.backends.kind.tools import Progress, Tools
from harness.cluster import Cluster
from harness.errors import LabError, LblabError, WaitTimeout
from harness.topology import Topology
from harness.wait import until

#: Told of each node's container as soon as its init runs: its Kubernetes name, and the container's id.
OnNode = Callable[[str, str], None]

KUBECONFIG_FILE = "kubeconfig"
_CONFIG_FILE, _LOG_FILE = "kind-cluster.json", "kind.log"
#: Seconds for `kind create cluster`. It takes 22 to 32 s for three nodes on two cores (kind-offline/LEARNT.md); kubeadm
#: itself gives up on what does not start after eight minutes (config.py).
_CREATED_WITHIN = 900.0
#: Seconds for every Node object to be there once kind is done: kubeadm's join waits for most of that.
_REGISTERED_WITHIN = 30.0
#: Seconds for a node's entrypoint to hand over to init, and what the kernel calls an init.
_INIT_WITHIN, _INITS = 60.0, ("systemd", "init")
#: Seconds for a command in a node's container that answers at once.
_ANSWERS_WITHIN = 30.0
#: What kind says of a stage that begins or is done, with its emoji and dots cut off.
_STAGE = re.compile(r"^\s*[•✓]\s*(.*?)[^\w)\]\"']*$")
#: A pause image in crictl's answer, with its tag.
_PAUSE = re.compile(r"[\w./:-]+/pause:[\w.-]+")


@dataclass(frozen=True)
class KindCluster:
    """A cluster that is up; its nodes are not ready, as it has no network for pods yet.

    Attributes:
        name: kind's name of it.
        kubeconfig: Its kubeconfig, for this machine.
        nodes: Containers by the Kubernetes names of their nodes, the control plane's among them.
        kubernetes: The version that its API server says.
        pause_image: The image of the containers that hold pods' namespaces: every node has it.
    """

    name: str
    kubeconfig: Path
    nodes: Mapping[str, str]
    kubernetes: str
    pause_image: str

    @property
    def control_plane(self) -> str:
        """The container of the control plane's node."""
        return self.nodes[names.CONTROL_PLANE]


def create(
    tools: Tools,
    topology: Topology,
    settings: Settings,
    folder: Path,
    *,
    on_node: OnNode = lambda name, container: None,
    progress: Progress = lambda _: None,
) -> KindCluster:
    """Make a cluster for a topology: its management network, then `kind create cluster`.

    Whoever calls removes the lab when this fails: what is there then is left for it.

    Args:
        tools: Docker and kind.
        topology: The nodes, their addresses and labels.
        settings: Everything else that decides what is made.
        folder: The lab's folder: the kubeconfig, kind's configuration and its log go there.
        on_node: Called, in a thread for each node, when its container runs, some seconds before kubeadm does.
        progress: Told kind's stages.

    Raises:
        LabError: It does not come up, with the last lines of kind and what the nodes say; or `on_node` failed.
    """
    file, kubeconfig = folder / _CONFIG_FILE, folder / KUBECONFIG_FILE
    file.write_text(json.dumps(config.render(topology, settings), indent=2))
    name = management.make(tools.engine, settings.lab, topology, ipv6=config.family(topology) != "ipv4")
    containers = names.containers(settings.lab, topology.nodes)
    options = [f"--name={name}", f"--config={file}", f"--kubeconfig={kubeconfig}", "--retain"]
    log = folder / _LOG_FILE
    with _watching(tools.engine, name, containers, on_node) as watch, log.open("w") as lines:

        def line(text: str) -> None:
            lines.write(text + "\n")
            if stage := _STAGE.match(text):
                progress(f"kind: {stage[1]}")

        # --retain: what went wrong is in the nodes; whoever called removes them
        done = tools.run(
            tools.kind,
            "create",
            "cluster",
            *options,
            within=_CREATED_WITHIN,
            env=environment(name, topology),
            on_line=line,
            stopped=watch.failed,
        )
    watch.raise_failure()
    if done.code:
        raise failures.of_create(done, containers, tools)
    cluster = Cluster(kubeconfig)
    try:
        _adopt(cluster, topology)
        version = cluster.version()
    finally:
        cluster.close()
    return KindCluster(name, kubeconfig, containers, version, _pause_image(tools, containers[names.CONTROL_PLANE]))


def environment(name: str, topology: Topology) -> dict[str, str]:
    """What kind has in its environment: its network, and a proxy's exceptions, which it hands on to the nodes."""
    found = {"KIND_EXPERIMENTAL_DOCKER_NETWORK": name}
    if any(os.environ.get(proxy) for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")):
        subnets = [str(subnet) for network in topology.networks.values() for subnet in network.subnet]
        already = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
        found["NO_PROXY"] = ",".join([*([already] if already else []), *subnets])
    return found


def _adopt(cluster: Cluster, topology: Topology) -> None:
    """Give the nodes the topology's labels and their shares of the pods' addresses."""
    wanted = config.pod_cidrs(topology)
    until(
        "the nodes to register",
        lambda: {node["metadata"]["name"] for node in cluster.list("Node")},
        lambda seen: seen >= set(wanted),
        within=_REGISTERED_WITHIN,
        every=0.2,
        show=lambda seen: ", ".join(sorted(seen)) or "none",
    )
    for name, cidrs in wanted.items():
        labels = topology.nodes[name].labels if name in topology.nodes else {}
        change: dict[str, Any] = {
            "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
            "metadata": {"labels": dict(labels)},
        }
        cluster.patch("Node", name, change)


def _pause_image(tools: Tools, container: str) -> str:
    done = tools.run(tools.docker, "exec", container, "crictl", "images", "-o", "json", within=_ANSWERS_WITHIN)
    tags = _PAUSE.findall(done.text)
    if not tags:
        raise LabError(f"the image of {container} holds no pause image", hint=done.last(2) or "crictl images")
    return str(tags[0])


def wait_for_init(engine: Any, container: str) -> None:
    """Wait until a node's container has handed over to its init: what it does before is for Docker's network only.

    The image's entrypoint reads the addresses and the default route that Docker gave, and ends when they are gone.

    Args:
        engine: Docker.
        container: The container's name or id; it has just been started.

    Raises:
        LabError: It ends, or does not get that far.
    """

    def first() -> str:
        state = engine.containers.get(container).attrs["State"]
        if not state["Running"]:
            raise LabError(f"the node's container {container} ended at its start, exit code {state['ExitCode']}")
        return Path(f"/proc/{state['Pid']}/comm").read_text().strip()

    until(
        f"init in the node's container {container}", first, lambda name: name in _INITS, within=_INIT_WITHIN, every=0.05
    )


class _Watch:
    """Waits for the containers of a cluster to start, and passes each on in a thread of its own."""

    def __init__(self, engine: Any, containers: Mapping[str, str], on_node: OnNode) -> None:
        self._engine = engine
        self._nodes = {container: node for node, container in containers.items()}
        self._on_node = on_node
        self._pool = ThreadPoolExecutor(max(len(containers), 1), thread_name_prefix="node")
        self._tasks: list[Future[None]] = []

    def started(self, container: str, identity: str) -> None:
        """A container has started; another one of the same name is another node's first start, too."""
        node = self._nodes.pop(container, None)
        if node is not None:
            self._tasks.append(self._pool.submit(self._call, node, identity))

    def _call(self, node: str, identity: str) -> None:
        wait_for_init(self._engine, identity)
        # kind lets Docker start a node again that ended; here it is off until its lab wakes it, and wires it
        self._engine.containers.get(identity).update(restart_policy={"Name": "no"})
        self._on_node(node, identity)

    def failed(self) -> bool:
        """Whether a call has failed so far."""
        return any(task.done() and task.exception() is not None for task in list(self._tasks))

    def close(self) -> None:
        """Wait for the calls that have begun."""
        self._pool.shutdown(wait=True)

    def raise_failure(self) -> None:
        """Raise the first failure of a call."""
        for task in self._tasks:
            if (error := task.exception()) is not None:
                raise error


@contextlib.contextmanager
def _watching(engine: Any, name: str, containers: Mapping[str, str], on_node: OnNode) -> Iterator[_Watch]:
    """Follow Docker's events for a cluster while kind makes it."""
    from docker.errors import DockerException

    watch = _Watch(engine, containers, on_node)
    filters = {"type": "container", "event": "start", "label": f"{names.KIND_LABEL}={name}"}
    events = engine.events(decode=True, filters=filters)

    def follow() -> None:
        with contextlib.suppress(DockerException, OSError, ValueError):  # closed, or the daemon has gone: kind says so
            for event in events:
                actor = event.get("Actor") or {}
                watch.started(str((actor.get("Attributes") or {}).get("name")), str(actor.get("ID")))

    follower = threading.Thread(target=follow, daemon=True, name="docker-events")
    follower.start()
    try:
        yield watch
    finally:
        with contextlib.suppress(DockerException, OSError):
            events.close()
        follower.join(5)
        watch.close()


def wait_nodes_ready(cluster: Cluster, nodes: Mapping[str, str], within: float) -> None:
    """Wait until every node says that it is ready.

    Raises:
        LabError: One does not in time; with its conditions and the last events about it.
    """

    def waiting() -> list[str]:
        return [node["metadata"]["name"] for node in cluster.list("Node") if not failures.is_ready(node)]

    try:
        until("the nodes to be ready", waiting, lambda left: not left, within=within, every=0.25, show=", ".join)
    except WaitTimeout:
        left = waiting()
        with contextlib.suppress(LblabError):
            raise failures.of_nodes(cluster, left, within) from None
        raise LabError(f"nodes are not ready after {within:g} s: {', '.join(left)}") from None
