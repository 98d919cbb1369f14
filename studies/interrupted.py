"""Trials that have not ended while nobody runs their study: what they came to, and the state that is left of them.

A storage holds them as running. Their values are honest ones of models that exist, as they were after the last whole
epoch that was saved; whoever goes on with the study trains them to their ends.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial

from training.lanes.results import interrupted_after
from training.lanes.saved_lanes import saved_lanes
from training.lanes.saved_result import read_saved_result

from .records import INTERRUPTED, SEED, TrialRecord, attributes_of, record_of
from .settings import Settings

if TYPE_CHECKING:
    from training import LaneState


def interrupted_record(trial: FrozenTrial, study: str, settings: Settings, folder: Path) -> TrialRecord:
    """The row of a trial that has not ended, while nobody runs its study.

    Its value is that of its last whole epoch. How sure that is comes from `folder`, the one of its group, and is
    unknown where that was not saved since, as after a kill. An epoch that was saved and could not be recorded any more
    counts too.
    """
    record = replace(record_of(trial, study, settings.source), state=INTERRUPTED)
    if SEED in trial.user_attrs:  # others may report anything
        for epoch, path in saved_lanes(folder, trial.number):
            if epoch < record.epochs:
                break
            if (result := read_saved_result(path, _about(record, settings))) is not None:
                record = record_of(trial, study, settings.source, attributes_of(result, settings.engine))
                curve = tuple((done.epoch, done.value) for done in result.curve)
                record = replace(record, state=INTERRUPTED, value=result.value, curve=curve, epochs=len(curve))
                break
        if record.value is not None and math.isfinite(record.value):
            return replace(record, reason=interrupted_after(record.epochs, settings.epochs))
    return replace(record, value=None, reason="interrupted before its first epoch ended")


def saved_state(record: TrialRecord, settings: Settings, folder: Path) -> LaneState | None:
    """The latest state of a trial that can be read; None, perhaps with a note, where there is none.

    `folder` is that of its group. It is only read.
    """
    from training import load_lane

    about = _about(record, settings)
    states = (load_lane(path, about) for _, path in saved_lanes(folder, record.number))
    return next((state for state in states if state is not None and math.isfinite(state.curve[-1].loss)), None)


def _about(record: TrialRecord, settings: Settings) -> dict[str, Any]:
    """What the trial's file has to be about."""
    return {
        "seed": record.seed,
        "epochs": settings.epochs,
        "fingerprint": settings.fingerprint,
        "numerics": str(settings.numerics),
        "config": record.config,
    }
