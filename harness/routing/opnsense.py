"""An OPNsense router's os-frr settings, and the FRR configuration that os-frr makes of them.

The models carry the names of os-frr's form fields (the elements under ``//OPNsense/quagga`` in config.xml), so that a
topology reads like the forms on the router's screen and a user's own config.xml fits the same model. What each field
becomes, and in which order, was taken down from os-frr 1.38 to 1.54 (facts/opnsense.md, sections 1 to 3).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from harness.errors import UserError

#: `bgp enforce-first-as` is on by default, and can be turned off for an instance, from FRR 10.0; before it was off.
ENFORCE_FIRST_AS_SINCE = (10, 0)
#: `neighbor X bfd strict` came with FRR 10.4.
BFD_STRICT_SINCE = (10, 4)
#: `ip route P GATEWAY bfd` came with FRR 9.0; FRR 8.4 takes `bfd` for the name of an interface (tried).
STATIC_BFD_SINCE = (9, 0)


def _split(value: object) -> object:
    """Take a list as config.xml writes it: separated by commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) else value


def _address(value: str) -> str:
    ipaddress.ip_address(value)
    return value


def _address_if_any(value: str) -> str:
    return _address(value) if value else value


def _network(value: str) -> str:
    ipaddress.ip_network(value, strict=False)
    return value


Address = Annotated[str, AfterValidator(_address)]
AddressIfAny = Annotated[str, AfterValidator(_address_if_any)]
Network = Annotated[str, AfterValidator(_network)]
Csv = Annotated[tuple[str, ...], BeforeValidator(_split)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_split)]
AsNumber = Annotated[int, Field(ge=1, le=4294967295)]
Action = Literal["permit", "deny"]
RemoteAsMode = Literal["", "internal", "external"]
Family = Literal["ipv4", "ipv6"]
_Families = Annotated[tuple[Family, ...], BeforeValidator(_split)]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, populate_by_name=True)

    @field_validator("*")
    @classmethod
    def _one_line(cls, value: object) -> object:
        """Keep a value from becoming two lines of configuration."""
        if isinstance(value, str) and not value.isprintable():
            raise ValueError("must be one line of printable text")
        return value


class _Item(_Form):
    """One row of a grid: can be switched off and is referred to by its uuid in config.xml."""

    enabled: bool = True
    description: str = ""
    uuid: str = ""


class General(_Form):
    """Routing > General; FRR runs only when `enabled`, which a topology need not say (config.xml always does)."""

    enabled: bool = True
    manual_config: bool = False
    profile: Literal["traditional", "datacenter"] = "traditional"
    enablecarp: bool = False
    enablesyslog: bool = True
    enablesnmp: bool = False
    sysloglevel: str = "notifications"
    fwrules: bool = True


class Neighbor(_Item):
    """One BGP neighbor; `updatesource` and `linklocalinterface` name a lab network or a device."""

    address: Address
    remote_as_mode: RemoteAsMode = ""
    remoteas: AsNumber | None = None
    localas: AsNumber | None = None
    localasoptions: str = ""
    password: str = ""
    weight: Annotated[int, Field(ge=0, le=65535)] | None = None
    localip: str = ""
    updatesource: str = ""
    linklocalinterface: str = ""
    nexthopself: bool = False
    nexthopselfall: bool = False
    multihop: bool = False
    multiprotocol: bool = False
    rrclient: bool = False
    soft_reconfiguration_inbound: bool = False
    bfd: bool = False
    bfd_strict: bool = False
    keepalive: Annotated[int, Field(ge=1, le=1000)] | None = None
    holddown: Annotated[int, Field(ge=3, le=3000)] | None = None
    connecttimer: Annotated[int, Field(ge=1, le=65000)] | None = None
    defaultoriginate: bool = False
    asoverride: bool = False
    removeprivateas: str = ""
    allowas_in: str = ""
    disable_connected_check: bool = False
    attributeunchanged: str = ""
    capabilities: Csv = ()
    linkedPrefixlistIn: Csv = ()
    linkedPrefixlistOut: Csv = ()
    linkedRoutemapIn: Csv = ()
    linkedRoutemapOut: Csv = ()
    peergroup: str = ""


class PeerGroup(_Item):
    """Neighbors with settings in common, and address ranges whose speakers may connect."""

    name: str
    remote_as_mode: RemoteAsMode = ""
    remoteas: AsNumber | None = None
    family: _Families = ("ipv4",)
    listenranges: Networks = ()
    updatesource: str = ""
    nexthopself: bool = False
    defaultoriginate: bool = False
    linkedPrefixlistIn: Csv = ()
    linkedPrefixlistOut: Csv = ()
    linkedRoutemapIn: Csv = ()
    linkedRoutemapOut: Csv = ()


class PrefixList(_Item):
    """One line of a prefix list; `network` is free text: `192.168.142.0/24 ge 32`."""

    name: str
    version: Literal["IPv4", "IPv6"] = "IPv4"
    seqnumber: Annotated[int, Field(ge=1, le=4294967294)]
    action: Action
    network: str


class AsPath(_Item):
    """One line of an AS path access list; `as` is a regular expression."""

    number: int
    action: Action
    as_: str = Field(alias="as")


class CommunityList(_Item):
    """One line of a community list."""

    number: Annotated[int, Field(ge=1, le=500)]
    seqnumber: int
    action: Action
    community: str


class RouteMap(_Item):
    """One entry of a route map: `match` as-path, `match2` prefix, `match3` community lists, by name, number or uuid."""

    name: str
    action: Action
    id: int
    match: Csv = ()
    match2: Csv = ()
    match3: Csv = ()
    set: str = ""


class Redistribution(_Item):
    """Routes of another protocol given to BGP."""

    redistribute: str
    linkedRoutemap: str = ""


class Bgp(_Form):
    """Routing > BGP. AS 65551 is the form's own default, one of those reserved for documentation (RFC 5398)."""

    enabled: bool = False
    asnumber: AsNumber = 65551
    distance: Annotated[int, Field(ge=1, le=255)] | None = None
    routerid: AddressIfAny = ""
    graceful: bool = False
    networkimportcheck: bool = True
    enforce_first_as: bool = True
    logneighborchanges: bool = False
    networks: Networks = ()
    bestpath: Csv = ()
    maximumpaths: int | None = None
    maximumpathsibgp: int | None = None
    neighbors: tuple[Neighbor, ...] = ()
    prefixlists: tuple[PrefixList, ...] = ()
    aspaths: tuple[AsPath, ...] = ()
    communitylists: tuple[CommunityList, ...] = ()
    routemaps: tuple[RouteMap, ...] = ()
    peergroups: tuple[PeerGroup, ...] = ()
    redistributions: tuple[Redistribution, ...] = ()

    @model_validator(mode="after")
    def _links_lead_somewhere(self) -> Bgp:
        for owner, field, refs in links(self):
            for ref in refs:
                if not find(ref, getattr(self, LINKS[field])):
                    raise ValueError(f"{owner}: {field} names '{ref}', which is none of its {LINKS[field]}")
        return self


class BfdNeighbor(_Item):
    """One BFD session; intervals in milliseconds."""

    address: Address
    multihop: bool = False
    localaddress: AddressIfAny = ""
    interfacename: str = ""
    detect_multiplier: Annotated[int, Field(ge=2, le=255)] = 3
    receive_interval: Annotated[int, Field(ge=10, le=60000)] = 300
    transmit_interval: Annotated[int, Field(ge=10, le=60000)] = 300


class Bfd(_Form):
    """Routing > BFD."""

    enabled: bool = False
    neighbors: tuple[BfdNeighbor, ...] = ()


class StaticRoute(_Item):
    """One static route, by gateway, interface or both."""

    network: Network
    gateway: AddressIfAny = ""
    interfacename: str = ""
    bfd: bool = False


class Static(_Form):
    """Routing > STATIC."""

    enabled: bool = False
    routes: tuple[StaticRoute, ...] = ()


#: Which grid each reference of the BGP forms points into.
LINKS: Mapping[str, str] = {
    "linkedPrefixlistIn": "prefixlists",
    "linkedPrefixlistOut": "prefixlists",
    "linkedRoutemapIn": "routemaps",
    "linkedRoutemapOut": "routemaps",
    "linkedRoutemap": "routemaps",
    "match": "aspaths",
    "match2": "prefixlists",
    "match3": "communitylists",
    "peergroup": "peergroups",
}

_Row = TypeVar("_Row", bound=_Item)


def find(ref: str, rows: Sequence[_Row]) -> list[_Row]:
    """Give the rows that a reference means: the one with that uuid, or all with that name or number."""
    by_uuid = [row for row in rows if row.uuid and row.uuid == ref]
    return by_uuid or [row for row in rows if str(getattr(row, "name", getattr(row, "number", None))) == ref]


def links(bgp: Bgp) -> list[tuple[str, str, tuple[str, ...]]]:
    """List every reference between the BGP forms as (whose, field, references)."""
    found = []
    for grid in ("neighbors", "peergroups", "routemaps", "redistributions"):
        for row in getattr(bgp, grid):
            who = getattr(row, "address", None) or getattr(row, "name", None) or row.redistribute
            for field in LINKS.keys() & type(row).model_fields.keys():
                value = getattr(row, field)
                found.append((f"{grid} {who}", field, (value,) if isinstance(value, str) and value else tuple(value)))
    return found


class OsFrr(_Form):
    """All of os-frr that lblab renders; OSPF and RIP are not part of it."""

    general: General = General()
    bgp: Bgp = Bgp()
    bfd: Bfd = Bfd()
    static: Static = Static()


def render(os_frr: OsFrr, devices: Mapping[str, str], frr_version: tuple[int, ...]) -> str:
    """Write the FRR configuration that os-frr would write, as one integrated file.

    Lines that the given FRR does not know are left out where that FRR behaves so anyway or has no such feature. os-frr
    writes `bgp router-id` only when its field is set, and so does this; FRR then takes an address that zebra tells it,
    and sends 0.0.0.0 until then: zebra must run first.

    Args:
        os_frr: The router's settings.
        devices: Names under which a form may speak of an interface (lab network, or config.xml's logical key such as
            `opt3`), each with the device's name on the router.
        frr_version: The installed FRR, as `daemons.frr_version()` gives it.

    Returns:
        The configuration, ending with a newline; os-frr's trailing blanks, which FRR does not read, are not kept.

    Raises:
        UserError: when a form names an interface that the router does not have.
    """
    known = set(devices.values())

    def device(name: str) -> str:
        if name in devices:
            return devices[name]
        if name in known:
            return name
        have = ", ".join(sorted({*devices, *known})) or "none"
        raise UserError(f"os-frr names the interface '{name}', which this router does not have", hint=f"it has {have}")

    def names(refs: tuple[str, ...], rows: Sequence[Any], attribute: str = "name") -> list[Any]:
        """Names that references resolve to, each once, in order, of rows that are not switched off."""
        return list(dict.fromkeys(getattr(row, attribute) for ref in refs for row in find(ref, rows) if row.enabled))

    return (
        _environment()
        .get_template("os_frr.conf.j2")
        .render(
            general=os_frr.general,
            bgp=os_frr.bgp,
            bfd=os_frr.bfd,
            static=os_frr.static,
            device=device,
            names=names,
            of_family=_of_family,
            enforce_first_as_known=frr_version >= ENFORCE_FIRST_AS_SINCE,
            bfd_strict_known=frr_version >= BFD_STRICT_SINCE,
            static_bfd_known=frr_version >= STATIC_BFD_SINCE,
        )
    )


def _of_family(address: str, family: str) -> bool:
    return (":" in address) == (family == "ipv6")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("harness.routing"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
