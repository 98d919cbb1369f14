"""When the trials of a study began and ended, for those who draw what it had at which time."""

from __future__ import annotations

from .study import Study


def start_times(study: Study) -> dict[int, float]:
    """Seconds since the epoch, as `time.time` has them, by the number of each trial that has begun."""
    trials = study._study.get_trials(deepcopy=False)
    # Optuna keeps local time without its zone.
    return {trial.number: trial.datetime_start.timestamp() for trial in trials if trial.datetime_start is not None}


def end_times(study: Study) -> dict[int, float]:
    """The same of each trial that has ended."""
    trials = study._study.get_trials(deepcopy=False)
    return {
        trial.number: trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete is not None
    }
