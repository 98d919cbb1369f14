"""Which trial of a study is trained, and the state that it is gone on with where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from search_spaces import Config, InputError, Task
from studies import Study, TrialRecord
from training import LaneState, most_unfrozen

from .confirmed_text import mean_text

_FROM_THE_BEGINNING = "training it from the beginning"


@dataclass(frozen=True)
class Wanted:
    """The run that is asked for: what of it has to be as it was in the study, so that a trial can be gone on with."""

    config: Config
    epochs: int
    seed: int
    fingerprint: str
    as_saved: bool


def trial_to_train(study: Study, number: int | None) -> tuple[TrialRecord, str]:
    """The trial `number` of a study, or its best, and why it is that: a confirmed one goes before a lucky one.

    Raises:
        InputError: there is no such trial, or none with a value.
    """
    if number is not None:
        return study.trial(number), ""
    if confirmed := study.confirmed():
        best = confirmed[0]
        figure = mean_text(study.settings.metric, best.mean, best.ci95, best.seeds)
        return study.trial(best.number), f", the best of {len(confirmed)} confirmed: {figure}"
    running = study.is_running()
    if (trial := study.best(running=running)) is None:
        if running:
            raise InputError(
                f"study {study.name!r} is being run, and none of its trials has run to its end: wait for one, or stop "
                "it, and use the best state that it has saved"
            )
        raise InputError(f"study {study.name!r} has no trial with a whole epoch: pomona leaderboard says why")
    return trial, f", the best of the search, not confirmed on fresh seeds{_how_far(trial)}"


def seed_of(trial: TrialRecord) -> int:
    """The seed of a run of the trial's config where none is asked for: its own where it can be gone on with."""
    return trial.seed if trial.state == "interrupted" else 0


def state_to_start_from(
    study: Study, trial: TrialRecord, wanted: Wanted, notify: Callable[[str], None]
) -> LaneState | None:
    """The saved state of a trial that was interrupted; None where its config is trained from the beginning.

    The study is only read, so it can be resumed afterwards.

    Raises:
        InputError: the state is to be kept as it is, and there is none.
    """
    if trial.state != "interrupted":
        if wanted.as_saved:
            why = (
                "is under way" if trial.state == "running" else f"has ended ({trial.state}), so no state is left of it"
            )
            raise InputError(f"trial {trial.number} of {study.name!r} {why}: leave --as-saved out")
        return None
    settings = study.settings
    differing = {
        "--set": wanted.config != trial.config,
        "--epochs": wanted.epochs != settings.epochs,
        "--seed": wanted.seed != trial.seed,
        "--data": wanted.fingerprint != settings.fingerprint,
    }
    if options := [option for option, differs in differing.items() if differs]:
        named = " and ".join(options)
        if wanted.as_saved:
            raise InputError(f"--as-saved keeps trial {trial.number} as it is: leave {named} out")
        notify(f"it can't be gone on with where {named} asks for another run: {_FROM_THE_BEGINNING}")
        return None
    if (state := study.saved_state(trial.number)) is None:
        if wanted.as_saved:
            raise InputError(f"no state of trial {trial.number} of {study.name!r} is left: leave --as-saved out")
        notify(f"no state of trial {trial.number} is left: {_FROM_THE_BEGINNING}")
        return None
    epoch = f"epoch {len(state.curve)} of {settings.epochs}"
    notify(f"keeping it as it was after {epoch}" if wanted.as_saved else f"going on after {epoch}")
    return state


def most_unfrozen_in(study: Study, task: Task) -> int:
    """The most stages that the study's search unfreezes: it decides where outputs of frozen stages are kept.

    With another number results are the same to rounding, with this one to the last digit.
    """
    return most_unfrozen(task.space.narrow(study.settings.fixed))


def _how_far(trial: TrialRecord) -> str:
    return f"; {trial.reason}" if trial.state == "interrupted" else ""
