"""A game server is held up by itself; its pod, its node and the network are well."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from harness.errors import LabError
from harness.faults.base import Fault, Steps
from harness.faults.parameters import Duration, ServiceName
from harness.faults.stamps import stamped
from harness.traffic import control

_BY_SERVER = "said by the server"


@dataclass(frozen=True)
class ServerStalled(Fault):
    """Hold the game servers of a Service up, as an autosave does: no input is taken, no update sent; echoes go on."""

    service: ServiceName
    seconds: Annotated[Duration, "For how long."]
    name = "server-stall"

    @property
    def subject(self) -> str:
        """The Service."""
        return self.service

    def apply(self, steps: Steps) -> None:
        """Tell every ready backend's server; it goes on by itself."""
        service = steps.lab.service(self.service)
        wanted = {f"{service.namespace}/{each.pod}" for each in service.ready_backends()}
        found = [
            (f"{pod['namespace']}/{pod['name']}", pod["control"])
            for node in steps.lab.nodes
            for pod in steps.backend.node_agent(node, {"op": "pods"})["pods"]
            if f"{pod['namespace']}/{pod['name']}" in wanted
        ]
        if not found:
            raise LabError(f"{service.namespace}/{service.name} has no ready backend")
        for pod, socket in found:
            stall = partial(stamped, partial(self._stall, socket), _BY_SERVER)
            steps.do(pod, f"the game stands still for {self.seconds:g} s", stall)

    def _stall(self, socket: str) -> int:
        return int(control.ask(socket, f"stall {self.seconds:.6f}s")["now_ns"])
