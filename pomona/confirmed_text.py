"""How a confirmed figure is written wherever it stands."""

from __future__ import annotations

from search_spaces import interval_text, is_numeric, value_text


def mean_text(metric: str, mean: float, ci95: tuple[float, float] | None, seeds: int) -> str:
    """The metric with its mean, what it is the mean of, and its interval where there is one."""
    of = "1 fresh seed" if seeds == 1 else f"mean of {seeds} fresh seeds"
    interval = f", 95 % interval {interval_text(metric, ci95)}" if ci95 else ""
    return f"{metric} {value_text(metric, mean)}, {of}{interval}"


def luck_text(metric: str, luck: float) -> str:
    """A difference of two values with its sign; of shares in percentage points."""
    return f"{luck:+.4g}" if is_numeric(metric) else f"{100 * luck:+.2f} points"
