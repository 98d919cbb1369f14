"""New trials in a database, each in one transaction of a few statements."""

from __future__ import annotations

import sqlalchemy
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

from .rows import copied, inserts_or_replaces, parameter_row, put_attributes, texts, writing


class Creation:
    """New trials under way in one transaction of a few statements, where Optuna's needs four for each parameter.

    A parameter has to be like those of its name that are in the study. Optuna looks that up; here it is known once a
    trial with it has been made.
    """

    def __init__(self, storage: RDBStorage) -> None:
        self._storage = storage
        self._known: dict[tuple[int, str], BaseDistribution] = {}

    def new_trial(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        """As `RDBStorage._create_new_trial`, which does it where this can't."""
        if template is None or not inserts_or_replaces(self._storage) or not self._is_known(study_id, template):
            trial = RDBStorage._create_new_trial(self._storage, study_id, template)
            self._known |= {(study_id, name): found for name, found in trial.distributions.items()}
            return trial
        with writing(self._storage) as session:
            # Whoever makes another one waits: its number is the count of those before it.
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            table = models.TrialModel.__table__
            before = sqlalchemy.select(sqlalchemy.func.count()).where(table.c.study_id == study_id)
            number = int(session.execute(before).scalar_one())
            row = {"number": number, "study_id": study_id, "state": template.state}
            new = sqlalchemy.insert(table).values(row | {"datetime_start": template.datetime_start})
            trial_id = int(session.execute(new.returning(table.c.trial_id)).scalar_one())
            parameters = [parameter_row(trial_id, name, template) for name in template.params]
            if parameters:
                session.execute(sqlalchemy.insert(models.TrialParamModel.__table__), parameters)
            put_attributes(session, texts(trial_id, template.user_attrs), texts(trial_id, template.system_attrs))
        trial = copied(template)
        trial.number, trial._trial_id = number, trial_id
        return trial

    def _is_known(self, study_id: int, template: FrozenTrial) -> bool:
        if template.state != TrialState.RUNNING or template.intermediate_values:
            return False
        known = [(self._known.get((study_id, name)), own) for name, own in template.distributions.items()]
        if any(there is None for there, _ in known):
            return False
        for there, own in known:
            check_distribution_compatibility(there, own)  # type: ignore[arg-type]
        return True
