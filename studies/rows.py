"""Rows of Optuna's tables, several in a statement, for databases that insert or replace in one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial
from sqlalchemy.dialects import postgresql, sqlite

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_Rows = Sequence[Mapping[str, Any]]
# How to insert a row or replace the one with the same key, where that is one statement.
_INSERTS: dict[str, Callable[[Any], Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def inserts_or_replaces(storage: RDBStorage) -> bool:
    """Whether the database is one of those that this is for."""
    return storage.engine.name in _INSERTS


@contextmanager
def writing(storage: RDBStorage) -> Iterator[Session]:
    """A transaction in which nobody else writes to what is read."""
    with _create_scoped_session(storage.scoped_session) as session:
        if storage.engine.name == "sqlite":
            # Its transactions would begin at the first write, after what was read before that.
            session.execute(sqlalchemy.text("BEGIN IMMEDIATE"))
        yield session


def texts(trial_id: int, attributes: Mapping[str, Any]) -> dict[tuple[int, str], str]:
    """Attributes of a trial as they are kept."""
    return {(trial_id, key): json.dumps(value) for key, value in attributes.items()}


def put_attributes(
    session: Session, user: Mapping[tuple[int, str], str], system: Mapping[tuple[int, str], str]
) -> None:
    """Keeps attributes by trial and name, those of the user's and those that are not shown."""
    for model, attributes in ((models.TrialUserAttributeModel, user), (models.TrialSystemAttributeModel, system)):
        rows = [{"trial_id": t, "key": key, "value_json": value} for (t, key), value in attributes.items()]
        upsert(session, model, ("trial_id", "key"), rows)


def upsert(session: Session, model: Any, keys: Sequence[str], rows: _Rows) -> None:
    """Inserts rows, each in the place of the one with the same `keys` where there is one."""
    if not rows:
        return
    insert = _INSERTS[session.get_bind().dialect.name](model.__table__)
    kept = {name: insert.excluded[name] for name in rows[0] if name not in keys}
    session.execute(insert.on_conflict_do_update(index_elements=list(keys), set_=kept), rows)


def parameter_row(trial_id: int, name: str, trial: FrozenTrial) -> Mapping[str, Any]:
    """The row of one of a trial's parameters."""
    distribution = trial.distributions[name]
    return {
        "trial_id": trial_id,
        "param_name": name,
        "param_value": distribution.to_internal_repr(trial.params[name]),
        "distribution_json": distribution_to_json(distribution),
    }


def locked_ends(session: Session, trials: Iterable[int]) -> dict[int, datetime | None]:
    """When those of the trials ended that have. Nobody else changes any of them before the end of the transaction.

    Raises KeyError, as Optuna does, where one is gone.
    """
    wanted = sorted(trials)
    table = models.TrialModel.__table__
    # In one order for all, so that no two wait for each other.
    columns = table.c.trial_id, table.c.state, table.c.datetime_complete
    query = sqlalchemy.select(*columns).where(table.c.trial_id.in_(wanted))
    found = session.execute(query.order_by(table.c.trial_id).with_for_update()).all() if wanted else []
    if len(found) < len(wanted):
        raise KeyError(models.NOT_FOUND_MSG)
    return {trial_id: when for trial_id, state, when in found if state.is_finished()}


def epoch_rows(values: Mapping[tuple[int, int], float]) -> _Rows:
    """Rows of values by trial and epoch."""
    stored = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
    rows = ((trial_id, step, *stored(value)) for (trial_id, step), value in values.items())
    names = ("trial_id", "step", "intermediate_value", "intermediate_value_type")
    return [dict(zip(names, row, strict=True)) for row in rows]


def value_rows(values: Iterable[tuple[int, int, float]]) -> _Rows:
    """Rows of (trial, objective, value)."""
    stored = models.TrialValueModel.value_to_stored_repr
    rows = ((trial_id, objective, *stored(value)) for trial_id, objective, value in values)
    return [dict(zip(("trial_id", "objective", "value", "value_type"), row, strict=True)) for row in rows]


def copied(trial: FrozenTrial) -> FrozenTrial:
    """One that its holder may change, as `optuna.Trial` does."""
    own = copy.copy(trial)
    own.user_attrs, own.system_attrs = dict(trial.user_attrs), dict(trial.system_attrs)
    own.intermediate_values = dict(trial.intermediate_values)
    own.params, own.distributions = dict(trial.params), dict(trial.distributions)
    return own
