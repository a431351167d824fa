"""The properties that a JUnit report has for the whole run and for each scenario.

| property | of | value |
|---|---|---|
| `lab.backend`, `lab.topology`, `lab.cilium_version`, `lab.metallb_version` | run, scenario | the lab's |
| `lab.provenance`, `lab.timers` | run, scenario | hash of its programs; what was cut down |
| `lab.stand_in` | run | what is not the real thing, once for each |
| `lab.lblab`, `lab.machine` | run | version and commit; the machine |
| `lab.verdict.PROBE` | scenario | passed, failed or untrusted |
| `lab.outage_ms.PROBE` | scenario | the median of the longest outages of the runs |
| `lab.outage_ms.PROBE.low`, `.high` | scenario | the 95 % interval, or for one run the bounds that its packets leave |
| `lab.predicted_ms.PROBE.low`, `.high` | scenario | what the timers promise |
| `lab.put_back` | scenario | what the scenario left behind |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from harness import machine

_OF_LAB = ("backend", "topology", "cilium_version", "metallb_version", "provenance")


def of_lab(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a scenario's lab was."""
    for name in _OF_LAB:
        if facts.get(name) is not None:
            yield f"lab.{name}", str(facts[name])
    if facts.get("timers"):
        yield "lab.timers", "; ".join(facts["timers"])


def of_run(labs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What is true of a whole run: each value that a lab had, once; nothing for a run without labs."""
    if not labs:
        return
    yield from dict.fromkeys(one for facts in labs for one in of_lab(facts))
    yield from dict.fromkeys(("lab.stand_in", str(text)) for facts in labs for text in facts.get("stand_ins") or [])
    yield "lab.lblab", " ".join(machine.lblab().values())
    about = machine.facts()
    yield "lab.machine", f"{about['host']}: {about['cores']} cores, {about['cpu']}, Linux {about['kernel']}"


def of_figures(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """What a scenario's probes measured; of several expectations about one probe the first gives the figures."""
    told: dict[str, str] = {}
    for record in records:
        for probe in dict.fromkeys(str(run["probe"]) for run in record["runs"]):
            verdict = told.get(f"lab.verdict.{probe}", "passed")
            told |= {name: text for name, text in _figures(record, probe) if name not in told}
            if verdict == "passed":  # one of them that is not says so for the probe
                told[f"lab.verdict.{probe}"] = str(record["verdict"])
    yield from told.items()


def _figures(record: Mapping[str, Any], probe: str) -> Iterator[tuple[str, str]]:
    if (measured := record["interval_ms"]) is not None:
        yield f"lab.outage_ms.{probe}", f"{measured['middle']:.1f}"
        yield f"lab.outage_ms.{probe}.low", f"{measured['low']:.1f}"
        yield f"lab.outage_ms.{probe}.high", f"{measured['high']:.1f}"
    if (predicted := record.get("prediction")) is not None:
        yield f"lab.predicted_ms.{probe}.low", f"{predicted['low_ms']:.1f}"
        yield f"lab.predicted_ms.{probe}.high", f"{predicted['high_ms']:.1f}"
