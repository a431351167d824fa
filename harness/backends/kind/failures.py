"""What a failed command or an unready node means to the person who waits: the telling lines, and what to do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.backends.kind.commands import Completed
from harness.backends.kind.tools import Tools
from harness.cluster import Cluster
from harness.errors import LabError, LblabError

#: Lines of kind that are quoted, of a container's log, and of a kubelet's journal.
_KIND_LINES, _LOG_LINES, _JOURNAL_LINES = 8, 4, 3
#: Events of a node or a pod that are quoted.
_EVENTS = 4
#: Seconds for a command in a container of a cluster that is not well.
_ASKED_WITHIN = 15.0
#: A line that is quoted is no longer than this.
_QUOTED = 240
#: inotify instances for three nodes: each has systemd, containerd and a kubelet (kind's known issues; LEARNT.md).
INOTIFY_INSTANCES = 512
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")

#: What stands in kind's or Helm's output, and what it means.
_SIGNS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("port is already allocated", "address already in use"), "a port of the machine is taken: who has it? ss -ltnp"),
    (("Pool overlaps", "overlaps with other one"), "a subnet is taken: docker network ls; lblab down --all"),
    (("no space left on device",), "the disk is full: docker system df"),
    (("too many open files",), f"raise the limit: sysctl fs.inotify.max_user_instances={INOTIFY_INSTANCES * 2}"),
    (("toomanyrequests", "pull access denied", "manifest unknown"), "lblab images list says what has to be there"),
    (("CAP_SYS_RESOURCE", "operation not permitted"), "does this machine let Docker run privileged containers?"),
    (("kubelet is not running", "kubelet isn't running"), "docker logs and the kubelet's journal above say why"),
)


def of_create(done: Completed, containers: Mapping[str, str], tools: Tools) -> LabError:
    """Explain why kind did not make a cluster.

    Args:
        done: What kind did.
        containers: The nodes' containers, which are still there.
        tools: Docker.
    """
    parts = [_last(done.output, _KIND_LINES), *_of_containers(containers, tools), *_of_api(containers, tools)]
    # summaries show the first line only
    first = f"kind did not make the cluster (exit code {done.code}): {telling(done.output)}"
    return LabError("\n".join([first, *parts]), hint=_hint(parts))


def of_nodes(cluster: Cluster, nodes: Sequence[str], within: float) -> LabError:
    """Explain why nodes are not ready, by their conditions and events."""
    parts = []
    for name in nodes:
        parts.append(conditions(cluster.get("Node", name)))
        parts += [f"  {line}" for line in events(cluster.events("Node", name))]
    return LabError(
        "\n".join([f"nodes are not ready after {within:g} s: {', '.join(nodes)}", *parts]), hint=_hint(parts)
    )


def of_pods(cluster: Cluster, namespace: str, labels: Mapping[str, str]) -> list[str]:
    """Why the pods with these labels are not ready: what their containers wait for, and the last events about them."""
    found = []
    with contextlib.suppress(LblabError):
        for pod in cluster.list("Pod", namespace=namespace, labels=dict(labels)):
            if is_ready(pod):
                continue
            name = pod["metadata"]["name"]
            found.append(f"pod {name}: {pod.get('status', {}).get('phase')}; {_waiting(pod)}")
            found += [f"  {line}" for line in events(cluster.events("Pod", name, namespace=namespace))]
    return found


def telling(output: Iterable[str]) -> str:
    """The line of a command's output that says best why it failed: the last that calls itself an error, or the last."""
    lines = [line.strip() for line in output if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "command output: error", "docker: error"))]
    # kind says first what it could not do, and then what the command that failed had to say
    said = [line for line in lines if "Error response from daemon" in line]
    return _cut((said or errors or lines or ["it said nothing"])[-1])


def is_ready(thing: Mapping[str, Any]) -> bool:
    """Whether a Node's or a Pod's condition Ready is True."""
    conditions = (thing.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def conditions(node: Mapping[str, Any]) -> str:
    """A node's conditions that are not as they should be, in a line."""
    found = []
    for one in (node.get("status") or {}).get("conditions") or []:
        wanted = "True" if one.get("type") == "Ready" else "False"
        if one.get("status") != wanted:
            found.append(f"{one.get('type')}={one.get('status')} ({one.get('reason')}: {one.get('message', '')})")
    return f"node {node['metadata']['name']}: {_cut('; '.join(found) or 'it has told no conditions')}"


def events(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """The last events that tell something, a line each."""
    told = [one for one in found if one.get("type") != "Normal"] or list(found)
    return [_cut(f"{one.get('reason')}: {one.get('message', '').strip()}") for one in told[-_EVENTS:]]


def _waiting(pod: Mapping[str, Any]) -> str:
    status = pod.get("status") or {}
    parts = []
    for one in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
        state = one.get("state") or {}
        if waiting := state.get("waiting"):
            parts.append(f"{one['name']} waits: {waiting.get('reason')} {waiting.get('message', '')}".strip())
        elif (ended := state.get("terminated")) and ended.get("exitCode"):
            parts.append(f"{one['name']} ended with {ended['exitCode']}: {ended.get('message', '')}".strip())
    for one in status.get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("status") != "True":
            parts.append(f"not scheduled: {one.get('message', '')}")
    return _cut("; ".join(parts) or "its containers run and are not ready")


def _of_containers(containers: Mapping[str, str], tools: Tools) -> Iterable[str]:
    from docker.errors import DockerException

    for node, name in containers.items():
        try:
            container = tools.engine.containers.get(name)
        except DockerException:
            yield f"{node}: there is no container {name}"
            continue
        if container.status == "running":
            done = _ask(tools, name, "journalctl", "-u", "kubelet", "-n", "40", "--no-pager", "-o", "cat")
            lines = [line for line in done if line.startswith(("E", "F")) or "rror" in line] or done
            yield from (f"{node}, kubelet: {_cut(line)}" for line in lines[-_JOURNAL_LINES:])
        else:
            yield f"{node}: container {name} is {container.status}, exit code {container.attrs['State']['ExitCode']}"
            log = container.logs(tail=_LOG_LINES).decode(errors="replace").splitlines()
            yield from (f"  {_cut(line)}" for line in log if line.strip())


def _of_api(containers: Mapping[str, str], tools: Tools) -> Iterable[str]:
    """Conditions of the nodes, out of an API server that may be there: kind has written no kubeconfig yet."""
    control_plane = next(iter(containers.values()))
    asked = ("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--request-timeout=5s", "get", "nodes", "-o", "json")
    text = "\n".join(_ask(tools, control_plane, *asked))
    with contextlib.suppress(ValueError):
        for node in json.loads(text)["items"]:
            if not is_ready(node):
                yield conditions(node)


def _ask(tools: Tools, container: str, *argv: str) -> list[str]:
    with contextlib.suppress(LabError):
        done = tools.run(tools.docker, "exec", container, *argv, within=_ASKED_WITHIN)
        if done.code == 0:
            return list(done.output)
    return []


def _last(lines: Iterable[str], count: int) -> str:
    # kubeadm's own log is in kind's error, some hundred lines of it; a stack trace of it tells nothing
    telling = [
        line for line in lines if line.strip() and not line.startswith(("\t", "main.", "runtime.", "Stack Trace"))
    ]
    return "\n".join(_cut(line) for line in telling[-count:])


def _hint(parts: Iterable[str]) -> str | None:
    text = "\n".join(parts)
    for signs, meaning in _SIGNS:
        if any(sign in text for sign in signs):
            return meaning
    with contextlib.suppress(OSError, ValueError):
        if int(_INOTIFY.read_text()) < INOTIFY_INSTANCES:
            return f"{_INOTIFY} is {_INOTIFY.read_text().strip()}; nodes need more: sysctl " + (
                f"fs.inotify.max_user_instances={INOTIFY_INSTANCES * 2}"
            )
    return None


def _cut(line: str) -> str:
    return line if len(line) <= _QUOTED else line[: _QUOTED - 3] + "..."
