"""Which kinds and fields of the API group cilium.io a Cilium version serves, and what to write instead.

The API server prunes a field that its CRD does not know, silently, and then a timer or a selector is not what the user
believes. So every manifest is compared with `api.yaml` (made by `harness.cilium.tabulate`) before it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness import yamlfile
from harness.cilium.semver import Version, parse_line
from harness.errors import UserError
from harness.manifests import Manifest
from harness.wording import show_path, suggest
from harness.yamlfile import Step

GROUP = "cilium.io"

_BGP_V2 = "CiliumBGPClusterConfig, CiliumBGPPeerConfig and CiliumBGPAdvertisement"

#: What to use in place of a kind that a version does not serve (facts/cilium.md 1.1); the first that it does serve.
_INSTEAD_OF_KIND: Mapping[str, str] = {
    "CiliumBGPPeeringPolicy": _BGP_V2,
    "CiliumBGPClusterConfig": "CiliumBGPPeeringPolicy",
    "CiliumBGPPeerConfig": "CiliumBGPPeeringPolicy",
    "CiliumBGPAdvertisement": "CiliumBGPPeeringPolicy",
    "CiliumBGPNodeConfigOverride": "the node annotation cilium.io/bgp-virtual-router.<ASN> with CiliumBGPPeeringPolicy",
    "CiliumBGPLoadBalancerIPPool": "CiliumLoadBalancerIPPool",
    "CiliumEgressNATPolicy": "CiliumEgressGatewayPolicy",
}

#: What to use in place of a field (facts/cilium.md 1.1 and 1.3).
_INSTEAD_OF_FIELD: Mapping[tuple[str, str], str] = {
    ("CiliumLoadBalancerIPPool", "spec.cidrs"): "spec.blocks",
    ("CiliumLoadBalancerIPPool", "spec.blocks"): "spec.cidrs",
    ("CiliumBGPClusterConfig", "spec.bgpInstances[].localPort"): "localPort of a CiliumBGPNodeConfigOverride",
}


@dataclass(frozen=True)
class Span:
    """The minors from a first to a last one; `last` is None when the newest known minor is among them."""

    first: tuple[int, int]
    last: tuple[int, int] | None

    def __contains__(self, version: Version) -> bool:
        return self.first <= version.line and (self.last is None or version.line <= self.last)

    def __str__(self) -> str:
        first = "{}.{}".format(*self.first)
        if self.last is None:
            return f"Cilium {first} and later"
        last = "{}.{}".format(*self.last)
        return f"Cilium {first}" if first == last else f"Cilium {first} to {last}"


@dataclass(frozen=True)
class Served:
    """One kind in one apiVersion.

    Attributes:
        span: The minors that serve it.
        fields: The span of each field path, lists written as `spec.blocks[].cidr`; empty when fields are not tabulated.
    """

    span: Span
    fields: Mapping[str, Span] = field(default_factory=dict)


@lru_cache(maxsize=1)
def table() -> Mapping[tuple[str, str], Served]:
    """What is served, by (apiVersion, kind)."""
    content = yamlfile.load_file(Path(__file__).with_name("api.yaml"))[0].value
    return {
        (api_version, kind): Served(
            _span(entry["served"]),
            {path: _span(text) for text, paths in entry.get("fields", {}).items() for path in paths},
        )
        for api_version, kinds in content["kinds"].items()
        for kind, entry in kinds.items()
    }


def _span(text: str) -> Span:
    first, _, last = text.partition("-")
    start = parse_line(first)
    assert start is not None, text
    return Span(start, parse_line(last) if last else None)


def check(manifests: Iterable[Manifest], version: Version) -> None:
    """Refuse manifests that a Cilium version does not serve as they are written.

    Raises:
        UserError: the first kind or field that is not served: the range that serves it, and what replaces it.
    """
    for manifest in manifests:
        for error in complaints(manifest, version):
            raise error


def serves(manifests: Iterable[Manifest], version: Version) -> bool:
    """Whether a Cilium version serves every kind and field of the manifests."""
    return not any(True for manifest in manifests for _ in complaints(manifest, version))


def complaints(manifest: Manifest, version: Version) -> Iterator[UserError]:
    """What of a manifest a Cilium version does not serve; nothing for kinds of other groups."""
    if manifest.group != GROUP:
        return
    served = table().get((manifest.api_version, manifest.kind))
    if served is None:
        yield _unknown_kind(manifest)
        return
    what = f"{manifest.kind} ({manifest.api_version})"
    if version not in served.span:
        message = f"{what} is served by {served.span}, not by {version}"
        yield manifest.error(message, hint=_instead_of_kind(manifest, version))
        return
    for path in _fields_of(manifest, served):
        span = served.fields.get(_generic(path))
        if span is None:
            yield _unknown_field(manifest, path, served)
        elif version not in span:
            message = f"{show_path(path)} of {what} is served by {span}, not by {version}"
            instead = _INSTEAD_OF_FIELD.get((manifest.kind, _generic(path)))
            yield manifest.error(message, *path, hint=f"use {instead}" if instead else None)


def _versions_of(kind: str) -> dict[str, Span]:
    """The apiVersions that a kind has, the newest API first."""
    spans = {api: served.span for (api, name), served in table().items() if name == kind}
    return dict(sorted(spans.items(), key=lambda item: len(item[0])))  # cilium.io/v2 is shorter than cilium.io/v2alpha1


def _unknown_kind(manifest: Manifest) -> UserError:
    message = f"{manifest.kind} ({manifest.api_version}) is served by no Cilium version that lblab knows"
    others = _versions_of(manifest.kind)
    if others:
        return manifest.error(
            message, "apiVersion", hint=" or ".join(f"{api} is: {span}" for api, span in others.items())
        )
    known = {kind for _api, kind in table()}
    hint = suggest(manifest.kind, known, "")
    return manifest.error(message, hint=hint if hint.startswith("did") else None)


def _instead_of_kind(manifest: Manifest, version: Version) -> str | None:
    for api_version, span in _versions_of(manifest.kind).items():
        if version in span:
            return f"use {api_version}"
    instead = _INSTEAD_OF_KIND.get(manifest.kind, "")
    for kind in re.findall(r"Cilium\w+", instead)[:1]:
        for api_version, span in _versions_of(kind).items():
            if version in span:
                return f"use {instead}, {api_version}"
    return None


def _unknown_field(manifest: Manifest, path: tuple[Step, ...], served: Served) -> UserError:
    what = f"{show_path(path)} of {manifest.kind} ({manifest.api_version})"
    for api_version in _versions_of(manifest.kind):
        span = table()[api_version, manifest.kind].fields.get(_generic(path))
        if span is not None:
            return manifest.error(f"{what} is served by no Cilium version", *path, hint=f"{api_version} has it: {span}")
    owner = _generic(path[:-1]) + "."
    siblings = [known.removeprefix(owner) for known in served.fields if known.startswith(owner)]
    siblings = [known for known in siblings if "." not in known and not known.endswith("[]")]
    return manifest.error(f"unknown field {what}", *path, hint=suggest(str(path[-1]), siblings, "known fields"))


def _generic(path: Iterable[Step]) -> str:
    """A path as the table writes it: `spec.blocks[].cidr`."""
    return "".join("[]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _fields_of(manifest: Manifest, served: Served) -> Iterator[tuple[Step, ...]]:
    """The paths below `spec` that the manifest sets, down to where the table ends (a label selector is a leaf)."""
    if not served.fields:
        return
    owners = {known.rpartition(".")[0].removesuffix("[]") for known in served.fields}

    def walk(value: Any, path: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
        if isinstance(value, list):
            for place, item in enumerate(value):
                yield from walk(item, (*path, place))
        elif isinstance(value, dict) and _generic(path).removesuffix("[]") in owners:
            for key, inner in value.items():
                yield (*path, key)
                yield from walk(inner, (*path, key))

    yield from walk(manifest.object.get("spec"), ("spec",))
