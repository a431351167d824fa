"""What `lblab lag` says of a site, as text and as facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.site.exposure import Exposure
from harness.site.model import Site
from harness.site.run import Result


def render(site: Site, found: Sequence[Exposure], notes: Sequence[str], results: Sequence[Result] = ()) -> str:
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
    if results:
        lines.append("In a lab of it:")
        lines += [f"  {each.mechanism.value}: {_result(each)}" for each in results]
    lines += [f"Note: {each}" for each in notes]
    return "\n".join(lines)


def _result(each: Result) -> str:
    if each.problem:
        return f"could not be run: {each.problem}"
    before, after = (node or "no host" for node in each.owners)
    where = f"{before} before, {after} after" if before != after else f"with {before} before and after"
    moves = f", {each.moves} moves of the router's entry" if each.moves else ""
    named = f"; diagnosed as {each.diagnosis.value}" if each.diagnosis else ""
    lost = f"longest gap {each.gap_ms / 1e3:.2f} s, {each.lost} packets lost" if each.lost else "nothing lost"
    return f"{lost}{moves} ({each.service}, {where}{named})"


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


def facts(
    site: Site, found: Sequence[Exposure], notes: Sequence[str], results: Sequence[Result] = ()
) -> dict[str, Any]:
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
        "lab": [
            {
                "mechanism": each.mechanism.value,
                "service": each.service,
                "longest_gap_ms": round(each.gap_ms, 1),
                "lost": each.lost,
                "moves": each.moves,
                "owners": list(each.owners),
                "diagnosis": each.diagnosis.value if each.diagnosis else None,
                "problem": each.problem or None,
            }
            for each in results
        ],
        "notes": list(notes),
    }
