"""The colours of a timeline's picture, as style sheets: the picture's own, and the dark one of a page that holds it."""

from __future__ import annotations

from collections.abc import Mapping

#: Lanes by the class that their markers and names have: the colour on white, and on a dark page.
LANES: Mapping[str, tuple[str, str, str]] = {
    "fault": ("fault", "#b42318", "#f97066"),
    "traffic": ("traffic", "#c11574", "#f670c7"),
    "process": ("process", "#93370d", "#fdb022"),
    "link": ("link", "#0e7090", "#22ccee"),
    "BGP": ("bgp", "#1849a9", "#84adff"),
    "FIB": ("fib", "#05603a", "#47cd89"),
    "ARP/NDP": ("arp", "#5925dc", "#bdb4fe"),
    "Kubernetes": ("k8s", "#175cd3", "#53b1fd"),
    "log": ("log", "#475467", "#98a2b3"),
    "blind": ("blind", "#667085", "#98a2b3"),
}

#: What every picture needs; a page that holds pictures has it once. What a page does not set has the picture's colours.
SHEET = (
    ".timeline text{font:11px system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif;"
    "fill:var(--text,#1d2939);stroke:var(--paper,#fff);stroke-width:3px;stroke-linejoin:round;paint-order:stroke}"
    ".timeline .title{font-size:14px;font-weight:600}"
    ".timeline .tick{fill:var(--dim,#667085);font-size:10px}.timeline .at{fill:var(--dim,#667085)}"
    ".timeline .grid{stroke:var(--line,#eaecf0)}.timeline .edge{stroke:var(--edge,#d0d5dd)}"
    ".timeline .begun{stroke:var(--lane-fault,#b42318);stroke-dasharray:4 3}"
    ".timeline .undone{stroke:var(--dim,#98a2b3);stroke-dasharray:4 3}"
    ".timeline .outage{fill:var(--outage,#fee4e2)}.timeline rect.bar{fill-opacity:.28}.timeline .lane{font-weight:600}"
    + "".join(f".timeline .{name}{{--lane:var(--lane-{name},{light})}}" for name, light, _dark in LANES.values())
    + ".timeline .lane{fill:var(--lane)}.timeline .mark{fill:var(--lane)}.timeline .bar{stroke:var(--lane)}"
)

#: Sets the lanes' colours for a dark page; belongs into its `:root`.
DARK = "".join(f"--lane-{name}:{dark};" for name, _light, dark in LANES.values()) + "--outage:#55160c;"


def class_of(lane: str) -> str:
    """The class of a lane's markers and name."""
    return LANES.get(lane, LANES["log"])[0]
