"""The leaderboard: one row a trial, and the forms it is printed in. A pure function of the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from search_spaces import interval_text, is_numeric, value_text
from training.files import answer_text

from .records import STATE_ORDER, TrialRecord

# Of photos through the network, and of what frozen stages gave for them earlier: one says nothing about the other.
_SPEEDS = {"img/s": "images_per_second", "features/s": "features_per_second"}


def leaderboard(records: Sequence[TrialRecord], *, direction: str = "maximize") -> pd.DataFrame:
    """One row a trial, best first; only trials that ran to their end have a rank.

    Columns: rank, number, state, value, n, ci95_low, ci95_high, the same on groups, one for each other metric
    (`beside.<name>`) and for each dimension (`params.<name>`), epochs, seconds, images_per_second,
    features_per_second, parameters, seed, engine, weights, note, reason, data.
    """
    sign = -1.0 if direction == "maximize" else 1.0

    def order(record: TrialRecord) -> tuple[int, float, int]:
        value = sign * record.value if record.value is not None else float("inf")
        return STATE_ORDER.index(record.state), value, record.number

    names = list(dict.fromkeys(name for record in records for name in record.config))
    others = list(dict.fromkeys(name for record in records for name in record.beside))
    rows = []
    for position, record in enumerate(sorted(records, key=order), start=1):
        row: dict[str, Any] = {
            "rank": position if record.state == "complete" else None,
            "number": record.number,
            "state": record.state,
            "value": record.value,
            "n": record.n,
            "ci95_low": record.ci95[0] if record.ci95 else None,
            "ci95_high": record.ci95[1] if record.ci95 else None,
            "group_value": record.group_value,
            "n_groups": record.n_groups,
            "groups_ci95_low": record.groups_ci95[0] if record.groups_ci95 else None,
            "groups_ci95_high": record.groups_ci95[1] if record.groups_ci95 else None,
            **{f"beside.{name}": record.beside.get(name) for name in others},
            **{f"params.{name}": record.config.get(name) for name in names},
            "epochs": record.epochs,
            "seconds": record.seconds,
            "images_per_second": record.images_per_second,
            "features_per_second": record.features_per_second,
            "parameters": record.parameters,
            "seed": record.seed,
            "engine": record.engine,
            "weights": record.weights,
            "note": record.note,
            "reason": record.reason,
            "data": record.data,
        }
        rows.append(row)
    frame = pd.DataFrame(rows, dtype=object)
    return frame if rows else pd.DataFrame(columns=["rank", "number", "state", "value"])


def curves(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row an epoch of a trial: number, epoch, value."""
    rows = [(record.number, epoch, value) for record in records for epoch, value in record.curve]
    return pd.DataFrame(rows, columns=["number", "epoch", "value"])


def to_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The leaderboard as plain data: parameters and intervals gathered, absent values None."""
    rows = []
    for raw in frame.to_dict("records"):
        row = {str(key): _plain(value) for key, value in raw.items()}
        for gathered in ("beside", "params"):
            prefix = f"{gathered}."
            values = {key.removeprefix(prefix): row.pop(key) for key in list(row) if key.startswith(prefix)}
            row[gathered] = {name: value for name, value in values.items() if value is not None}
        for name in ("ci95", "groups_ci95"):
            low, high = row.pop(f"{name}_low"), row.pop(f"{name}_high")
            row[name] = None if low is None else [low, high]
        rows.append(row)
    return rows


def to_json(frame: pd.DataFrame) -> str:
    return answer_text(to_rows(frame))


def to_csv(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False))


def to_cells(frame: pd.DataFrame, metric: str) -> tuple[list[str], list[list[str]]]:
    """Headings and cells for people: the dimensions that differ, values of `metric` with their intervals."""
    rows = to_rows(frame)
    differing = differing_params(rows)
    grouped = any(row["groups_ci95"] for row in rows)
    others = list(dict.fromkeys(name for row in rows for name in row["beside"]))
    headings = ["rank", "trial", "state", "value" if is_numeric(metric) else "value %", "n", "95 %"]
    headings += ["groups %", "groups", "groups 95 %"] if grouped else []
    headings += [name if is_numeric(name) else f"{name} %" for name in others]
    speeds = {heading: name for heading, name in _SPEEDS.items() if any(row[name] is not None for row in rows)}
    headings += [*differing, "epochs", "s", *speeds, "M params", "seed", "note"]
    cells = []
    for row in rows:
        line = [_text(row["rank"]), str(row["number"]), row["state"], _value(metric, row["value"])]
        line += [_text(row["n"] or None), _interval(metric, row["ci95"])]
        if grouped:
            line += [_value(metric, row["group_value"]), _text(row["n_groups"] or None)]
            line += [_interval(metric, row["groups_ci95"])]
        line += [_value(name, row["beside"].get(name)) for name in others]
        line += [_number(row["params"].get(name)) for name in differing]
        line += [str(row["epochs"]), f"{row['seconds']:.1f}"]
        line += ["" if row[name] is None else f"{row[name]:.0f}" for name in speeds.values()]
        line += [f"{row['parameters'] / 1e6:.2f}" if row["parameters"] else "", str(row["seed"])]
        line += ["; ".join(text for text in (row["note"], row["reason"]) if text)]
        cells.append(line)
    return headings, cells


def differing_params(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The dimensions that do not have one value in all rows, in the space's order."""
    names = list(dict.fromkeys(name for row in rows for name in row["params"]))
    return [name for name in names if len({repr(row["params"].get(name)) for row in rows}) > 1]


def same_params(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The dimensions that have one value in all rows."""
    differing = set(differing_params(rows))
    return {name: value for row in rows for name, value in row["params"].items() if name not in differing}


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and value != value):
        return None
    return value.item() if hasattr(value, "item") else value


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _value(metric: str, value: float | None) -> str:
    """Without the sign of percent, which stands above it."""
    return "" if value is None else value_text(metric, value).removesuffix(" %")


def _interval(metric: str, bounds: list[float] | None) -> str:
    return "" if bounds is None else interval_text(metric, (bounds[0], bounds[1]))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
