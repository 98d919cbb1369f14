"""The leaderboard: one row a trial, and the forms it is printed in. A pure function of the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces import interval_text, is_numeric, value_text
from training.machine.files import answer_text

from .records import STATE_ORDER, TrialRecord

if TYPE_CHECKING:
    import pandas as pd

# Of photos through the network, and of what frozen stages gave for them earlier: one says nothing about the other.
_SPEEDS = {"img/s": "images_per_second", "features/s": "features_per_second"}


def leaderboard_rows(records: Sequence[TrialRecord], *, direction: str = "maximize") -> list[dict[str, Any]]:
    """One row a trial as plain data, best first; only trials that ran to their end have a rank.

    `params` and `beside` (other metrics) are dicts, `ci95` and `groups_ci95` are [low, high] or None.
    """
    sign = -1.0 if direction == "maximize" else 1.0

    def order(record: TrialRecord) -> tuple[int, float, int]:
        value = sign * record.value if record.value is not None else float("inf")
        return STATE_ORDER.index(record.state), value, record.number

    return [
        {
            "rank": position if record.state == "complete" else None,
            "number": record.number,
            "state": record.state,
            "value": record.value,
            "n": record.n,
            "ci95": _bounds(record.ci95),
            "group_value": record.group_value,
            "n_groups": record.n_groups,
            "groups_ci95": _bounds(record.groups_ci95),
            "beside": record.beside,
            "params": record.config,
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
        for position, record in enumerate(sorted(records, key=order), start=1)
    ]


def leaderboard(records: Sequence[TrialRecord], *, direction: str = "maximize") -> pd.DataFrame:
    """The rows of `leaderboard_rows` as a frame: one column for each bound (`ci95_low`, `ci95_high`, the same on
    groups), for each other metric (`beside.<name>`) and for each dimension (`params.<name>`)."""
    return _frame(leaderboard_rows(records, direction=direction))


def curves(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row an epoch of a trial: number, epoch, value."""
    import pandas as pd

    rows = [(record.number, epoch, value) for record in records for epoch, value in record.curve]
    return pd.DataFrame(rows, columns=["number", "epoch", "value"])


def to_json(rows: Sequence[dict[str, Any]]) -> str:
    return answer_text(rows)


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    return str(_frame(rows).to_csv(index=False))


def to_cells(rows: Sequence[dict[str, Any]], metric: str) -> tuple[list[str], list[list[str]]]:
    """Headings and cells for people: the dimensions that differ, values of `metric` with their intervals."""
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


def _bounds(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    # A third of a second to import, and the command line's own table does without it.
    import pandas as pd

    if not rows:
        return pd.DataFrame(columns=["rank", "number", "state", "value"])
    names = {key: list(dict.fromkeys(name for row in rows for name in row[key])) for key in ("beside", "params")}
    return pd.DataFrame([_flat(row, names) for row in rows], dtype=object)


def _flat(row: dict[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A row with one entry a column, in the row's own order; `names` are those of all rows."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key in names:
            flat |= {f"{key}.{name}": value.get(name) for name in names[key]}
        elif key in ("ci95", "groups_ci95"):
            flat[f"{key}_low"], flat[f"{key}_high"] = value or (None, None)
        else:
            flat[key] = value
    return flat


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _value(metric: str, value: float | None) -> str:
    """Without the sign of percent, which stands above it."""
    return "" if value is None else value_text(metric, value).removesuffix(" %")


def _interval(metric: str, bounds: list[float] | None) -> str:
    return "" if bounds is None else interval_text(metric, (bounds[0], bounds[1]))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
