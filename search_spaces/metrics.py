"""Metrics as plain data: what they are called, which way they point, how a value of them is written."""

from __future__ import annotations

import math

from .errors import InputError

F1 = "f1:"
_DIRECTIONS = {"accuracy": "maximize", "r2": "maximize", "rmse": "minimize"}


def check_metric(metric: str, direction: str) -> None:
    """
    Raises:
        InputError: there is no such metric, or it is better the other way.
    """
    right = "maximize" if positive_class(metric) else _DIRECTIONS.get(metric)
    if right is None:
        raise InputError(f"unknown metric {metric!r}: {', '.join(_DIRECTIONS)}, or f1:CLASS")
    if direction != right:
        raise InputError(f"{metric} is something to {right}, not to {direction!r}")


def positive_class(metric: str) -> str | None:
    """The class whose F1 `metric` is; None where it is another metric."""
    return metric.removeprefix(F1) or None if metric.startswith(F1) else None


def is_numeric(metric: str) -> bool:
    """Whether it compares numbers, not classes."""
    return metric in ("r2", "rmse")


def limits_of(metric: str | None) -> tuple[float, float]:
    """The least and the largest value that a metric can have; of None any number."""
    if metric is None:
        return -math.inf, math.inf
    return {"r2": (-math.inf, 1.0), "rmse": (0.0, math.inf)}.get(metric, (0.0, 1.0))


def value_text(metric: str, value: float) -> str:
    """A value for people: shares in percent, others as they are."""
    if math.isnan(value):
        return "undefined"
    return _number(metric, value) if is_numeric(metric) else f"{100 * value:.2f} %"


def interval_text(metric: str, bounds: tuple[float, float]) -> str:
    """An interval for people: that of a share in percent, without the sign."""
    low, high = bounds
    if math.isinf(low) and math.isinf(high):
        return "unknown"
    if is_numeric(metric):
        return f"{_number(metric, low)} to {_number(metric, high)}"
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _number(metric: str, value: float) -> str:
    # An R2 differs from others in its last digits: 0.99 and 0.9999 are far apart.
    return f"{value:.6f}" if metric == "r2" and abs(value) < 100 else f"{value:.6g}"
