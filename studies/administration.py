"""Studies as a whole: listed, deleted, renamed."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import optuna

from search_spaces import InputError

from .names import check_name
from .sampling import experimental
from .settings import ATTRIBUTE
from .storage import open_storage, study_names
from .study import Study


def list_studies(storage_url: str | None) -> list[dict[str, Any]]:
    """What `Study.status` says of every study, oldest first; of one that pomona did not make only its name.

    Raises:
        InputError: there is no such storage.
    """
    storage = open_storage(storage_url, require_existing=True)
    told = []
    for name in study_names(storage):
        try:
            told.append(Study.open(name, storage_url).status())
        except InputError as problem:
            told.append({"study": name, "task": None, "problem": str(problem)})
    return told


def delete_study(name: str, storage_url: str | None) -> None:
    """Removes a study and what its runs left in its folder.

    Raises:
        InputError: there is no such study, or it is being run.
    """
    study = Study.open(name, storage_url, to_run=True)
    with study.running():
        # A kill in between leaves a study that starts its interrupted trials again, not files without a study.
        _remove_files(study.folder)
        optuna.delete_study(study_name=name, storage=open_storage(storage_url))
    _remove_folders(study.folder)


def rename_study(old: str, new: str, storage_url: str | None) -> Study:
    """Gives a study another name, with all its trials and files, and returns it.

    Optuna has no such operation: the trials are copied to a new study and the old one is deleted, in one transaction
    where the storage is a journal. On a database a kill in between leaves the old study as it was, and at worst a torn
    new one beside it.

    Raises:
        InputError: there is no such study, it is being run, or the new name is taken or can't be one.
    """
    check_name(new)
    study = Study.open(old, storage_url, to_run=True)
    if new in study_names(open_storage(storage_url)):
        raise InputError(f"there is a study {new!r} already: choose another name, or delete it first")
    target = study.folder.with_name(new)
    if target.exists():
        raise InputError(f"{target} exists already: remove it, or choose another name")
    with study.running():
        _copy(study, new)
        if study.folder.exists():
            study.folder.rename(target)
    return Study.open(new, storage_url)


def _copy(study: Study, new: str) -> None:
    """The study under a new name, and the old one gone. What says that it is pomona's is written last."""
    source = study._study
    storage = source._storage
    with study.together():
        copy = optuna.create_study(study_name=new, storage=storage, direction=source.direction)
        with experimental():
            copy.set_metric_names([study.settings.metric])
        for trial in source.get_trials(deepcopy=False):
            # Not add_trials, which refuses trials that have not ended.
            storage.create_new_trial(copy._study_id, template_trial=trial)
        attributes = dict(source.user_attrs)
        settings = attributes.pop(ATTRIBUTE)
        for key, value in attributes.items():
            copy.set_user_attr(key, value)
        copy.set_user_attr(ATTRIBUTE, settings)
        storage.delete_study(source._study_id)


def _remove_files(folder: Path) -> None:
    """All that runs left in a study's folder, and nothing else; links are not followed."""
    for place, pattern in ((folder, "run.lock"), (folder / "failures", "*.txt"), *_trial_folders(folder)):
        if _is_folder(place):
            for file in place.glob(pattern):
                file.unlink(missing_ok=True)


def _remove_folders(folder: Path) -> None:
    """The study's folders, where nothing is left in them."""
    trials = [place for place, _ in _trial_folders(folder)]
    for place in (*trials, folder / "trials", folder / "failures", folder):
        if _is_folder(place):
            with contextlib.suppress(OSError):
                place.rmdir()


def _trial_folders(folder: Path) -> list[tuple[Path, str]]:
    """The folders of trials, with what lies in them."""
    trials = folder / "trials"
    return [(place, "*.safetensors") for place in sorted(trials.iterdir())] if _is_folder(trials) else []


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
