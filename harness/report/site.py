"""What `lblab lag` says of a site, as text and as facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.site.exposure import Exposure
from harness.site.model import Site


def render(site: Site, found: Sequence[Exposure], notes: Sequence[str]) -> str:
    """Write it for a person."""
    lines = [_summary(site)]
    lines += [f"  not understood: {each}" for each in site.unknown]
    lines.append("")
    opened = [each for each in found if each.open]
    closed = [each for each in found if not each.open]
    lines.append("Open to:")
    for each in opened:
        lines.append(f"  {each.mechanism.value}: {each.why}")
        if each.remedy:
            lines.append(f"    closed by: {each.remedy}")
    if closed:
        lines.append("Not open to:")
        lines += [f"  {each.mechanism.value}: {each.why}" for each in closed]
    lines += [f"Note: {each}" for each in notes]
    return "\n".join(lines)


def _summary(site: Site) -> str:
    by = sorted({each.by.value for each in site.announcements}) or ["nobody"]
    parts = [
        f"{len(site.services)} services of type LoadBalancer",
        f"{len(site.pools)} pools",
        f"announced by {', '.join(by)}",
    ]
    if site.router is not None:
        neighbors = sum(each.enabled for each in site.router.os_frr.bgp.neighbors)
        parts.append(
            f"a router with {len(site.router.interfaces)} interfaces, {len(site.router.vlans)} VLANs"
            f" and {neighbors} BGP neighbors"
        )
    return ", ".join(parts)


def facts(site: Site, found: Sequence[Exposure], notes: Sequence[str]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "services": [each.name for each in site.services],
        "pools": [each.name for each in site.pools],
        "announced_by": sorted({each.by.value for each in site.announcements}),
        "not_understood": site.unknown,
        "mechanisms": [
            {"mechanism": each.mechanism.value, "open": each.open, "why": each.why, "remedy": each.remedy or None}
            for each in found
        ],
        "notes": list(notes),
    }
