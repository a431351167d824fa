"""A game server as Kubernetes objects: one pod with the game's port and that of an echo beside it."""

from __future__ import annotations

from typing import Any

from harness.objects import Obj, deployment, service
from harness.play import GAME_PORT, SIDECAR_PORT


def game_server(name: str, *, node: str) -> Obj:
    """A Deployment of one game server, pinned to a node as the guide's is (facts/seed.md)."""
    made = deployment(name, node=node, udp=GAME_PORT)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    container["ports"].append({"containerPort": SIDECAR_PORT, "protocol": "UDP"})
    return made


def game_service(name: str, *, app: str, policy: str = "Cluster", **more: Any) -> Obj:
    """A Service of type LoadBalancer in front of a game server.

    Args:
        name: Its name.
        app: The Deployment's name.
        policy: externalTrafficPolicy.
        more: Labels, annotations and fields of the spec, as `harness.objects.service` takes them.
    """
    made = service(name, app=app, policy=policy, ports=(), **more)
    ports = {"game": GAME_PORT, "sidecar": SIDECAR_PORT}
    made["spec"]["ports"] = [{"name": key, "port": port, "protocol": "UDP"} for key, port in ports.items()]
    return made
