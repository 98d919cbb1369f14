"""Writes of a transaction in a database: what was read once answers from memory, what is written waits for the end."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

from .rows import (
    copied,
    epoch_rows,
    inserts_or_replaces,
    locked_ends,
    put_attributes,
    upsert,
    value_rows,
    writing,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

# Which of Optuna's calls change what was read, and are not ours to put off.
_WRITES = ("_set_trial_param", "delete_study")


@dataclass
class _Waiting:
    """What is to be written, by the trial or study and the name or epoch."""

    user: dict[tuple[int, str], str] = field(default_factory=dict)
    system: dict[tuple[int, str], str] = field(default_factory=dict)
    epochs: dict[tuple[int, int], float] = field(default_factory=dict)
    ends: dict[int, tuple[TrialState, tuple[float, ...], datetime]] = field(default_factory=dict)
    of_studies: dict[tuple[int, str], str] = field(default_factory=dict)

    def trials(self) -> set[int]:
        return {trial_id for trial_id, _ in [*self.user, *self.system, *self.epochs]} | set(self.ends)

    def without(self, trials: Iterable[int]) -> _Waiting:
        left_out = set(trials)

        def kept(rows: Mapping[tuple[int, Any], Any]) -> dict[tuple[int, Any], Any]:
            return {key: value for key, value in rows.items() if key[0] not in left_out}

        ends = {trial_id: end for trial_id, end in self.ends.items() if trial_id not in left_out}
        return _Waiting(kept(self.user), kept(self.system), kept(self.epochs), ends, self.of_studies)


class Batch:
    """One transaction. Its methods are called, and called like, those of `RDBStorage` in whose places they stand.

    A trial is read once; what others write to it meanwhile is not seen. `write` locks the trials and writes all that
    waits, or nothing. What was meant for a trial that another driver has ended meanwhile is dropped, and `dropped` is
    told the trial's number in the storage.

    The plain reference beside it is `RDBStorage`, which takes a transaction for every value, and reads a trial with six
    queries each time somebody looks at it.
    """

    def __init__(
        self,
        storage: RDBStorage,
        patiently: Callable[[Callable[[bool], Any]], Any],
        new_trial: Callable[[int, FrozenTrial | None], FrozenTrial],
        set_state: Callable[[int, TrialState, Sequence[float] | None], bool],
        dropped: Callable[[int], None],
    ) -> None:
        self._storage = storage
        self._patiently = patiently
        self._new_trial = new_trial
        self._set_state = set_state
        self._dropped = dropped
        self._waiting = _Waiting()
        # Trials as they are with what waits. Never changed in place: Optuna's cache and our history hold some.
        self._trials: dict[int, FrozenTrial] = {}
        # Of which study all trials that may change were read, and which these were.
        self._listed: tuple[int, set[int]] | None = None

    @staticmethod
    def is_for(storage: RDBStorage) -> bool:
        """Whether the database is one of those that insert or replace a row in one statement."""
        return inserts_or_replaces(storage)

    def answers(self, name: str) -> Callable[..., Any] | None:
        """The method for one of Optuna's calls; None for one that the storage itself has to do, at once."""
        if name in _STANDS_FOR:
            return getattr(self, name)  # type: ignore[no-any-return]
        if name in _WRITES:
            self.write()
            self._forget()
        return None

    # --- reads

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return copied(self._trial(trial_id))

    def _get_trials(
        self, study_id: int, states: object, included_trial_ids: set[int], trial_id_greater_than: int
    ) -> list[FrozenTrial]:
        if self._waiting.ends:
            # Optuna keeps what has ended for good: it has to be true.
            self.write()
            self._forget()
        if self._listed is None or self._listed[0] != study_id or states is not None:
            self.write()
            self._forget()
            options = (study_id, states, included_trial_ids, trial_id_greater_than)
            trials = self._patiently(lambda _again: RDBStorage._get_trials(self._storage, *options))  # type: ignore[arg-type]
            if states is None:
                self._trials |= {trial._trial_id: trial for trial in trials}
                self._listed = study_id, {trial._trial_id for trial in trials}
            return list(trials)
        _, listed = self._listed
        # What was asked for then covers what is asked for now: trials that have ended since are fewer to be read.
        asked = (t for t in sorted(listed) if t in included_trial_ids or t > trial_id_greater_than)
        return [self._trials[trial_id] for trial_id in asked]

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        read = RDBStorage.get_study_system_attrs
        attributes: dict[str, Any] = self._patiently(lambda _again: read(self._storage, study_id))
        waiting = self._waiting.of_studies.items()
        return attributes | {key: json.loads(value) for (study, key), value in waiting if study == study_id}

    def _trial(self, trial_id: int) -> FrozenTrial:
        if trial_id not in self._trials:
            self._trials[trial_id] = self._patiently(lambda _again: RDBStorage.get_trial(self._storage, trial_id))
        return self._trials[trial_id]

    def _forget(self) -> None:
        self._trials, self._listed = {}, None

    # --- writes

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        """Its number depends on what others create: it is in the storage at once."""
        self.write()
        trial = self._new_trial(study_id, template_trial)
        self._trials[trial._trial_id] = trial
        if self._listed is not None and self._listed[0] == study_id:
            self._listed[1].add(trial._trial_id)
        return copied(trial)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self._changed(trial_id)
        self._waiting.user[trial_id, key] = text = json.dumps(value)
        trial.user_attrs = trial.user_attrs | {key: json.loads(text)}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self._changed(trial_id)
        self._waiting.system[trial_id, key] = text = json.dumps(value)
        trial.system_attrs = trial.system_attrs | {key: json.loads(text)}

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        trial = self._changed(trial_id)
        self._waiting.epochs[trial_id, step] = intermediate_value
        trial.intermediate_values = trial.intermediate_values | {step: intermediate_value}

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        if not state.is_finished():
            # Whether it was ours to begin is for the database to say.
            self.write()
            self._forget()
            return self._set_state(trial_id, state, values)
        trial = self._changed(trial_id)
        now = datetime.now()
        self._waiting.ends[trial_id] = state, tuple(values or ()), now
        if values is not None:
            trial.values = list(values)
        trial.state, trial.datetime_complete = state, now
        return True

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._waiting.of_studies[study_id, key] = json.dumps(value)

    def _changed(self, trial_id: int) -> FrozenTrial:
        """The trial as it is now, to be changed: others that hold it don't see that."""
        trial = copy.copy(self._trial(trial_id))
        self._storage.check_trial_is_updatable(trial_id, trial.state)
        self._trials[trial_id] = trial
        return trial

    def write(self) -> None:
        """Writes all that waits, in one transaction."""
        waiting, self._waiting = self._waiting, _Waiting()
        if waiting != _Waiting():
            for trial_id in sorted(self._patiently(lambda again: self._write(waiting, again))):
                self._dropped(trial_id)

    def _write(self, waiting: _Waiting, again: bool) -> set[int]:
        """Returns the trials that others have ended."""
        with writing(self._storage) as session:
            ended = locked_ends(session, waiting.trials())
            ours = {key for key, (_, _, when) in waiting.ends.items() if ended.get(key) == when}
            if not (again and ours):
                self._put(session, waiting.without(ended))
            # Else the first try has come through though its answer did not.
        return ended.keys() - ours

    def _put(self, session: Session, waiting: _Waiting) -> None:
        put_attributes(session, waiting.user, waiting.system)
        upsert(session, models.TrialIntermediateValueModel, ("trial_id", "step"), epoch_rows(waiting.epochs))
        values = [(t, place, v) for t, (_, values, _) in waiting.ends.items() for place, v in enumerate(values)]
        upsert(session, models.TrialValueModel, ("trial_id", "objective"), value_rows(values))
        table = models.TrialModel.__table__
        for trial_id, (state, _, when) in waiting.ends.items():
            ends = sqlalchemy.update(table).where(table.c.trial_id == trial_id)
            session.execute(ends.values(state=state, datetime_complete=when))
        for study_id in {study_id for study_id, _ in waiting.of_studies}:
            models.StudyModel.find_or_raise_by_id(study_id, session)
        rows = [{"study_id": s, "key": key, "value_json": value} for (s, key), value in waiting.of_studies.items()]
        upsert(session, models.StudySystemAttributeModel, ("study_id", "key"), rows)


_STANDS_FOR = frozenset(
    (
        "_create_new_trial",
        "get_trial",
        "_get_trials",
        "get_study_system_attrs",
        "set_trial_user_attr",
        "set_trial_system_attr",
        "set_trial_intermediate_value",
        "set_trial_state_values",
        "set_study_system_attr",
    )
)
