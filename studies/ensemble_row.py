"""The ensemble of a study as a row of its leaderboard. What was chosen is remembered until the best trials change."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from search_spaces import InputError
from training.machine.decode import decoded
from training.machine.digest import is_whole, sealed
from training.machine.files import atomic_write_json
from training.scoring.intervals import Estimate

from .ensemble import Selection, select
from .names import ENSEMBLE
from .records import TrialRecord
from .study import Study

_FILE = "ensemble.json"
_FORMAT = 2


@dataclass(frozen=True)
class Remembered:
    """`candidates` are the trials that it was chosen from, with their values. An ensemble with the weights `timed` was
    trained, and takes `seconds_per_image` for an answer."""

    format: int = _FORMAT
    candidates: tuple[tuple[int, float], ...] = ()
    weights: tuple[tuple[int, float], ...] = ()
    estimate: Estimate | None = None
    grouped: Estimate | None = None
    timed: tuple[tuple[int, float], ...] = ()
    seconds_per_image: float | None = None

    @staticmethod
    def read(path: Path) -> Remembered:
        """What is remembered there: nothing, where the file is absent or damaged."""
        try:
            raw = json.loads(path.read_bytes())
            remembered = decoded(raw, Remembered)
            return remembered if is_whole(raw) and remembered.format == _FORMAT else Remembered()
        except (OSError, ValueError):
            return Remembered()

    def write(self, path: Path) -> None:
        """Raises InputError where there is no room or no permission."""
        atomic_write_json(path, sealed(asdict(self)))


def chosen_of(study: Study, records: Iterable[TrialRecord]) -> Selection | None:
    """The trials of a study to average, chosen among the best whose outputs are kept; None where one alone is best."""
    values = {r.number: r.value for r in records if r.state == "complete" and r.confirms is None}
    kept = study.outputs.numbers()
    candidates = tuple((number, value) for number in kept if (value := values.get(number)) is not None)
    if len(candidates) < 2:
        return None
    remembered = Remembered.read(_path(study))
    if remembered.candidates == candidates:
        if remembered.estimate is None:
            return None
        return Selection(dict(remembered.weights), remembered.estimate, remembered.grouped)
    found = {number: study.outputs.read(number) for number, _ in candidates}
    # A file of another trial that had the number, in a storage that was put back, is none of this one's.
    outputs = {number: one[1] for number, one in found.items() if one is not None and one[0] == values[number]}
    selection = select(outputs, study.settings.metric, study.settings.direction, study.outputs.kinds())
    weights = () if selection is None else tuple(selection.weights.items())
    estimate, grouped = (None, None) if selection is None else (selection.estimate, selection.grouped)
    chosen = replace(remembered, candidates=candidates, weights=weights, estimate=estimate, grouped=grouped)
    # Where the study may only be read it is chosen again each time.
    with contextlib.suppress(InputError):
        chosen.write(_path(study))
    return selection


def keep_speed(study: Study, selection: Selection, seconds_per_image: float) -> None:
    """Remembers how long an ensemble takes for an answer, once it was trained: the row's cost."""
    remembered = Remembered.read(_path(study))
    with contextlib.suppress(InputError):
        timed = tuple(selection.weights.items())
        replace(remembered, timed=timed, seconds_per_image=seconds_per_image).write(_path(study))


def with_ensemble(rows: Sequence[dict[str, Any]], study: Study, records: Sequence[TrialRecord]) -> list[dict[str, Any]]:
    """The rows of a leaderboard with that of the study's ensemble, where there is one.

    It stands behind trials that were confirmed and those whose values are not worse, and has neither rank nor number.
    """
    selection = chosen_of(study, records)
    if selection is None:
        return list(rows)
    # What a column says of a trial alone is empty here.
    row = dict.fromkeys(rows[0]) | _row(selection, study, {record.number: record for record in records})
    sign = -1.0 if study.settings.direction == "maximize" else 1.0

    def is_before(other: Mapping[str, Any]) -> bool:
        if other["rank"] is None:
            return False
        return bool(other["confirmed_seeds"]) or sign * other["value"] <= sign * selection.value

    place = max((place for place, other in enumerate(rows, start=1) if is_before(other)), default=0)
    return [*rows[:place], row, *rows[place:]]


def _row(selection: Selection, study: Study, records: Mapping[int, TrialRecord]) -> dict[str, Any]:
    members = [records[number] for number in selection.weights]
    shares = ", ".join(f"{number} ({100 * weight:.0f} %)" for number, weight in selection.weights.items())
    grouped, remembered = selection.grouped, Remembered.read(_path(study))
    timed = dict(remembered.timed) == dict(selection.weights)
    return {
        "state": ENSEMBLE,
        "confirmed_seeds": 0,
        "value": selection.value,
        "n": selection.estimate.n,
        "ci95": list(selection.estimate.ci95),
        "group_value": grouped.value if grouped else None,
        "n_groups": grouped.n if grouped else 0,
        "groups_ci95": list(grouped.ci95) if grouped else None,
        "beside": {},
        "params": {str(number): weight for number, weight in selection.weights.items()},
        "epochs": max(member.epochs for member in members),
        "seconds": sum(member.seconds for member in members),
        "parameters": sum(member.parameters for member in members),
        "seed": members[0].seed,
        "engine": "",
        "weights": "",
        "note": f"mean of trials {shares}; chosen on valid: optimistically biased",
        "reason": "",
        "data": members[0].data,
        "seconds_per_image": remembered.seconds_per_image if timed else None,
    }


def _path(study: Study) -> Path:
    return study.outputs.folder / _FILE
