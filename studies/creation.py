"""How a study comes into a storage and is found there: as a whole, or so that what a kill left can be completed."""

from __future__ import annotations

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from search_spaces import Config, InputError

from .names import shown
from .request import RUNGS
from .sampling import experimental
from .settings import ATTRIBUTE, Settings
from .storage import study_names, together

# So many names of studies at most in one message.
_MOST_NAMED = 10


class NameTakenError(InputError):
    """There is a study of that name, or another process is about to make one."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a study {shown(name)} already: resume it, or choose another --study")


def create_study(name: str, storage: BaseStorage, settings: Settings, recipe: Config) -> optuna.Study:
    """A new study with the recipe enqueued as trial 0, unless its strategy decides when that is run.

    All of it is one transaction where the storage is a journal.

    A database takes the parts one by one, the settings last: a study without them counts as none, and is completed
    here if it is empty or holds nothing but such parts. So that nobody does that while who began it still lives, there
    one process at a time is to be here for a name.

    Raises:
        NameTakenError: the name is taken.
    """
    with together(storage):
        study = _begun(name, storage, StudyDirection[settings.direction.upper()])
        with experimental():
            study.set_metric_names([settings.metric])
        for key, value in shown_settings(settings).items():
            study.set_user_attr(key, value)
        if settings.strategy != RUNGS and not study.get_trials(deepcopy=False):
            study.enqueue_trial(recipe, user_attrs={"recipe": True, "note": settings.recipe_note})
        study.set_user_attr(ATTRIBUTE, settings.to_json())
    return study


def stored_study(name: str, storage: BaseStorage) -> tuple[optuna.Study, Settings]:
    """A study that is in the storage, with its settings.

    Raises:
        InputError: there is none of that name, or one that is not pomona's.
    """
    names = study_names(storage)
    if name not in names:
        some = ", ".join(shown(known) for known in names[:_MOST_NAMED])
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        raise InputError(
            f"unknown study {shown(name)}; " + (f"there is {some}{more}" if names else "the storage has none yet")
        )
    study = optuna.load_study(study_name=name, storage=storage)
    text = study.user_attrs.get(ATTRIBUTE)
    if text is None:
        raise InputError(f"study {name!r} was not made by pomona: it has no settings")
    return study, Settings.from_json(text, name)


def keep_settings(study: optuna.Study, new: Settings, old: Settings) -> None:
    """Keeps settings in the place of others; of what is shown, only what differs is written."""
    before = shown_settings(old)
    for key, value in shown_settings(new).items():
        if value != before.get(key):
            study.set_user_attr(key, value)
    study.set_user_attr(ATTRIBUTE, new.to_json())


def is_whole(name: str, storage: BaseStorage) -> bool:
    """Whether the storage has a study of that name, pomona's or another's, and not just the beginning of one."""
    return name in study_names(storage) and not _is_torn(optuna.load_study(study_name=name, storage=storage))


def _begun(name: str, storage: BaseStorage, direction: StudyDirection) -> optuna.Study:
    if name not in study_names(storage):
        try:
            return optuna.create_study(study_name=name, storage=storage, direction=direction)
        except optuna.exceptions.DuplicatedStudyError:  # made since
            raise NameTakenError(name) from None
    study = optuna.load_study(study_name=name, storage=storage)
    if not _is_torn(study) or study.directions != [direction]:
        raise NameTakenError(name)
    return study


def _is_torn(study: optuna.Study) -> bool:
    attributes = study.user_attrs
    if ATTRIBUTE in attributes or not attributes.keys() <= set(_SHOWN):
        return False
    return all(
        trial.state == TrialState.WAITING and trial.user_attrs.get("recipe") for trial in study.get_trials(False)
    )


_SHOWN = (
    "task",
    "data",
    "data fingerprint",
    "target",
    "budget",
    "commands",
    "versions",
    "commit",
    "device",
    "numerics",
)


def shown_settings(settings: Settings) -> dict[str, object]:
    """The settings that are worth a line on the study's page in optuna-dashboard."""
    values = (
        settings.task,
        settings.source,
        settings.fingerprint,
        settings.target,
        str(settings.budget),
        [settings.command, *settings.later_commands],
        settings.environment.get("versions", {}),
        *(settings.common[name] for name in ("commit", "device", "numerics")),
    )
    return dict(zip(_SHOWN, values, strict=True))
