"""What nodes say for themselves: the annotation `cilium.io/bgp-virtual-router.ASN` as CiliumBGPNodeConfigOverride.

The annotation's form is that of 1.18:pkg/bgpv1/agent/annotations.go: `router-id=IPv4,local-port=NUMBER`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any

from harness.cilium.migrate.document import Document
from harness.cilium.migrate.message import Message, Weight, about
from harness.manifests import Manifest

PREFIX = "cilium.io/bgp-virtual-router."


def overrides(
    nodes: Iterable[Manifest], instances: Mapping[int, str], api_version: str
) -> Iterator[Document | Message]:
    """An object for each node that has something to say about an instance.

    Args:
        nodes: Node objects, as `kubectl get nodes -o yaml` gives them.
        instances: The new instances' names by their local AS number.
        api_version: Of the new objects.

    Raises:
        UserError: an annotation that Cilium would not read either; with file and line.
    """
    for node in nodes:
        found: list[dict[str, Any]] = []
        annotations = (node.object.get("metadata") or {}).get("annotations") or {}
        for key, value in annotations.items():
            if not key.startswith(PREFIX):
                continue
            asn = key.removeprefix(PREFIX)
            if not asn.isdigit() or int(asn) not in instances:
                text = f"the annotation for AS {asn} has no effect: no virtual router of the policies has that number"
                yield about(Weight.NOTE, node, ("metadata", "annotations", key), text)
                continue
            found.append({"name": instances[int(asn)], **_attributes(node, key, str(value))})
        if found:
            yield Document(
                {
                    "apiVersion": api_version,
                    "kind": "CiliumBGPNodeConfigOverride",
                    "metadata": {"name": node.name},
                    "spec": {"bgpInstances": found},
                },
                (f"In place of the annotation {PREFIX}ASN of node {node.name}, which the new API does not read.",),
            )


def _attributes(node: Manifest, key: str, text: str) -> dict[str, Any]:
    path = ("metadata", "annotations", key)
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            if name == "router-id":
                found["routerID"] = str(IPv4Address(value))
            elif name == "local-port":
                found["localPort"] = int(value)
            else:
                raise node.error(f'{key}: there is no attribute "{name}"', *path, hint="router-id and local-port")
        except ValueError as error:
            raise node.error(f"{key}: {error}", *path) from None
    return found
