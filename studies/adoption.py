"""A trial that retries one whose driver was lost goes on from what that one saved, where its folder can be reached."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from training.lanes.saved_lanes import lane_file, saved_lanes

from .leftovers import remove_ours
from .records import GROUP


def adopt(trial: optuna.Trial, lost: FrozenTrial, folder_of: Callable[[int], Path]) -> int:
    """Gives `trial` what `lost` had saved and recorded up to then. Returns the epoch after which it goes on; 0 where
    nothing is there, or not any more.

    `folder_of` says where the group of a number is saved. What the lost trial saved is copied and not moved, as its
    driver may live and go on to write there; then it is removed, as nobody else needs it.
    """
    group = lost.user_attrs.get(GROUP, lost.number)
    recorded = lost.intermediate_values
    for epoch, saved in saved_lanes(folder_of(int(group)), lost.number):
        # A kill between the two leaves the last one saved and not recorded: it is said again.
        known = epoch if epoch in recorded else epoch - 1
        if all(each in recorded for each in range(1, known + 1)) and _copied(saved, folder_of, trial.number, epoch):
            for each in range(1, known + 1):
                trial.report(recorded[each], each)
                # It came so far because the pruner let it; what that keeps goes by the number of the trial.
                trial.should_prune()
            return known
    return 0


def _copied(saved: Path, folder_of: Callable[[int], Path], number: int, epoch: int) -> bool:
    """Puts one saved lane into the folder of the group `number`, as a whole."""
    folder = folder_of(number)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder))
        try:
            shutil.copyfile(saved, unfinished / lane_file(number))
            unfinished.rename(folder / f"{epoch:06d}-0")
        except OSError:
            remove_ours(unfinished)
            raise
        with contextlib.suppress(OSError):
            saved.unlink()
        return True
    return False
