"""Draws a topology, or a running lab with its BGP sessions and services, as SVG or Mermaid; no graphviz is needed.

The SVG shows each network as a horizontal bar. Routers stand in columns of their own on the left and reach from their
first network to their last; clients sit above their bar, nodes and the API server below it. So no two boxes overlap,
whatever the topology.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from harness.bgp import ESTABLISHED
from harness.report.status import backends
from harness.status import SessionStatus, Status
from harness.topology import Link, Topology

_BOX_WIDTH, _BOX_HEIGHT = 132, 62
_GAP = 22
#: From a bar to the boxes of its hosts; a host's address is written beside this line.
_DROP = 40
_MARGIN = 28
_LINE, _SMALL_LINE = 17, 13
#: Width of a character of the text below the drawing, on average, in pixels at 12 px.
_CHARACTER = 6.8
_CONTROL_PLANE = "API server"
_COLOURS = {"router": "#fde7c8", "node": "#d9e8fb", "client": "#dcf3dc", "api": "#ececf4"}
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#222}.name{font-weight:600}.small{font-size:10.5px;fill:#555}"
    ".bar{stroke:#444;stroke-width:4;stroke-linecap:round}.link{stroke:#888;stroke-width:1.5}"
    ".box{stroke:#555;stroke-width:1}.up{stroke:#1a7f37;stroke-width:1.8;fill:none}"
    ".down{stroke:#cf222e;stroke-width:1.8;fill:none;stroke-dasharray:5 4}"
)


@dataclass(frozen=True)
class _Box:
    """A host as it is drawn: the centre of its box."""

    name: str
    kind: str
    x: float
    y: float
    lines: tuple[str, ...] = ()


@dataclass
class _Drawing:
    """The places of everything: bars by network, boxes by host, and what is drawn between them."""

    bars: dict[str, float] = field(default_factory=dict)
    boxes: dict[str, _Box] = field(default_factory=dict)
    #: (x, y of the bar, y of the box's edge, the lines written beside it)
    drops: list[tuple[float, float, float, list[str]]] = field(default_factory=list)
    left: float = _MARGIN
    right: float = 0
    bottom: float = 0


def svg(topology: Topology, status: Status | None = None) -> str:
    """Draw as SVG.

    Args:
        topology: What to draw.
        status: The running lab's state, for its BGP sessions and services.
    """
    drawing = _lay_out(topology)
    body = [*_bars(drawing, topology), *_drops(drawing), *_boxes(drawing)]
    if status is not None:
        body += _session_curves(drawing, status.sessions)
    width = drawing.right + 2 * _MARGIN
    about = f"{topology.name}: {topology.description}".rstrip(": \n")
    texts = [line for text in (about, *(_facts(status) if status else ())) for line in _wrapped(text, width)]
    y = drawing.bottom + _MARGIN
    for text in texts:
        body.append(_text(_MARGIN, y, text, anchor="start"))
        y += _LINE
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {y:.0f}" width="{width:.0f}" role="img">'
    title = f"<title>{escape(topology.name)}</title><style>{_STYLE}</style>"
    return "\n".join([head, title, '<rect width="100%" height="100%" fill="white"/>', *body, "</svg>"]) + "\n"


def mermaid(topology: Topology, status: Status | None = None) -> str:
    """Draw as a Mermaid flowchart."""
    lines = ["flowchart TB"]
    for name, network in topology.networks.items():
        lines.append(f'  {_id("net", name)}{{{{"{name}<br/>{_quote(_joined(network.subnet))}"}}}}')
    lines.append(f'  {_id("host", _CONTROL_PLANE)}["{_CONTROL_PLANE}"]')
    for kind, names in _hosts(topology).items():
        shape = ("([", "])") if kind == "client" else ("[", "]")
        lines += [f'  {_id("host", name)}{shape[0]}"{_quote(name)}"{shape[1]}' for name in names]
    order = _top_down(topology)
    for name, link in _links(topology):
        ends = (_id("net", link.network), _id("host", name))
        if name in topology.routers:  # it hangs from its uppermost network, the others hang from it
            below = link.network == min(topology.routers[name].interfaces, key=order.index)
        else:
            below = name not in topology.clients
        first, second = ends if below else ends[::-1]
        lines.append(f'  {first} ---|"{_joined(_addresses(link))}"| {second}')
    for session in status.sessions if status else ():
        if session.node is not None:
            label = f"BGP {session.state}"
            lines.append(f'  {_id("host", session.router)} -.-|"{label}"| {_id("host", session.node)}')
    lines += [f"  %% {fact}" for fact in (_facts(status) if status else ())]
    return "\n".join(lines) + "\n"


# -- layout --------------------------------------------------------------------------------------------------------


def _lay_out(topology: Topology) -> _Drawing:
    drawing = _Drawing()
    above = {network: [n for n, c in topology.clients.items() if c.network == network] for network in topology.networks}
    below = {network: [n for n, c in topology.nodes.items() if c.network == network] for network in topology.networks}
    below.setdefault(topology.control_plane.network, []).append(_CONTROL_PLANE)
    links: dict[str, list[Link]] = {}
    for name, link in _links(topology):
        links.setdefault(name, []).append(link)

    hosts_left = _MARGIN + len(topology.routers) * (_BOX_WIDTH + _GAP) + _GAP
    y = float(_MARGIN)
    drawing.right = hosts_left + _BOX_WIDTH
    for network in _top_down(topology):
        y += (_BOX_HEIGHT + _DROP) if above[network] else 2 * _LINE
        drawing.bars[network] = y
        for names, side in ((above[network], -1), (below[network], 1)):
            for place, name in enumerate(names):
                x = hosts_left + place * (_BOX_WIDTH + _GAP) + _BOX_WIDTH / 2
                kind = "client" if side < 0 else "api" if name == _CONTROL_PLANE else "node"
                drawing.boxes[name] = _Box(name, kind, x, y + side * (_DROP + _BOX_HEIGHT / 2), _labels(topology, name))
                drawing.drops.append((x, y, y + side * _DROP, _addresses(links[name][0])))
                drawing.right = max(drawing.right, x + _BOX_WIDTH / 2)
        y += (_BOX_HEIGHT + _DROP) if below[network] else 0
        drawing.bottom = y + (_DROP if topology.routers else 0)  # where session curves go deepest
        y += _BOX_HEIGHT + _DROP  # room for a router's box between two bars
    for place, (name, router) in enumerate(topology.routers.items()):
        x = _MARGIN + place * (_BOX_WIDTH + _GAP) + _BOX_WIDTH / 2
        ends = sorted(drawing.bars[network] for network in router.interfaces)
        first = ends[0]
        after = min((bar for bar in ends if bar > first), default=first + 2 * _DROP + _BOX_HEIGHT)
        drawing.boxes[name] = _Box(name, "router", x, (first + after) / 2, ())
        for link in links[name]:
            bar = drawing.bars[link.network]
            first_address, *others = _addresses(link)
            edge = (first + after) / 2 + (-1 if bar <= first else 1) * _BOX_HEIGHT / 2
            drawing.drops.append((x, bar, edge, [f"{link.device} {first_address}", *others]))
    return drawing


def _top_down(topology: Topology) -> list[str]:
    """Order the networks: clients' first, those between routers next, nodes' last."""

    def rank(network: str) -> int:
        nodes = {node.network for node in topology.nodes.values()} | {topology.control_plane.network}
        clients = {client.network for client in topology.clients.values()}
        return 2 * (network in nodes) - (network in clients)

    return sorted(topology.networks, key=rank)


def _links(topology: Topology) -> Iterator[tuple[str, Link]]:
    for names in _hosts(topology).values():
        for name in names:
            for link in topology.links(name):
                yield name, link
    plane = topology.control_plane
    addresses = tuple(topology.with_prefix(plane.network, address) for address in plane.address)
    yield _CONTROL_PLANE, Link(plane.network, "", addresses)


def _hosts(topology: Topology) -> dict[str, list[str]]:
    return {"client": [*topology.clients], "router": [*topology.routers], "node": [*topology.nodes]}


def _labels(topology: Topology, name: str) -> tuple[str, ...]:
    if name not in topology.nodes:
        return ()
    return tuple(f"{key}={value}" for key, value in topology.nodes[name].labels.items())


def _addresses(link: Link) -> list[str]:
    return [str(address.ip) for address in link.addresses]


def _joined(parts: Iterable[object]) -> str:
    return ", ".join(map(str, parts))


# -- ink --------------------------------------------------------------------------------------------------------


def _bars(drawing: _Drawing, topology: Topology) -> Iterator[str]:
    for network, y in drawing.bars.items():
        yield f'<line class="bar" x1="{drawing.left}" y1="{y}" x2="{drawing.right}" y2="{y}"/>'
        text = f"{network} {_joined(topology.networks[network].subnet)}"
        yield _text(drawing.right, y - 7, text, anchor="end", style="small")


def _drops(drawing: _Drawing) -> Iterator[str]:
    for x, bar, edge, lines in drawing.drops:
        yield f'<line class="link" x1="{x}" y1="{bar}" x2="{x}" y2="{edge}"/>'
        first = bar + 16 if edge > bar else bar - 9 - _SMALL_LINE * (len(lines) - 1)
        for place, line in enumerate(lines):
            yield _text(x + 5, first + place * _SMALL_LINE, line, anchor="start", style="small")


def _boxes(drawing: _Drawing) -> Iterator[str]:
    for box in drawing.boxes.values():
        left, top = box.x - _BOX_WIDTH / 2, box.y - _BOX_HEIGHT / 2
        size = f'width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6"'
        yield f'<rect class="box" x="{left}" y="{top}" {size} fill="{_COLOURS[box.kind]}"/>'
        shown = box.lines[:2]
        y = box.y + 4 - _LINE * len(shown) / 2
        yield _text(box.x, y, box.name, style="name")
        for line in shown:
            y += _LINE
            yield _text(box.x, y, line if len(line) <= 24 else line[:23] + "…", style="small")


def _session_curves(drawing: _Drawing, sessions: Iterable[SessionStatus]) -> Iterator[str]:
    for session in sessions:
        if session.node not in drawing.boxes or session.router not in drawing.boxes:
            continue
        router, node = drawing.boxes[session.router], drawing.boxes[session.node]
        start, end = (router.x, router.y + _BOX_HEIGHT / 2), (node.x, node.y + _BOX_HEIGHT / 2)
        deep = max(start[1], end[1]) + 1.4 * _DROP
        style = "up" if session.state == ESTABLISHED else "down"
        points = f"M{start[0]} {start[1]} C{start[0]} {deep},{end[0]} {deep},{end[0]} {end[1]}"
        yield f'<path class="{style}" d="{points}"><title>{escape(_said(session))}</title></path>'


def _facts(status: Status) -> Iterator[str]:
    for session in status.sessions:
        yield _said(session)
    for service in status.services:
        addresses = ", ".join(service.addresses) or "no address"
        yield f"Service {service.name}: {addresses}; ready backends: {backends(service.ready_backends) or 'none'}"
    yield f"Cilium {status.cilium_version} on {status.backend}; stand-ins: {'; '.join(status.stand_ins) or 'none'}"


def _said(session: SessionStatus) -> str:
    return f"BGP {session.router} with {session.node or session.peer}: {session.state}"


def _wrapped(text: str, width: float) -> list[str]:
    return textwrap.wrap(text, int((width - 2 * _MARGIN) / _CHARACTER))


def _text(x: float, y: float, text: str, *, anchor: str = "middle", style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _id(kind: str, name: str) -> str:
    """Make a Mermaid identifier; the kind keeps words that Mermaid reserves, such as `end`, apart."""
    return f"{kind}_{re.sub(r'[^A-Za-z0-9]', '_', name)}"


def _quote(text: str) -> str:
    return text.replace('"', "#quot;")
