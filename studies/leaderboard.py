"""The leaderboard: one row a trial, and the forms it is printed in. A pure function of the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces import interval_text, is_numeric, value_text
from training.machine.files import answer_text

from .confirmed import Confirmed, confirmed_trials, refuted_configs, refuted_trials
from .names import ENSEMBLE
from .ranking import has_rank, ranked, sign_of
from .records import STATE_ORDER, TrialRecord, config_key

if TYPE_CHECKING:
    import pandas as pd

# Of photos through the network, and of what frozen stages gave for them earlier: one says nothing about the other.
_SPEEDS = {"img/s": "images_per_second", "features/s": "features_per_second"}


def leaderboard_rows(
    records: Sequence[TrialRecord],
    *,
    direction: str = "maximize",
    metric: str | None = None,
    confirmations: bool = False,
) -> list[dict[str, Any]]:
    """One row a trial of the search as plain data, best first.

    A trial has a rank if it ran to its end, or was interrupted after an epoch: its value is that of a model that
    exists, and is ranked as it is. First come the trials that were confirmed on fresh seeds, in the order of
    `confirmed_trials`, then the others in that of `ranked`, those last that fresh seeds refuted, and those without a
    rank by their values. `metric` limits
    intervals to values that it can have. With `confirmations` the trials that confirm others follow as rows without a
    rank. `params` and `secondary` (other metrics) are dicts, `ci95`, `groups_ci95`, `cv_ci95` and `confirmed_ci95` are
    [low, high] or None.
    """
    confirmed = confirmed_trials(records, direction=direction, metric=metric)
    places = {one.number: place for place, one in enumerate(confirmed)}
    refuted, reasons = refuted_configs(records), refuted_trials(records)
    ranks = {record.number: place for place, record in enumerate(ranked(records, direction))}

    def order(record: TrialRecord) -> tuple[int, int, int, float, int]:
        state = -1 if has_rank(record) else STATE_ORDER.index(record.state)
        behind = len(places) + (config_key(record.config) in refuted)
        place, rank = places.get(record.number, behind), ranks.get(record.number, len(ranks))
        value = sign_of(direction) * record.value if record.value is not None else float("inf")
        return state, place, rank, value, record.number

    searched = sorted((record for record in records if record.confirms is None), key=order)
    by_number = {one.number: one for one in confirmed}
    rows = [
        _row(record, position, by_number.get(record.number), reasons.get(record.number, ""))
        for position, record in enumerate(searched, start=1)
    ]
    if confirmations:
        others = [record for record in records if record.confirms is not None]
        rows += [_row(record, None, None) for record in sorted(others, key=lambda r: (r.confirms, r.seed, r.number))]
    return rows


def _row(record: TrialRecord, position: int | None, confirmed: Confirmed | None, refuted: str = "") -> dict[str, Any]:
    return {
        "rank": position if has_rank(record) else None,
        "number": record.number,
        "state": record.state,
        "confirmed_mean": confirmed and confirmed.mean,
        "confirmed_ci95": confirmed and _bounds(confirmed.ci95),
        "confirmed_seeds": confirmed.seeds if confirmed else 0,
        "luck": confirmed and confirmed.luck,
        "value": record.value,
        "n": record.n,
        "ci95": _bounds(record.ci95),
        "group_value": record.group_value,
        "n_groups": record.n_groups,
        "groups_ci95": _bounds(record.groups_ci95),
        "robust": record.robust,
        "cv_value": record.cv_value,
        "cv_ci95": _bounds(record.cv_ci95),
        "cv_folds": record.cv_folds,
        "beside": record.secondary,
        "params": record.config,
        "epochs": record.epochs,
        "seconds": record.seconds,
        "predicted_seconds": record.predicted_seconds,
        "rung": record.rung,
        "promoted_from": record.promoted_from,
        "images_per_second": record.images_per_second,
        "features_per_second": record.features_per_second,
        "parameters": record.parameters,
        "seed": record.seed,
        "confirms": record.confirms,
        "engine": record.engine,
        "weights": record.weights,
        "note": "; ".join(text for text in (record.note, refuted) if text),
        "reason": record.reason,
        "data": record.data,
    }


def leaderboard(records: Sequence[TrialRecord], **options: Any) -> pd.DataFrame:
    """The rows of `leaderboard_rows` (with its `options`) as a frame: one column for each bound (`ci95_low`,
    `ci95_high`, the same on groups and over seeds), for each other metric (`beside.<name>`) and for each dimension
    (`params.<name>`)."""
    return to_frame(leaderboard_rows(records, **options))


def curves(records: Sequence[TrialRecord], *, confirmations: bool = False) -> pd.DataFrame:
    """One row an epoch of a trial: number, epoch, value. With `confirmations` also of trials that confirm others."""
    import pandas as pd

    shown = [record for record in records if confirmations or record.confirms is None]
    rows = [(record.number, epoch, value) for record in shown for epoch, value in record.curve]
    return pd.DataFrame(rows, columns=["number", "epoch", "value"])


def to_json(rows: Sequence[dict[str, Any]]) -> str:
    return answer_text(rows)


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    return str(to_frame(rows).to_csv(index=False))


def to_cells(
    rows: Sequence[dict[str, Any]], metric: str, differing: Sequence[str] | None = None
) -> tuple[list[str], list[list[str]]]:
    """Headings and cells for people: the dimensions that differ, values of `metric` with their intervals.

    `differing` are the dimensions to be shown where `rows` are some of all; None are those that differ in `rows`.
    """
    differing = differing_params(rows) if differing is None else differing
    timed = any(row.get("seconds_per_image") is not None for row in rows)
    grouped = any(row["groups_ci95"] for row in rows)
    robust = any(row["robust"] is not None for row in rows)
    crossed = any(row["cv_value"] is not None for row in rows)
    others = list(dict.fromkeys(name for row in rows for name in row["beside"]))
    percent = "" if is_numeric(metric) else " %"
    confirmed = any(row["confirmed_seeds"] for row in rows)
    headings = ["rank", "trial", "state"]
    headings += [f"confirmed{percent}", "95 % of seeds", "seeds", f"luck{percent}"] if confirmed else []
    headings += [f"value{percent}", "n", "95 %"]
    headings += ["groups %", "groups", "groups 95 %"] if grouped else []
    headings += [f"robust{percent}"] if robust else []
    headings += [f"cv{percent}", "cv 95 %", "folds"] if crossed else []
    headings += [name if is_numeric(name) else f"{name} %" for name in others]
    speeds = {heading: name for heading, name in _SPEEDS.items() if any(row[name] is not None for row in rows)}
    headings += [*differing, "epochs", "s", *speeds, *(["ms/image"] if timed else []), "M params", "seed", "note"]
    cells = []
    for row in rows:
        line = [_text(row["rank"]), _text(row["number"]), row["state"]]
        if confirmed:
            line += [_value(metric, row["confirmed_mean"]), _interval(metric, row["confirmed_ci95"])]
            line += [_text(row["confirmed_seeds"] or None), _luck(metric, row["luck"])]
        line += [_value(metric, row["value"]), _text(row["n"] or None), _interval(metric, row["ci95"])]
        if grouped:
            line += [_value(metric, row["group_value"]), _text(row["n_groups"] or None)]
            line += [_interval(metric, row["groups_ci95"])]
        line += [_value(metric, row["robust"])] if robust else []
        if crossed:
            line += [_value(metric, row["cv_value"]), _interval(metric, row["cv_ci95"])]
            line += [_text(row["cv_folds"] or None)]
        line += [_value(name, row["beside"].get(name)) for name in others]
        line += [_number(_params(row).get(name)) for name in differing]
        line += [str(row["epochs"]), f"{row['seconds']:.1f}"]
        line += ["" if row[name] is None else f"{row[name]:.0f}" for name in speeds.values()]
        if timed:
            seconds = row.get("seconds_per_image")
            line += ["" if seconds is None else f"{1000 * seconds:.3g}"]
        line += [f"{row['parameters'] / 1e6:.2f}" if row["parameters"] else "", str(row["seed"])]
        line += ["; ".join(text for text in (row["note"], row["reason"]) if text)]
        cells.append(line)
    return headings, cells


def differing_params(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The dimensions that do not have one value in all rows, in the space's order."""
    configs = [_params(row) for row in rows if row["state"] != ENSEMBLE]
    names = list(dict.fromkeys(name for config in configs for name in config))
    return [name for name in names if len({repr(config.get(name)) for config in configs}) > 1]


def same_params(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The dimensions that have one value in all rows."""
    differing = set(differing_params(rows))
    return {name: value for row in rows for name, value in _params(row).items() if name not in differing}


def _params(row: dict[str, Any]) -> dict[str, Any]:
    """The config of a trial. An ensemble has none: what its row has in that place are weights of trials."""
    return {} if row["state"] == ENSEMBLE else dict(row["params"])


def _bounds(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def to_frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as `leaderboard` has them; the weights of an ensemble's trials stand in its note alone."""
    # A third of a second to import, and the command line's own table does without it.
    import pandas as pd

    if not rows:
        return pd.DataFrame(columns=["rank", "number", "state", "value"])
    rows = [row | {"params": _params(row)} for row in rows]
    names = {key: list(dict.fromkeys(name for row in rows for name in row[key])) for key in ("beside", "params")}
    return pd.DataFrame([_flat(row, names) for row in rows], dtype=object)


def _flat(row: dict[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A row with one entry a column, in the row's own order; `names` are those of all rows."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key in names:
            flat |= {f"{key}.{name}": value.get(name) for name in names[key]}
        elif key in ("ci95", "groups_ci95", "confirmed_ci95", "cv_ci95"):
            flat[f"{key}_low"], flat[f"{key}_high"] = value or (None, None)
        else:
            flat[key] = value
    return flat


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _value(metric: str, value: float | None) -> str:
    """Without the sign of percent, which stands above it."""
    return "" if value is None else value_text(metric, value).removesuffix(" %")


def _luck(metric: str, luck: float | None) -> str:
    return "" if luck is None else f"{luck:+.4g}" if is_numeric(metric) else f"{100 * luck:+.2f}"


def _interval(metric: str, bounds: list[float] | None) -> str:
    return "" if bounds is None else interval_text(metric, (bounds[0], bounds[1]))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
