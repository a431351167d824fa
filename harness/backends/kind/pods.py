"""What becomes of the pods of a manifest: lblab's server answers in place of each image, as in the embedded lab. Pure.

A manifest says what is to be announced; who answers behind it has to tell who it is, and to stamp what it receives. So
that no image is needed for that, the container is the one of the nodes' own pause image, with lblab's program from the
machine; that program is static.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Obj = dict[str, Any]

#: Marks pods that are lblab's servers.
SERVER_LABEL = "lblab.dev/server"
#: Kinds with a template of pods, and where it is.
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_LABLET, _CONTROL = "lblab-program", "lblab-control"


def control_socket(folder: Path, uid: str) -> Path:
    """Where a pod's server takes commands.

    Args:
        folder: The folder of all of them.
        uid: The pod's UID.
    """
    return folder / f"{uid}.sock"


def adapt(obj: Mapping[str, Any], *, image: str, lablet: Path, folder: Path) -> Obj:
    """An object as it is sent to a kind lab's API server: its pods are lblab's servers.

    A pod has one server, which listens on the ports of all of its containers, or on TCP 80 if they name none; probes,
    lifecycle and resources are those of the first.

    Args:
        obj: The object as its author wrote it.
        image: An image that every node has.
        lablet: lblab's program on the machine, and at the same path on the nodes.
        folder: Where the servers' control sockets are, on the machine and at the same path on the nodes.
    """
    changed: Obj = copy.deepcopy(dict(obj))
    where = _TEMPLATES.get(str(obj.get("kind")))
    if where is None:
        return changed
    template: Any = changed
    for key in where:
        template = template.get(key) if isinstance(template, dict) else None
    spec = template.get("spec") if isinstance(template, dict) else None
    if not isinstance(spec, dict) or not spec.get("containers"):
        return changed  # the API server says what is wrong with it
    metadata = template.get("metadata") or {}
    # new dicts: a program that makes an object may have used its labels for the selector, too
    template["metadata"] = {**metadata, "labels": {**(metadata.get("labels") or {}), SERVER_LABEL: "true"}}
    spec["containers"] = [_server(spec["containers"], image, lablet, folder)]
    spec.pop("initContainers", None)
    spec["volumes"] = [
        *spec.get("volumes", ()),
        {"name": _LABLET, "hostPath": {"path": str(lablet), "type": "File"}},
        {"name": _CONTROL, "hostPath": {"path": str(folder), "type": "Directory"}},
    ]
    return changed


def _server(containers: list[Obj], image: str, lablet: Path, folder: Path) -> Obj:
    first = containers[0]
    ports = [port for container in containers for port in container.get("ports") or ()]
    kept = {key: value for key, value in first.items() if key not in ("image", "command", "args", "env", "envFrom")}
    mounts = [
        {"name": _LABLET, "mountPath": "/lablet", "readOnly": True},
        {"name": _CONTROL, "mountPath": str(folder)},
    ]
    fields = {
        "LBLAB_NODE": "spec.nodeName",
        "LBLAB_NAMESPACE": "metadata.namespace",
        "LBLAB_POD": "metadata.name",
        "LBLAB_UID": "metadata.uid",
        "LBLAB_IPS": "status.podIPs",
    }
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    arguments = ["serve", "--node=$(LBLAB_NODE)", "--pod=$(LBLAB_NAMESPACE)/$(LBLAB_POD)", "--pod-ip=$(LBLAB_IPS)"]
    arguments += [f"--listen={listen}" for listen in _listens(ports)]
    arguments.append(f"--control={control_socket(folder, '$(LBLAB_UID)')}")
    return {
        **kept,
        **({"ports": ports} if ports else {}),
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        # the pause image's own user may not listen on port 80
        "securityContext": {**(first.get("securityContext") or {}), "runAsUser": 0},
        "command": ["/lablet"],
        "args": arguments,
        "env": env,
        **_readiness(first, ports),
        "volumeMounts": [*first.get("volumeMounts", ()), *mounts],
    }


def _readiness(first: Obj, ports: list[Obj]) -> Obj:
    """A probe for a pod without one: it follows its server's own word, as in the embedded lab, a second later."""
    tcp = next((port["containerPort"] for port in ports if port.get("protocol", "TCP") == "TCP"), None)
    if first.get("readinessProbe") or (ports and tcp is None):
        return {}
    asked = {"path": "/", "port": tcp or 80}
    return {"readinessProbe": {"httpGet": asked, "periodSeconds": 1, "failureThreshold": 1}}


def _listens(ports: list[Obj]) -> list[str]:
    """What the server listens on: every TCP and UDP port, and TCP 80 for a pod that names none."""
    found = [f"{str(port.get('protocol') or 'TCP').lower()}/{port['containerPort']}" for port in ports]
    return list(dict.fromkeys(one for one in found if not one.startswith("sctp"))) or ["tcp/80"]
