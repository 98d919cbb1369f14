"""Going on with a study that is there: whether it can, how far it is, and which command goes further."""

from __future__ import annotations

import shlex
from dataclasses import replace

from search_spaces import TASKS, InputError

from .done import goal_reached
from .location import location_of, storage_option, without_password
from .plan import Budget
from .request import Options, declared
from .settings import Settings
from .study import Study

# Settings that follow from the task, from what is fixed and from the weights there are.
_CONSEQUENCES = {
    "space": "search space; weights may have come or gone since",
    "metric": "metric",
    "direction": "direction",
}


def enough_or_error(study: Study, budget: Budget, storage: str | None) -> None:
    """Raises where a study has more trials than are asked for: perhaps so many more were meant."""
    if budget.trials is not None and (ended := study.ended) > budget.trials:
        more = _resume_command(study, ended + budget.trials, storage)
        raise InputError(
            f"study {study.name!r} has {ended} trials already, and --trials counts all of them: "
            f"for {budget.trials} more, {more}"
        )


def going_on(study: Study, budget: Budget, storage: str | None, stop_at: float | None) -> str:
    if reached := goal_reached(replace(study.settings, stop_at=stop_at), study.best()):
        return f"study {study.name}: done, {reached}"
    ended = study.ended
    if budget.trials is None:
        return f"study {study.name}: going on, {ended} trials are done"
    if ended < budget.trials:
        return f"study {study.name}: going on, {ended} of {budget.trials} trials are done"
    more = _resume_command(study, 2 * budget.trials, storage)
    return f"study {study.name}: done, all of its {budget.trials} trials have ended; go on with: {more}"


def is_of_object(settings: Settings) -> bool:
    """Whether the study was made with a `Task` object, which no storage keeps: it goes on in Python alone."""
    return settings.task_file is None and all(task.name != settings.task for task in TASKS)


def needs_trust(settings: Settings, storage: str | None) -> bool:
    """Whether going on would run a task file that a storage names which may be another user's."""
    return settings.task_file is not None and location_of(storage) != location_of(None)


def python_call(function: str, study: str, storage: str | None, **options: int) -> str:
    """What goes on with a study of a `Task` object in Python."""
    named: dict[str, object] = {} if storage is None else {"storage": without_password(storage)}
    words = [repr(study), *(f"{name}={value!r}" for name, value in (named | options).items()), "task=TASK"]
    return f"pomona.{function}({', '.join(words)})"


def _resume_command(study: Study, trials: int, storage: str | None) -> str:
    if is_of_object(study.settings):
        return python_call("resume", study.name, storage, trials=trials)
    trust = " --trust-task-file" if needs_trust(study.settings, storage) else ""
    return f"pomona resume {shlex.quote(study.name)}{storage_option(storage)} --trials {trials}{trust}"


def same_or_error(old: Settings, new: Settings, name: str) -> None:
    """A study is one task, one space, one data set, one seed and one length of training.

    Raises:
        InputError: the settings differ in what identifies a study; it names a cause before its consequences.
    """
    options = {part: one.flag for part, one in declared(Options).items() if one.identifies}
    for part, what in ({"task": "task", "fingerprint": "data (fingerprint)"} | options | _CONSEQUENCES).items():
        before, after = getattr(old, part), getattr(new, part)
        if before != after:
            raise InputError(
                f"study {name!r} was made with another {what} ({before}, not {after})",
                f"leave {what} out" if what.startswith("--") else "bring back what it was made with",
                "choose another --study",
            )
