"""An OPNsense config.xml, read into the same model that a topology's `osFrr:` is read into.

os-frr keeps its settings under ``//OPNsense/quagga``: one element for each form, rows of a grid as repeated elements
with a ``uuid``, references as uuids separated by commas, booleans as 0 and 1, interfaces by their logical key
(``opt3``), whose device stands in ``//interfaces/opt3/if`` (facts/opnsense.md, section 1).
"""

from __future__ import annotations

import xml.sax.handler
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args
from xml.sax import SAXParseException
from xml.sax.xmlreader import AttributesImpl, Locator

import defusedxml.sax
from defusedxml import DefusedXmlException
from pydantic import BaseModel, ValidationError

from harness.errors import UserError
from harness.routing.opnsense import LINKS, Bfd, Bgp, General, OsFrr, Static

_FORMS: Mapping[str, type[BaseModel]] = {"general": General, "bgp": Bgp, "bfd": Bfd, "static": Static}
#: The element of a row, for each grid.
_ROWS = {
    "neighbors": "neighbor",
    "prefixlists": "prefixlist",
    "aspaths": "aspath",
    "communitylists": "communitylist",
    "routemaps": "routemap",
    "peergroups": "peergroup",
    "redistributions": "redistribution",
    "routes": "route",
}
#: Fields that hold an interface.
_INTERFACES = frozenset({"updatesource", "linklocalinterface", "interfacename"})
#: Fields of older versions that say where logs go, and the volatile list of daemons.
_WITHOUT_EFFECT = frozenset({"daemons", "enablelogfile", "logfilelevel"})


@dataclass(frozen=True)
class Interface:
    """An interface of the router, as `//interfaces` has it.

    Attributes:
        key: Its logical key: `lan`, `opt3`.
        device: Its device: `igb1`, `vlan0130`.
        description: Its name on the screen.
        address: Its IPv4 address with prefix length, None when it is not a fixed one.
    """

    key: str
    device: str
    description: str
    address: str | None


@dataclass(frozen=True)
class Vlan:
    """A VLAN, as `//vlans` has it: its own device, the one that it is a part of, and its tag."""

    device: str
    parent: str
    tag: str


@dataclass(frozen=True)
class Dhcp:
    """A range of addresses that the router's DHCP server (ISC's: `//dhcpd`) gives out, as it is written."""

    interface: str
    first: str
    last: str
    line: int


@dataclass(frozen=True)
class ConfigXml:
    """What lblab takes from a config.xml.

    Attributes:
        os_frr: The settings of os-frr; interfaces are devices.
        interfaces: The router's interfaces by logical key.
        warnings: What was not understood or is not run, one sentence each, with file and line.
        vlans: Its VLANs, in the file's order.
        lines: The line of each interface, by logical key.
        dhcp: Ranges of its DHCP server.
    """

    os_frr: OsFrr
    interfaces: Mapping[str, Interface]
    warnings: tuple[str, ...]
    vlans: tuple[Vlan, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)
    dhcp: tuple[Dhcp, ...] = ()


@dataclass
class _Element:
    tag: str
    line: int
    uuid: str
    text: str = ""
    children: list[_Element] = field(default_factory=list)

    def child(self, *path: str) -> _Element | None:
        element: _Element | None = self
        for tag in path:
            element = None if element is None else next((c for c in element.children if c.tag == tag), None)
        return element

    def value(self, tag: str) -> str:
        found = self.child(tag)
        return "" if found is None else found.text


def load(path: Path | str, *, without_os_frr: bool = False) -> ConfigXml:
    """Read a config.xml.

    Args:
        path: A configuration as System > Configuration > Backups downloads it, not encrypted.
        without_os_frr: Take one without os-frr's settings, too: a router that speaks no BGP.

    Raises:
        UserError: when it cannot be read, is no OPNsense configuration, has no os-frr settings, or a value is out of
            its form's range; with file and line.
    """
    path = Path(path)
    root = _parse(path)
    if root.tag != "opnsense":
        raise UserError(f"this is <{root.tag}>, not an OPNsense configuration (<opnsense>)", file=path, line=root.line)
    quagga = root.child("OPNsense", "quagga")
    if quagga is None and without_os_frr:
        return _Reader(path, root).read(_Element("quagga", root.line, ""))
    if quagga is None:
        raise UserError(
            "this configuration has no os-frr settings (//OPNsense/quagga)",
            file=path,
            hint="install os-frr and set up Routing > BGP, or describe the router under osFrr: in the topology",
        )
    return _Reader(path, root).read(quagga)


class _Reader:
    """Turns elements into the dictionaries that the models are validated from, and remembers where each came from."""

    def __init__(self, path: Path, root: _Element) -> None:
        self.path = path
        self.interfaces = _interfaces(root)
        self.root = root
        self.warnings: list[str] = []
        self.lines: dict[tuple[str | int, ...], int] = {}

    def read(self, quagga: _Element) -> ConfigXml:
        forms: dict[str, dict[str, Any]] = {"general": {}}
        for element in quagga.children:
            if element.tag in _FORMS:
                forms[element.tag] = self.form(element)
            elif element.value("enabled") == "1":
                self.warn(element, f"{element.tag} is enabled, which lblab does not run")
        # Without the element os-frr does not run, whereas in a topology `osFrr:` itself says that it does.
        forms["general"].setdefault("enabled", "0")
        if forms["general"].get("manual_config") == "1":
            self.warn(quagga, "manual_config is on: the router runs an FRR file of its own instead of these settings")
        self.drop_dead_links(forms.get("bgp", {}))
        try:
            os_frr = OsFrr.model_validate(forms)
        except ValidationError as error:
            raise self.wrong_value(error) from error
        keys = self.root.child("interfaces")
        lines = {element.tag: element.line for element in ([] if keys is None else keys.children)}
        return ConfigXml(os_frr, self.interfaces, tuple(self.warnings), _vlans(self.root), lines, _dhcp(self.root))

    def form(self, form: _Element) -> dict[str, Any]:
        data: dict[str, Any] = {}
        self.lines[form.tag,] = form.line
        model = _FORMS[form.tag]
        for element in form.children:
            where = (form.tag, element.tag)
            if element.tag == "redistribute" and form.tag == "bgp":
                # Up to os-frr 1.43 a list of protocols; 1.44 made rows of it (its migration M1_1_0).
                old = [part.strip() for part in element.text.split(",") if part.strip()]
                data.setdefault("redistributions", []).extend({"redistribute": name} for name in old)
            elif element.tag in _ROWS and element.tag in model.model_fields:
                rows = data.setdefault(element.tag, [])
                for row in element.children:
                    if row.tag == _ROWS[element.tag]:
                        rows.append(self.row(row, (*where, len(rows)), _fields(model, element.tag)))
                    else:
                        self.warn(row, f"{form.tag}/{element.tag}/{row.tag} is not understood")
            else:
                self.leaf(element, where, set(model.model_fields), data)
        return data

    def row(self, row: _Element, where: tuple[str | int, ...], known: set[str]) -> dict[str, Any]:
        data: dict[str, Any] = {"uuid": row.uuid}
        self.lines[where] = row.line
        for element in row.children:
            self.leaf(element, (*where, element.tag), known, data)
        return data

    def leaf(self, element: _Element, where: tuple[str | int, ...], known: set[str], data: dict[str, Any]) -> None:
        if not element.text or element.tag in _WITHOUT_EFFECT:
            return
        if element.tag not in known or element.children:
            names = "/".join(part for part in where if isinstance(part, str))
            self.warn(element, f"{names} = {element.text!r} is not understood")
            return
        self.lines[where] = element.line
        data[element.tag] = element.text
        if element.tag in _INTERFACES and element.text in self.interfaces:
            data[element.tag] = self.interfaces[element.text].device

    def drop_dead_links(self, bgp: dict[str, Any]) -> None:
        """Leave out references to rows that are gone, as os-frr does."""
        for grid in ("neighbors", "peergroups", "routemaps", "redistributions"):
            for number, row in enumerate(bgp.get(grid, [])):
                for name in LINKS.keys() & row.keys():
                    rows = {target["uuid"] for target in bgp.get(LINKS[name], [])}
                    wanted = row[name].split(",")
                    for uuid in [uuid for uuid in wanted if uuid not in rows]:
                        line = self.lines["bgp", grid, number, name]
                        self.warnings.append(
                            f"{self.path}:{line}: {grid} {name} refers to {uuid}, which is none of its {LINKS[name]}"
                        )
                    row[name] = ",".join(uuid for uuid in wanted if uuid in rows)

    def wrong_value(self, error: ValidationError) -> UserError:
        first = error.errors()[0]
        where = first["loc"]
        name = "/".join(str(part) for part in where if isinstance(part, str))
        given = f" is {first['input']!r}" if isinstance(first["input"], str) else ""
        what = first["msg"].removeprefix("Value error, ")
        return UserError(f"os-frr's {name}{given}: {what}", file=self.path, line=self.line_of(where))

    def line_of(self, where: tuple[str | int, ...]) -> int | None:
        """Give the line of the nearest element that is known: a value missing from a row has none of its own."""
        return next((self.lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in self.lines), None)

    def warn(self, element: _Element, what: str) -> None:
        self.warnings.append(f"{self.path}:{element.line}: {what}")


def _fields(model: type[BaseModel], grid: str) -> set[str]:
    """Give the names, as in config.xml, of the fields of a grid's rows."""
    row: type[BaseModel] = get_args(model.model_fields[grid].annotation)[0]
    return {info.alias or name for name, info in row.model_fields.items()}


def _interfaces(root: _Element) -> dict[str, Interface]:
    found = root.child("interfaces")
    result = {}
    for element in [] if found is None else found.children:
        device = element.value("if")
        if device:
            address, length = element.value("ipaddr"), element.value("subnet")
            fixed = f"{address}/{length}" if address[:1].isdigit() and length else None
            result[element.tag] = Interface(element.tag, device, element.value("descr"), fixed)
    return result


def _vlans(root: _Element) -> tuple[Vlan, ...]:
    found = root.child("vlans")
    return tuple(
        Vlan(element.value("vlanif"), element.value("if"), element.value("tag"))
        for element in ([] if found is None else found.children)
        if element.tag == "vlan" and element.value("vlanif")
    )


def _dhcp(root: _Element) -> tuple[Dhcp, ...]:
    found = root.child("dhcpd")
    return tuple(
        Dhcp(interface.tag, each.value("from"), each.value("to"), each.line)
        for interface in ([] if found is None else found.children)
        if interface.value("enable")
        for each in interface.children
        if each.tag == "range" and each.value("from")
    )


def _parse(path: Path) -> _Element:
    handler = _Handler()
    try:
        with path.open("rb") as file:
            defusedxml.sax.parse(file, handler, forbid_dtd=True)
    except OSError as error:
        raise UserError(f"cannot read this configuration: {error.strerror}", file=path) from error
    except SAXParseException as error:
        raise UserError(
            f"this is not well-formed XML: {error.getMessage()}",
            file=path,
            line=error.getLineNumber(),
            hint="an encrypted backup has to be downloaded again without encryption",
        ) from error
    except DefusedXmlException as error:
        raise UserError("a configuration has no DTD or entities, this file has", file=path) from error
    return handler.document.children[0]


class _Handler(xml.sax.handler.ContentHandler):
    """Builds elements that know their line."""

    def __init__(self) -> None:
        super().__init__()
        self.document = _Element("", 0, "")
        self._open = [self.document]
        self._locator: Locator

    def setDocumentLocator(self, locator: Locator) -> None:
        self._locator = locator

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        element = _Element(name, self._locator.getLineNumber() or 0, attrs.get("uuid", ""))
        self._open[-1].children.append(element)
        self._open.append(element)

    def characters(self, content: str) -> None:
        self._open[-1].text += content

    def endElement(self, name: str) -> None:
        element = self._open.pop()
        element.text = element.text.strip()
