"""Several drivers on one study in a database: which trials still have a driver, and what becomes of those that lost it.

Optuna's heartbeat says so: every driver beats for its trials, from the moment it has them. A trial whose beats stopped
fails, and waits once more as a new trial that says which one it retries. A driver asks under a lock, so that none gives
what another one gave at the same moment.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import RDBStorage, _CachedStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Config
from training.lanes.results import State

from .attempts import TRAINS
from .database import BEAT_SECONDS, GRACE_SECONDS, Database
from .history import History
from .patience import Patience
from .records import (
    CONFIRMS,
    DRIVER_LOST,
    FIXED,
    GIVEN_BACK,
    GROUP,
    RECIPE,
    RETRIES,
    RUNG,
    SEED,
    TrialRecord,
    record_of,
)
from .run_lock import file_waited_for, server_lock
from .storage import together

_log = logging.getLogger("pomona")

# A beat that did not come through is tried again sooner.
_AGAIN_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
# How often a driver looks for trials of others that were lost, at most.
_LOOK_SECONDS = 5.0
# What a retry keeps of the trial that it retries.
_KEPT = (SEED, CONFIRMS, RECIPE, RUNG)


def new_driver() -> str:
    """A name that no other driver has."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Elsewhere:
    """What other drivers did: trials that ended, and the first configs of groups that began or have ended."""

    ended: Sequence[TrialRecord] = ()
    begun: Sequence[Config] = ()
    done: Sequence[Config] = ()


class Drivers:
    """What one of the drivers of a study knows about the others.

    Args:
        mine: the trials that this driver was given and that have not ended, by their numbers.
        lock: what only one driver holds at a time; it is held for moments.
    """

    def __init__(
        self,
        study: optuna.Study,
        database: Database,
        history: History,
        mine: Mapping[int, optuna.Trial],
        lock: Callable[[], AbstractContextManager[None]],
        patience: Patience,
    ) -> None:
        self._study = study
        self._database = database
        self._history = history
        self._mine = mine
        self._lock = lock
        self._patience = patience
        self._looked = -math.inf
        self._over = threading.Event()
        # Trials that rest while this driver leads: it may go on with them, and does not take them for lost.
        self._resting: set[int] = set()
        # The trials that this driver was ever given and their numbers in the storage, how many ends of trials it was
        # told, and the groups of others.
        self._given: dict[int, int] = {}
        self._ends_seen = 0
        self._groups: dict[int, Config] = {}
        self.taken: set[int] = set()
        """Trials of ours that others ended: they took this driver for lost."""
        database.dropped = self._dropped

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Inside, no other driver asks. Trials that lost their drivers are found first."""
        with self._lock():
            self._recover()
            yield

    def wait(self, *, has_place: bool = True) -> bool:
        """Whether searched trials are under way that other drivers were given, or are to be retried.

        Then it returns after a moment, and now and then lets each that was lost be tried once more. Where the search
        has no place for a further trial, those that wait to retry another one are not waited for.
        """
        self._history.refresh()
        theirs = (trial for trial in self._history.running() if trial.number not in self._mine)
        lost = self._history.awaiting_retry() if has_place else self._history.to_retry()
        to_retry = [trial for trial in lost if CONFIRMS not in trial.user_attrs]
        if not to_retry and not any(map(_has_driver, theirs)):
            return False
        self._patience.sleep(_PAUSE_SECONDS)
        if to_retry or self._patience.clock() - self._looked >= _LOOK_SECONDS:
            with self.asking():
                pass
        return True

    def elsewhere(self) -> Elsewhere:
        """What other drivers did since this was last asked."""
        self._history.refresh()
        ends, name = self._history.ends[self._ends_seen :], self._study.study_name
        self._ends_seen += len(ends)
        trials = (self._history.numbered(number) for number in ends if number not in self._given)
        ended = [record_of(trial, name, "") for trial in trials if trial is not None and trial.state != TrialState.FAIL]
        now: dict[int, Config] = {}
        for trial in self._history.running():
            if _has_driver(trial) and trial.number not in self._given:
                now.setdefault(int(trial.user_attrs.get(GROUP, trial.number)), dict(trial.params))
        before, self._groups = self._groups, now
        begun = [config for group, config in now.items() if group not in before]
        return Elsewhere(ended, begun, [config for group, config in before.items() if group not in now])

    def is_beating(self) -> bool:
        """Whether some driver that has joined beats for a trial under way."""
        stale = set(self._database.stale_trial_ids(self._study._study_id)) | set(self._without_beat())
        self._history.refresh()
        joined = (trial for trial in self._history.under_way() if isinstance(trial.system_attrs.get(TRAINS), str))
        return any(trial._trial_id not in stale for trial in joined)

    def took(self, number: int) -> None:
        """Another driver has ended a trial of ours."""
        if number not in self.taken:
            self.taken.add(number)
            _log.warning(
                "trial %d was taken for lost and ended by another driver: what comes of it here is dropped", number
            )

    def _dropped(self, trial_id: int) -> None:
        for number, given in self._given.items():
            if given == trial_id:
                self.took(number)

    # --- beats

    def answered(self, trial: optuna.Trial) -> None:
        """The trial was this driver's, and has ended without being trained."""
        self._given[trial.number] = trial._trial_id

    def gave(self, trial: optuna.Trial) -> None:
        """The trial is this driver's from now on."""
        self._given[trial.number] = trial._trial_id
        self._database.record_first_heartbeat(trial._trial_id)

    @contextlib.contextmanager
    def leading(self, resting: Callable[[FrozenTrial], bool]) -> Iterator[None]:
        """Meanwhile this driver also beats for the trials under way that are `resting`: an earlier run of the study
        stopped, and whoever leads it goes on with them, now or once other runs are done."""
        self._history.refresh()
        self._resting = {trial._trial_id for trial in self._history.under_way() if resting(trial)}
        for trial_id in self._resting:
            self._database.record_first_heartbeat(trial_id)
        try:
            yield
        finally:
            self._resting = set()

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Meanwhile one thread beats for all trials of this driver."""
        self._over.clear()
        thread = threading.Thread(target=self._beat_on, name="pomona-beats", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(_AGAIN_SECONDS)

    def _beat_on(self) -> None:
        pause: float = BEAT_SECONDS
        while not self._over.wait(pause):
            pause = BEAT_SECONDS
            for trial_id in {trial._trial_id for trial in list(self._mine.values())} | self._resting:
                try:
                    RDBStorage.record_heartbeat(self._database, trial_id)
                except Exception as problem:  # the driver itself waits for the database, and says so
                    _log.debug("no beat for the trial of id %d: %s", trial_id, problem)
                    pause = _AGAIN_SECONDS
        self._database.scoped_session.remove()

    # --- trials that lost their drivers

    def give_back(self) -> None:
        """This driver ends for good: others need not wait for its beats to be missed."""
        trials = list(self._mine.values())
        with self._lock():
            for trial in trials:
                self._fail(trial._trial_id, GIVEN_BACK)
            self._history.refresh()
            self._retry()

    def _recover(self) -> None:
        self._looked = self._patience.clock()
        mine = {trial._trial_id for trial in self._mine.values()} | self._resting
        for trial_id in self._database.stale_trial_ids(self._study._study_id):
            if trial_id in mine:  # it was the beats that were late
                self._database.record_first_heartbeat(trial_id)
            else:
                self._fail(trial_id)
                lost = self._study._storage.get_trial(trial_id).number
                _log.warning("trial %d: %s", lost, DRIVER_LOST)
        self._history.refresh()
        # Their drivers died before the first beat, or are just about to beat: from now on they have the same time.
        silent = set(self._without_beat()) - mine
        for trial in self._history.under_way():
            if trial._trial_id in silent and _has_driver(trial):
                self._database.record_first_heartbeat(trial._trial_id)
        self._retry()

    def _without_beat(self) -> list[int]:
        """Trials under way for which nobody ever beat."""

        def query(_again: bool) -> list[int]:
            session = self._database.scoped_session()
            try:
                found = (
                    session.query(models.TrialModel.trial_id)
                    .filter(models.TrialModel.study_id == self._study._study_id)
                    .filter(models.TrialModel.state == TrialState.RUNNING)
                    .outerjoin(
                        models.TrialHeartbeatModel,
                        models.TrialHeartbeatModel.trial_id == models.TrialModel.trial_id,
                    )
                    .filter(models.TrialHeartbeatModel.trial_id.is_(None))
                    .all()
                )
                return [trial_id for (trial_id,) in found]
            finally:
                session.close()

        return self._database.patiently(query)

    def _fail(self, trial_id: int, reason: str = DRIVER_LOST) -> None:
        storage = self._study._storage
        with together(storage), contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            storage.set_trial_user_attr(trial_id, "state", str(State.FAILED))
            storage.set_trial_user_attr(trial_id, "reason", reason)
            storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def _retry(self) -> None:
        """What was lost and waits nowhere is enqueued, also where who failed it died before that."""
        for trial in self._history.to_retry():
            kept = {name: trial.user_attrs[name] for name in _KEPT if name in trial.user_attrs}
            config = trial.system_attrs.get(FIXED, {}) | trial.params
            note = f"retries trial {trial.number}: {trial.user_attrs['reason']}"
            self._study.enqueue_trial(config, kept | {RETRIES: trial.number, "note": note})


def drivers_of(
    study: optuna.Study,
    history: History,
    mine: Mapping[int, optuna.Trial],
    folder: Path,
    patience: Patience,
) -> Drivers | None:
    """What is known of the drivers of a study; None where its storage has one at a time.

    `folder` is the study's, for a lock where the database is a file.
    """
    storage = study._storage
    if not isinstance(storage, _CachedStorage) or not isinstance(storage._backend, Database):
        return None
    database = storage._backend
    if database.location.is_in_memory:
        return None

    def lock() -> AbstractContextManager[None]:
        if database.location.file is not None:
            return file_waited_for(folder / "ask.lock", GRACE_SECONDS, patience)
        return server_lock(study, patience, "asks").waited_for(GRACE_SECONDS)

    return Drivers(study, database, history, mine, lock, patience)


def _has_driver(trial: FrozenTrial) -> bool:
    """Whether a trial under way was given by a driver of ours that has not let go of it."""
    return bool(trial.system_attrs.get(TRAINS))
