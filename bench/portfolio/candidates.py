"""Configs that were good in recorded studies, and how the trials of these studies went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from search_spaces import TASKS, Config, InputError, Task
from studies import TrialRecord, open_storage, open_study
from studies.confirmed import confirmed_trials
from studies.portfolio import is_transfer_space
from studies.records import config_key
from studies.storage import study_names
from training import structure_part

_OF_ONE_STRUCTURE = 2


@dataclass(frozen=True)
class Candidate:
    """A config that was good in studies of the task called `task`, under which it was found first."""

    config: Config
    task: str
    study: str
    number: int


@dataclass(frozen=True)
class Recorded:
    """A recorded study: its trials in the order of their numbers, and how many epochs a full one has.

    `confirmed` are the means over fresh seeds, by number, of trials that were confirmed.
    """

    name: str
    task: str
    epochs: int
    trials: tuple[TrialRecord, ...]
    confirmed: Mapping[int, float] = field(default_factory=dict)


def transfer_tasks() -> dict[str, Task]:
    """The tasks whose spaces are those of transfer learning, by name."""
    return {task.name: task for task in TASKS if is_transfer_space(task.space)}


def read_studies(storage: str | None, names: Sequence[str] = ()) -> list[Recorded]:
    """The studies of transfer tasks in a storage: those of `names`, or all.

    Raises:
        InputError: there is no such study, or none of a transfer task.
    """
    known = transfer_tasks()
    found = []
    for name in names or study_names(open_storage(storage, require_existing=True)):
        study = open_study(name, storage)
        if study.settings.task in known and study.settings.task_file is None:
            records = study.records()
            trials = tuple(record for record in records if record.confirms is None)
            confirmed = {one.number: one.mean for one in confirmed_trials(records)}
            found.append(Recorded(name, study.settings.task, study.settings.epochs, trials, confirmed))
    if not found:
        raise InputError(f"no studies of {', '.join(known)} there: make some with pomona search, or name them")
    return found


def candidates_of(studies: Sequence[Recorded], each: int) -> list[Candidate]:
    """The best `each` trials of every task that ran to their end, at most two of one structure, without repeats.

    Those that were confirmed on fresh seeds come first, by their means: the best value of hundreds is luck.
    """
    found: dict[str, Candidate] = {}
    for task in dict.fromkeys(study.task for study in studies):
        ended = [
            (trial, study)
            for study in studies
            if study.task == task
            for trial in study.trials
            if trial.state == "complete" and trial.value is not None
        ]
        ended.sort(key=_order)
        structures: Counter[str] = Counter()
        taken = 0
        for trial, study in ended:
            structure = config_key(structure_part(trial.config))
            if taken == each or structures[structure] == _OF_ONE_STRUCTURE:
                continue
            structures[structure] += 1
            taken += 1
            found.setdefault(config_key(trial.config), Candidate(trial.config, task, study.name, trial.number))
    return list(found.values())


def _order(ended: tuple[TrialRecord, Recorded]) -> tuple[bool, float, float]:
    """Of equals the one that cost less comes first."""
    trial, study = ended
    mean = study.confirmed.get(trial.number)
    return mean is None, -((trial.value or 0.0) if mean is None else mean), trial.seconds
