"""When measurement and prediction part: either the timers are not what is configured, or the model is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from harness.verdict.interval import Interval
from harness.verdict.predict import Prediction

#: What a prediction from timers may be off before it is a finding: scheduling, processing, a resolution of 1 ms.
_SLACK_S = 0.5
_SLACK_SHARE = 0.05


@dataclass(frozen=True)
class Finding:
    """A measurement that its prediction does not explain."""

    measured_s: float
    predicted: Prediction
    text: str

    def __str__(self) -> str:
        return self.text


def deviation(measured_ms: float | Interval, predicted: Prediction, *, resolution_ms: float = 2.0) -> Finding | None:
    """Compare a measured outage with the predicted one.

    Args:
        measured_ms: One value, or the confidence interval of several runs: then it must be apart as a whole.
        predicted: From the timers.
        resolution_ms: Of the measurement.

    Returns:
        None when they agree.
    """
    if isinstance(measured_ms, Interval):
        low, middle, high = measured_ms.low / 1000, measured_ms.middle / 1000, measured_ms.high / 1000
    else:
        low = middle = high = measured_ms / 1000
    slack = max(_SLACK_S, _SLACK_SHARE * min(predicted.high, 3600.0)) + resolution_ms / 1000
    if high < predicted.low - slack:
        how, by = "shorter", predicted.low - high
    elif low > predicted.high + slack:
        how, by = "longer", low - predicted.high
    else:
        return None
    text = f"measured {middle:.2f} s, {by:.2f} s {how} than predicted: {predicted}, {predicted.source}"
    return Finding(middle, predicted, text)
