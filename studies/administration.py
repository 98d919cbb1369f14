"""Studies as a whole: listed, deleted, renamed."""

from __future__ import annotations

from typing import Any

import optuna

from search_spaces import InputError

from .leftovers import remove_ours
from .names import check_new_name, shown
from .run_lock import busy
from .settings import ATTRIBUTE
from .status import status_of
from .storage import open_storage, study_names
from .study import Study


def list_studies(storage_url: str | None) -> list[dict[str, Any]]:
    """What `Study.status` says of every study, oldest first; of one that pomona did not make only its name.

    Raises:
        InputError: there is no such storage.
    """
    storage = open_storage(storage_url, require_existing=True)
    payload = []
    for name in study_names(storage):
        try:
            payload.append(status_of(Study.open(name, storage_url)))
        except InputError as problem:
            payload.append({"study": name, "task": None, "problem": str(problem)})
    return payload


def delete_study(name: str, storage_url: str | None) -> None:
    """Removes a study and what its runs left in its folder.

    Raises:
        InputError: there is no such study, or it is being run.
    """
    study = Study.open(name, storage_url, to_run=True)
    _check_at_rest(study)
    with study.running():
        # A kill in between leaves a study that starts its interrupted trials again, not files without a study.
        for folder in (study.folder / "trials", study.folder / "failures", study.outputs.folder):
            remove_ours(folder)
        study._study._storage.delete_study(study.id)
    remove_ours(study.folder)


def rename_study(old: str, new: str, storage_url: str | None) -> Study:
    """Gives a study another name, with all its trials and files, and returns it.

    Optuna has no such operation: the trials are copied to a new study and the old one is deleted, in one transaction
    where the storage is a journal. On a database a kill in between leaves the old study as it was, and at worst a torn
    new one beside it.

    Raises:
        InputError: there is no such study, it is being run, or the new name is taken or can't be one.
    """
    check_new_name(new)
    study = Study.open(old, storage_url, to_run=True)
    if new in study_names(open_storage(storage_url)):
        raise InputError(f"there is a study {shown(new)} already: choose another name, or delete it first")
    target = study.folder.with_name(new)
    if target.exists():
        raise InputError(f"{target} exists already: remove it, or choose another name")
    _check_at_rest(study)
    with study.running():
        _copy(study, new)
        if study.folder.exists():
            study.folder.rename(target)
    return Study.open(new, storage_url)


def _check_at_rest(study: Study) -> None:
    """Raises InputError where somebody runs the study: who has joined it holds no lock."""
    if study.is_running():
        raise busy(study.name)


def _copy(study: Study, new: str) -> None:
    """The study under a new name, and the old one gone. What says that it is pomona's is written last."""
    source = study._study
    storage = source._storage
    with study.together():
        copy = optuna.create_study(study_name=new, storage=storage, direction=source.direction)
        for key, value in storage.get_study_system_attrs(source._study_id).items():
            storage.set_study_system_attr(copy._study_id, key, value)
        for trial in source.get_trials(deepcopy=False):
            # Not add_trials, which refuses trials that have not ended.
            storage.create_new_trial(copy._study_id, template_trial=trial)
        attributes = dict(source.user_attrs)
        settings = attributes.pop(ATTRIBUTE)
        for key, value in attributes.items():
            copy.set_user_attr(key, value)
        copy.set_user_attr(ATTRIBUTE, settings)
        storage.delete_study(source._study_id)
