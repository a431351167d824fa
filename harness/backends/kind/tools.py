"""What the kind backend works with: Docker, kind and helm, from PATH or built; and what is said when one is missing."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends.kind import names
from harness.backends.kind.commands import Completed, Runner, run
from harness.errors import LabError, MissingCapability, UserError

if TYPE_CHECKING:
    import docker

Progress = Callable[[str], None]

#: Seconds for a program to say its version.
_SAYS_WITHIN = 10.0
#: Seconds for an answer of Docker's daemon; removing a node's container takes the longest, some 10 s on a busy machine.
_DOCKER_WITHIN = 60
#: What decides where Docker is.
_ENDPOINT = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY")
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+[-+.\w]*)")


@dataclass(frozen=True)
class Tools:
    """The programs of one lab.

    Attributes:
        engine: Docker's API, where DOCKER_HOST or the user's context says.
        docker: The docker command: kind runs it, by this name, from PATH.
        kind: The kind command.
        helm: The helm command.
        environment: What each command of this lab has in its environment.
        provenance: For each: where it is from, and its version.
        runner: Runs commands.
    """

    engine: docker.DockerClient
    docker: Path
    kind: Path
    helm: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    runner: Runner = run

    def run(self, *argv: str | Path, within: float, env: Mapping[str, str] | None = None, **more: Any) -> Completed:
        """Run one of them for the lab; see `commands.run`."""
        return self.runner([str(one) for one in argv], within=within, env={**self.environment, **(env or {})}, **more)


def provide(folder: Path, *, build: bool = True, progress: Progress = lambda _: None) -> Tools:
    """Find the tools, or build kind and helm.

    Args:
        folder: The lab's folder: the commands' configuration and caches are in it, the user's own are not touched.
        build: Whether they are built when they are missing.
        progress: Told what is built.

    Raises:
        MissingCapability: Docker is not there, does not answer or refuses this user; the Python package is missing.
        UserError: A tool is missing and cannot be built.
    """
    client = engine()
    command = docker_command()
    environment = {names.ENVIRONMENT: str(folder), **endpoint_environment()}
    facts = client.version()
    provenance: dict[str, Any] = {"docker": {"version": str(facts.get("Version", "?"))}}
    found = {}
    for name in ("kind", "helm"):
        found[name], provenance[name] = _tool(name, build, progress)
    helm_home = folder / "helm"
    environment |= {f"HELM_{part}_HOME": str(helm_home / part.lower()) for part in ("CACHE", "CONFIG", "DATA")}
    return Tools(client, command, found["kind"], found["helm"], environment, provenance)


def docker_command() -> Path:
    """The docker command in PATH.

    Raises:
        MissingCapability: There is none.
    """
    found = shutil.which("docker")
    if found is None:
        raise MissingCapability(
            "the kind backend needs Docker, and there is no docker command",
            hint="install Docker, or put its command into PATH",
        )
    return Path(found)


def engine(environment: Mapping[str, str] | None = None) -> docker.DockerClient:
    """Docker's API where the docker command has it: DOCKER_HOST, else the context that is in use.

    Args:
        environment: In place of this process's: that of whoever made a lab.

    Raises:
        MissingCapability: The Python package is missing, or nobody answers, or this user is refused.
    """
    try:
        import docker
        from docker.errors import DockerException
    except ImportError:
        raise MissingCapability(
            "the kind backend needs the Python package docker", hint="pip install 'lblab[kind]'"
        ) from None
    address, tls = endpoint(os.environ if environment is None else environment)
    try:
        client = docker.DockerClient(base_url=address, tls=tls, version="auto", timeout=_DOCKER_WITHIN)
        client.ping()
    except DockerException as error:
        raise refused(address, str(error)) from None
    return client


def endpoint(environment: Mapping[str, str]) -> tuple[str, Any]:
    """Where Docker's daemon is, and the TLS settings to reach it: DOCKER_HOST, the user's context, or the default."""
    from docker import context, tls
    from docker.errors import DockerException

    default = "unix:///var/run/docker.sock"
    if host := environment.get("DOCKER_HOST"):
        certificates = environment.get("DOCKER_CERT_PATH")
        if environment.get("DOCKER_TLS_VERIFY") and certificates:
            folder = Path(certificates)
            pair = (str(folder / "cert.pem"), str(folder / "key.pem"))
            return host, tls.TLSConfig(client_cert=pair, ca_cert=str(folder / "ca.pem"), verify=True)
        return host, False
    try:
        used = context.ContextAPI.get_context(environment.get("DOCKER_CONTEXT"))
    except (DockerException, OSError, ValueError, KeyError):
        return default, False  # the command would say the same; a broken context file is its to complain about
    if used is None or not used.Host:
        return default, False
    return str(used.Host), used.TLSConfig or False


def endpoint_environment() -> dict[str, str]:
    """What makes the docker command, and kind through it, talk to the same daemon as `engine`."""
    return {name: os.environ[name] for name in _ENDPOINT if name in os.environ}


def refused(address: str, why: str) -> MissingCapability:
    """Say why Docker cannot be used.

    Args:
        address: Where it should be.
        why: What the Docker SDK says.
    """
    if "PermissionError" in why or "Permission denied" in why:
        return MissingCapability(
            f"Docker at {address} refuses this user", hint="sudo usermod -aG docker $USER, then log in again"
        )
    if "FileNotFoundError" in why or "No such file" in why or "ConnectionRefused" in why or "Connection refused" in why:
        return MissingCapability(
            f"no Docker daemon answers at {address}", hint="start it (systemctl start docker), or set DOCKER_HOST"
        )
    reason = why.strip().splitlines()[-1] if why.strip() else "it says nothing"
    return MissingCapability(f"Docker at {address} cannot be used: {reason[:300]}", hint="does `docker version` work?")


def version_of(name: str, command: Path, runner: Runner = run) -> str:
    """The version that kind or helm says it is; `?` when it says none.

    Raises:
        LabError: It cannot be run.
    """
    argv = [str(command), "version"] + (["--short"] if name == "helm" else [])
    match = _VERSION.search(runner(argv, within=_SAYS_WITHIN).text)
    return match.group(1) if match else "?"


def _tool(name: str, build: bool, progress: Progress) -> tuple[Path, dict[str, Any]]:
    """One command: from PATH, else built once."""
    found = shutil.which(name)
    if found is not None:
        try:
            return Path(found), {"version": version_of(name, Path(found)), "from": "PATH"}
        except LabError as error:
            raise UserError(
                f"{found} does not run: {error.message}", hint="take it out of PATH, or repair it"
            ) from None
    from harness import binaries

    path, provenance = binaries.ensure_one(name, build, progress)
    return path, dict(provenance)
