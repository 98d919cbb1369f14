"""Fills a study with ended trials, as a search leaves them, in seconds."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import insert, select

from search_spaces import Task
from studies import Study
from studies.attempts import TRAINS
from studies.database import Database, database_of
from studies.edges.optuna import distribution_of
from studies.records import GROUP, SEED, attributes_of
from studies.sampling import Brackets
from training import FitResult

# How Optuna names the value that a trial had at a rung, and by how much its rungs lie apart.
_RUNG, _REDUCTION = "completed_rung_", 3
# Trials that are written together.
_AT_ONCE = 500
_Rows = list[dict[str, Any]]


def fill(study: Study, task: Task, size: int, result_of: Callable[[int], FitResult]) -> None:
    """Adds ended trials of random configs until the study has `size` in any state."""
    storage = study._study._storage
    brackets = Brackets(study.settings.epochs)
    numbers = iter(range(storage.get_n_trials(study.id), size))
    while batch := list(itertools.islice(numbers, _AT_ONCE)):
        trials = [
            _ended(task, number, result_of(number), brackets.bracket_of(study.name, number), study.settings.seed)
            for number in batch
        ]
        if isinstance(storage, JournalStorage):
            with study.together():
                for trial in trials:
                    storage.create_new_trial(study.id, template_trial=trial)
        else:
            _insert(database_of(storage), study.id, trials)


def _ended(task: Task, number: int, result: FitResult, bracket: int, seed: int) -> FrozenTrial:
    config = task.space.sample(random.Random(number))
    curve = {epoch.epoch: epoch.value for epoch in result.curve}
    trial = optuna.trial.create_trial(
        state=TrialState.COMPLETE,
        value=result.value,
        params=config,
        distributions={name: distribution_of(task.space.dimensions[name]) for name in config},
        intermediate_values=curve,
        user_attrs=attributes_of(result, "inline") | {SEED: seed, GROUP: number},
        system_attrs={TRAINS: True} | _rungs(curve, bracket),
    )
    trial.number = number
    return trial


def _rungs(curve: Mapping[int, float], bracket: int) -> dict[str, float]:
    """What Hyperband keeps with a trial that it was asked about after every epoch but the last, and never gave up."""
    steps = ((rung, _REDUCTION ** (bracket + rung)) for rung in itertools.count())
    asked = itertools.takewhile(lambda at: at[1] < len(curve), steps)
    return {f"{_RUNG}{rung}": curve[step] for rung, step in asked}


def _insert(database: Database, study: int, trials: Sequence[FrozenTrial]) -> None:
    """Writes trials as Optuna does, a table at a time: its own way takes a hundred queries a trial."""
    now = datetime.now(UTC).replace(tzinfo=None)
    rows: _Rows = [
        {
            "study_id": study,
            "number": trial.number,
            "state": trial.state,
            "_datetime_start_utc": now,
            "_datetime_complete_utc": now,
        }
        for trial in trials
    ]
    numbers = [trial.number for trial in trials]
    trial = models.TrialModel
    with database.engine.begin() as connection:
        connection.execute(insert(trial), [_by_column(trial, row) for row in rows])
        known = select(trial.number, trial.trial_id).where(trial.study_id == study, trial.number.in_(numbers))
        ids = {number: trial_id for number, trial_id in connection.execute(known)}
        for table, of_trial in _TABLES.items():
            values = [{"trial_id": ids[each.number], **row} for each in trials for row in of_trial(each)]
            if values:
                connection.execute(insert(table), values)


def _by_column(model: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns whose attributes have other names."""
    return {getattr(model, name).property.columns[0].name: value for name, value in row.items()}


def _values(trial: FrozenTrial) -> _Rows:
    assert trial.value is not None
    value, kind = models.TrialValueModel.value_to_stored_repr(trial.value)
    return [{"objective": 0, "value": value, "value_type": kind}]


def _params(trial: FrozenTrial) -> _Rows:
    return [
        {
            "param_name": name,
            "param_value": distribution.to_internal_repr(trial.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }
        for name, distribution in trial.distributions.items()
    ]


def _steps(trial: FrozenTrial) -> _Rows:
    stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    return [
        {"step": step, "intermediate_value": kept, "intermediate_value_type": kind}
        for step, (kept, kind) in ((step, stored(value)) for step, value in trial.intermediate_values.items())
    ]


def _attributes(attributes: Mapping[str, Any]) -> _Rows:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


_TABLES: dict[Any, Callable[[FrozenTrial], _Rows]] = {
    models.TrialValueModel: _values,
    models.TrialParamModel: _params,
    models.TrialIntermediateValueModel: _steps,
    models.TrialUserAttributeModel: lambda trial: _attributes(trial.user_attrs),
    models.TrialSystemAttributeModel: lambda trial: _attributes(trial.system_attrs),
}
