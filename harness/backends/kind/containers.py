"""The containers of a kind lab that are no nodes: the lab host, the routers and the clients, through the Docker SDK.

None of them has a network of Docker's: the lab host wires them. The lab host and the clients need no image of their
own: they run from the nodes' image, the lab host with the machine's files as its root.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends.kind import names
from harness.errors import LabError
from harness.routing import daemons
from harness.wait import until

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

#: Where the lab host's container has the machine's files.
_MACHINE = "/host"
#: What keeps a container whose processes are started by others.
_KEEPER = ("sleep", "infinity")
#: What Docker sets to 1, and kind sets back for its nodes (kind, pkg/cluster/internal/providers/docker).
_IPV6_OFF = "net.ipv6.conf.all.disable_ipv6"
#: Seconds for Docker to have started a container.
_STARTED_WITHIN = 30.0


def name_of(lab: str, host: str) -> str:
    """The name of the container of a router or a client, or of the lab host ("host")."""
    return f"{names.cluster(lab)}-{host}"


class Containers:
    """Makes and finds the containers of one lab.

    Args:
        engine: Docker.
        lab: The lab's name.
        folder: The lab's folder.
    """

    def __init__(self, engine: docker.DockerClient, lab: str, folder: Path) -> None:
        self._engine = engine
        self._lab = lab
        self._folder = folder

    def lab_host(self, image: str) -> Container:
        """Start the lab host: a privileged container that sees the machine's processes and files.

        Args:
            image: Any image with chroot(1).
        """
        source = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        command = ["chroot", _MACHINE, sys.executable, "-m", "harness.backends.kind.host", str(self._folder)]
        return self._run(
            "host",
            image,
            command,
            privileged=True,
            pid_mode="host",
            volumes={"/": {"bind": _MACHINE, "mode": "rw"}},
            environment={"PYTHONPATH": path, "PATH": os.environ.get("PATH", os.defpath)},
        )

    def router(self, name: str, image: str, folder: Path) -> Container:
        """Start a router's container; its daemons are started by the lab host.

        Args:
            name: The router.
            image: An image with FRR.
            folder: Where its FRR files are, at the same path within.
        """
        volumes = {str(folder): {"bind": str(folder), "mode": "rw"}}
        # FRR keeps sockets below /run and scratch files in /var/tmp
        memory = {"/run": "mode=0755", "/var/tmp": "mode=1777"}
        made = self._run(name, image, list(_KEEPER), volumes=volumes, tmpfs=memory, cap_add=["NET_ADMIN"])
        self._belong(made, os.getgid())
        self.ready_for_frr(made)
        return made

    def ready_for_frr(self, router: Container) -> None:
        """Make what FRR needs in its container's memory, which is empty after each start."""
        _said(router, ["mkdir", "-p", "/run/frr"])

    def _belong(self, router: Container, gid: int) -> None:
        """Let FRR run as root and its sockets belong to this user's group, as in the embedded lab."""
        groups = _said(router, ["cat", "/etc/group"])
        script = (
            'printf %s "$0" > /etc/group; mkdir -p /etc/frr; echo service integrated-vtysh-config > /etc/frr/vtysh.conf'
        )
        _said(router, ["sh", "-c", script, daemons.etc_group(groups, gid)])

    def client(self, name: str, image: str) -> Container:
        """Start a client's container: a network, and nothing that runs in it by itself."""
        return self._run(name, image, list(_KEEPER))

    def first_process(self, container: str) -> int:
        """The PID of a container's first process, as the machine sees it; waits until it runs.

        Raises:
            LabError: it does not run.
        """
        found = until(
            f"the container {container} to run",
            lambda: self._state(container),
            lambda state: state["Status"] != "created" and (state["Running"] or state["Status"] == "exited"),
            within=_STARTED_WITHIN,
            every=0.01,
        )
        if not found["Running"]:
            raise LabError(f"the container {container} has ended with {found.get('ExitCode')}")
        return int(found["Pid"])

    def get(self, container: str) -> Container:
        """A container by its name or ID."""
        return self._engine.containers.get(container)

    def _state(self, container: str) -> Mapping[str, Any]:
        state: Mapping[str, Any] = self._engine.api.inspect_container(container)["State"]
        return state

    def _run(self, host: str, image: str, command: Sequence[str], **options: Any) -> Container:
        from docker.errors import DockerException

        try:
            return self._engine.containers.run(
                image,
                # the image's own way to start is not wanted
                command=list(command[1:]),
                entrypoint=[command[0]],
                name=name_of(self._lab, host),
                hostname=host,
                labels=names.labels(self._lab),
                network_mode="none",
                # Docker turns IPv6 off in a container that it gives no IPv6 network; a topology may want addresses
                sysctls={_IPV6_OFF: "0"} if Path("/proc/sys", *_IPV6_OFF.split(".")).exists() else {},
                detach=True,
                **options,
            )
        except DockerException as error:
            raise LabError(f"the container of {host} cannot be started: {error}") from error


def _said(container: Container, argv: Sequence[str]) -> str:
    done = container.exec_run(list(argv))
    text: str = done.output.decode(errors="replace")
    if done.exit_code != 0:
        raise LabError(f"{argv[0]} in {container.name} ended with {done.exit_code}: {text.strip()[-300:]}")
    return text
