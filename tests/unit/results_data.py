"""Results as `pytest --lab-results` writes them, made up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.timeline import event, journal
from harness.timeline.event import Event

LAB: dict[str, Any] = {
    "name": "lab",
    "topology": "small",
    "backend": "netns",
    "cilium_version": "1.20.2",
    "metallb_version": None,
    "provenance": "0123456789ab",
    "up_seconds": 3.0,
    "timers": ["hold 90 -> 3 s"],
    "stand_ins": ["a stand-in"],
}
MACHINE: dict[str, Any] = {
    "host": "vm",
    "cpu": "EPYC",
    "cores": 2,
    "kernel": "6.18",
    "memory_gib": 8.0,
    "python": "3.12.1",
}
RUN: dict[str, Any] = {
    "kind": "run",
    "at": "2026-11-01T10:00:00.000+00:00",
    "arguments": ["scenarios/", "--runs", "3"],
    "options": {"--runs": 3},
    "lblab": {"version": "0.1.0", "commit": "abcdef012345"},
    "machine": MACHINE,
}
MS = 1_000_000


def measured(probe: str, *outages: float, verdict: str = "passed", untrusted: Sequence[int] = ()) -> dict[str, Any]:
    """An expectation about one probe, with its runs."""
    return {
        "verdict": verdict,
        "expected": "an outage of at most 100 ms over 1 run",
        "message": "measured",
        "outages_ms": list(outages),
        "resolution_ms": 1.0,
        "interval_ms": {"low": min(outages), "high": max(outages), "middle": outages[0], "method": "b", "runs": 1},
        "trust": ["untrusted: busy" if place in untrusted else "trusted" for place in range(len(outages))],
        "prediction": {"low_ms": 0.0, "likely_ms": 50.0, "high_ms": 100.0, "formula": "hold", "source": "RFC 4271"},
        "finding": None,
        "runs": [
            {
                "probe": probe,
                "longest_outage_ms": outage,
                "resolution_ms": 1.0,
                "trust": {"trusted": place not in untrusted, "reasons": ["busy"] if place in untrusted else []},
            }
            for place, outage in enumerate(outages)
        ],
    }


def scenario(name: str, *expectations: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """A scenario's line."""
    return {
        "kind": "scenario",
        "at": "2026-11-01T10:01:00.000+00:00",
        "scenario": f"scenarios/failover/test_x.py::{name}",
        "family": "failover",
        "outcome": "passed",
        "message": None,
        "seconds": {"setup": 1.0, "call": 2.0, "teardown": 0.5},
        "lab": LAB,
        "put_back": [],
        "properties": {},
        "measured": list(expectations),
        "timeline": None,
        **facts,
    }


def results(
    folder: Path, scenarios: Sequence[dict[str, Any]], *, name: str = "out.jsonl", at: str = str(RUN["at"])
) -> Path:
    """A file of results."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{**RUN, "at": at}, {"kind": "lab", "at": at, "lab": LAB, "provenance": PROVENANCE}, *scenarios]
    file = folder / name
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


PROVENANCE = {
    "cilium": {
        "program": "cilium",
        "version": "1.20.2",
        "content": "ca08637b8cc8",
        "go": "go1.26",
        "substitutions": ["gobgp v4.8.0 in place of a commit"],
    },
    "frr": "8.4.4",
}


def timeline(folder: Path, name: str, events: int = 6) -> str:
    """A file of events beside the results: a fault, an outage of two flows, and others."""
    found = [Event(1000 * MS, "fault", event.FAULT, "worker1", "killed <b>", MS)]
    for flow, begin in enumerate((1001, 1003)):
        data = {"begin_ns": begin * MS, "end_ns": 1500 * MS, "lost": 10}
        text = f"client, flow {flow}: packets are lost"
        found.append(Event(begin * MS, "probe", event.OUTAGE_BEGIN, "client", text, MS, data))
    found += [
        Event((1100 + place) * MS, "log", event.LOG, f"p{place}", f"p{place}: line", MS, {}) for place in range(events)
    ]
    file = folder / "out.timelines" / f"{name}.jsonl"
    journal.save(file, found)
    return str(file.relative_to(folder))
