"""A CiliumBGPPeeringPolicy as it was written, with the ranges of its CRD (facts/cilium.md 1.2)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_interface
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.cilium.peering import AddressType
from harness.manifests import Manifest
from harness.wording import show_path
from harness.yamlfile import Step

KIND = "CiliumBGPPeeringPolicy"

LabelSelector = dict[str, Any]
SelectorType = Literal["PodCIDR", "CiliumLoadBalancerIPPool", "CiliumPodIPPool"]

_ASN = 4294967295
#: Defaults that the CRD fills in, seconds: what is not given is not written into the new objects either, as theirs are
#: the same (facts/cilium.md 1.2 and 1.3).
_HOLD, _KEEPALIVE = 90, 30


class _Part(BaseModel):
    # what the CRD does not know is pruned by the API server: it is named (harness.cilium.api) and has no effect
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, populate_by_name=True)


class GracefulRestart(_Part):
    """RFC 4724, as the node offers it."""

    enabled: bool
    restart_time: int | None = Field(None, alias="restartTimeSeconds", ge=1, le=4095)


class Family(_Part):
    """An address family that is negotiated."""

    afi: str
    safi: str


class Communities(_Part):
    """BGP communities by kind."""

    standard: list[str] = Field(default_factory=list)
    well_known: list[str] = Field(default_factory=list, alias="wellKnown")
    large: list[str] = Field(default_factory=list)


class PathAttributes(_Part):
    """What announced routes of one kind carry."""

    selector_type: SelectorType = Field(alias="selectorType")
    selector: LabelSelector | None = None
    communities: Communities | None = None
    local_preference: int | None = Field(None, alias="localPreference", ge=0, le=_ASN)


class Neighbor(_Part):
    """A router."""

    peer_address: str = Field(alias="peerAddress")
    peer_asn: int = Field(alias="peerASN", ge=0, le=_ASN)
    peer_port: int | None = Field(None, alias="peerPort", ge=1, le=65535)
    auth_secret: str | None = Field(None, alias="authSecretRef")
    multihop_ttl: int | None = Field(None, alias="eBGPMultihopTTL", ge=1, le=255)
    connect_retry: int | None = Field(None, alias="connectRetryTimeSeconds", ge=1, le=2147483647)
    hold: int | None = Field(None, alias="holdTimeSeconds", ge=3, le=65535)
    keepalive: int | None = Field(None, alias="keepAliveTimeSeconds", ge=1, le=65535)
    graceful_restart: GracefulRestart | None = Field(None, alias="gracefulRestart")
    families: list[Family] = Field(default_factory=list)
    attributes: list[PathAttributes] = Field(default_factory=list, alias="advertisedPathAttributes")

    @field_validator("peer_address")
    @classmethod
    def _cidr(cls, text: str) -> str:
        if "/" not in text:
            raise ValueError('is a CIDR in this kind, as "10.0.0.1/32"')
        ip_interface(text)  # its ValueError says what is wrong
        return text

    @model_validator(mode="after")
    def _timers(self) -> Neighbor:
        hold, keepalive = self.hold or _HOLD, self.keepalive or _KEEPALIVE
        if keepalive > hold:
            default = "" if self.keepalive else ", the default,"
            raise ValueError(f"keepAliveTimeSeconds {keepalive}{default} is longer than holdTimeSeconds {hold}")
        return self

    @property
    def address(self) -> IPv4Address | IPv6Address:
        """Its address, without the prefix length."""
        return ip_interface(self.peer_address).ip

    @property
    def prefix_length(self) -> int:
        """The length that stands behind the address."""
        return int(ip_interface(self.peer_address).network.prefixlen)


class VirtualRouter(_Part):
    """One BGP speaker in each selected node."""

    local_asn: int = Field(alias="localASN", ge=0, le=_ASN)
    pod_cidr: bool = Field(False, alias="exportPodCIDR")
    pod_pools: LabelSelector | None = Field(None, alias="podIPPoolSelector")
    services: LabelSelector | None = Field(None, alias="serviceSelector")
    addresses: list[AddressType] = Field(["LoadBalancerIP"], alias="serviceAdvertisements", min_length=1)
    neighbors: list[Neighbor] = Field(min_length=1)


class Policy(_Part):
    """The whole spec."""

    nodes: LabelSelector | None = Field(None, alias="nodeSelector")
    routers: list[VirtualRouter] = Field(alias="virtualRouters", min_length=1)


def read(manifest: Manifest) -> Policy:
    """Read a policy.

    Raises:
        UserError: the API server would not take it, or Cilium would not act on it; with file and line.
    """
    try:
        return Policy.model_validate(manifest.object.get("spec") or {})
    except ValidationError as error:
        first = error.errors()[0]
        path: tuple[Step, ...] = ("spec", *first["loc"])
        text = first["msg"].removeprefix("Value error, ")
        what = "is missing" if first["type"] == "missing" else text[:1].lower() + text[1:]
        raise manifest.error(f"{show_path(path)}: {what}", *path) from None


def name_of(manifest: Manifest) -> str:
    """The policy's name.

    Raises:
        UserError: it has none, so that nothing could be named after it.
    """
    metadata = manifest.object.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise manifest.error("the policy has no metadata.name", "metadata", hint="its new objects are named after it")
    return name
