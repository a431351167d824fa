"""The figures of one scenario in one run: what its probes measured, and what it recorded in milliseconds."""

from __future__ import annotations

from harness.gate.model import Figure
from harness.results.saved import Scenario


def figures(line: Scenario) -> list[Figure]:
    """Read the figures off a scenario's line of results; those of `--runs` above 1 by their median."""
    found = []
    for one in line.figures:
        low, high = _prediction(line, one.probe)
        found.append(
            Figure(
                name=one.name,
                ms=one.middle_ms,
                resolution_ms=one.resolution_ms,
                trusted=one.trusted,
                reasons=list(one.reasons),
                predicted_low_ms=low,
                predicted_high_ms=high,
            )
        )
    # such as record_property("time_to_route_ms", 812.3): compared like an outage
    found += [Figure(name=name, ms=value) for name, value in line.milliseconds.items()]
    return found


def _prediction(line: Scenario, probe: str) -> tuple[float | None, float | None]:
    for expectation in line.measured:
        predicted = expectation.get("prediction")
        if predicted and any(run["probe"] == probe for run in expectation["runs"]):
            return predicted["low_ms"], predicted["high_ms"]
    return None, None
