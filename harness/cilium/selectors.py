"""Kubernetes label selectors, decided as the API machinery does (metav1.LabelSelectorAsSelector)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str], *, absent: bool = False) -> bool:
    """Decide whether labels satisfy a selector.

    Args:
        selector: matchLabels and matchExpressions; empty selects everything.
        labels: The object's labels.
        absent: What a selector that is not there (None) decides; Cilium reads it as "none" for services and as "every
            node" for nodes.
    """
    if selector is None:
        return absent
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions") or [])


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":  # an object without the label satisfies it
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False
