"""What is recorded of a study, to be read: its trials with their states and values, and the best of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from search_spaces import InputError
from training.lanes.results import State

from .confirmed import Confirmed, ToConfirm, confirmed_trials, refuted_configs, refuted_trials
from .history import History
from .interrupted import interrupted_record, saved_state
from .patience import Patience
from .ranking import ranked
from .records import INTERRUPTED, STATE_ORDER, TrialRecord, config_key, is_done, record_of, state_of
from .running import Running
from .settings import Settings
from .storage import output_folder

if TYPE_CHECKING:
    from training import LaneState


class RecordedStudy:
    """The half of a `Study` that only reads."""

    def __init__(
        self,
        study: optuna.Study,
        history: History,
        running: Running,
        settings: Settings,
        storage_url: str | None,
        patience: Patience,
    ) -> None:
        self._study = study
        self._history = history
        self._running = running
        self._patience = patience
        self.settings = settings
        self.storage_url = storage_url
        self.folder = output_folder(storage_url) / study.study_name

    @property
    def name(self) -> str:
        return self._study.study_name

    @property
    def id(self) -> int:
        """The study's number in its storage, as optuna-dashboard's addresses have it."""
        return self._study._study_id

    def is_running(self) -> bool:
        """Whether some process holds `Study.running()`, or has `joined()` and trains."""
        return self._running.by_anyone()

    def is_led(self) -> bool:
        """Whether some process holds `Study.running()`; taken for granted while the storage can't be read."""
        return self._patience.is_checking or self._running.is_led()

    def trial_folder(self, number: int) -> Path:
        """Where a trial, and the trials that train in lanes with it, keep their state while they are under way."""
        return self.folder / "trials" / f"{number:05d}"

    def records(self, *, running: bool | None = None) -> list[TrialRecord]:
        """Every trial that was started, in the order of their numbers.

        One that has not ended is `running` while somebody runs the study, and `interrupted` otherwise, with the value
        of its last whole epoch. `running` is what `is_running` says, where that was asked already.
        """
        trials = [t for t in self._study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
        rests = self._rests(trials, running)
        return [self._record(trial, rests) for trial in trials]

    def counts(self, *, running: bool | None = None) -> dict[str, int]:
        """How many trials of the search are in each state, those that ran to their end first; see `records`."""
        self._refresh()
        counts = self._history.counts()
        if self._rests(self._history.running(), running):
            counts[INTERRUPTED] = counts.pop("running")
        return {state: counts[state] for state in STATE_ORDER if counts[state]}

    def best(self, *, running: bool | None = None) -> TrialRecord | None:
        """The best trial of the search, if any has a rank; see `ranked` and `records`.

        One that fresh seeds refuted only where all were. Where none is confirmed the leaderboard has it first.
        """
        self._refresh()
        if any(state_of(trial) == State.INFEASIBLE for trial in self._history.runs_confirmed().values()):
            records = self.records(running=running)
            refuted = refuted_configs(records)
            others = [record for record in records if config_key(record.config) not in refuted]
            direction = self.settings.direction
            return next(iter(ranked(others, direction) or ranked(records, direction)), None)
        best, unended = self._history.best(), self._history.running()
        # The others that ran to their ends are behind these two, whatever was interrupted.
        first = {trial.number: trial for trial in (best, self._history.best_by_value()) if trial is not None}
        found = [self._record(trial, False) for trial in first.values()]
        if self._rests(unended, running):
            found += [self._record(trial, True) for trial in unended]
        return next(iter(ranked(found, self.settings.direction)), None)

    def trial(self, number: int) -> TrialRecord:
        """The record of a trial; see `records`. Raises InputError where the study has no such trial."""
        self._refresh()
        trial = self._history.numbered(number)
        if trial is None or trial.state == TrialState.WAITING:
            raise InputError(f"study {self.name!r} has no trial {number}")
        return self._record(trial, self._rests([trial], None))

    def saved_state(self, number: int) -> LaneState | None:
        """The latest state that is left of a trial that was interrupted, to go on with; None where there is none."""
        record = self.trial(number)
        return saved_state(record, self.settings, self.trial_folder(record.group))

    def _rests(self, trials: Iterable[optuna.trial.FrozenTrial], running: bool | None) -> bool:
        """Whether some of the trials have not ended, and nobody runs the study."""
        if not any(trial.state == TrialState.RUNNING for trial in trials):
            return False
        return not (self.is_running() if running is None else running)

    def _record(self, trial: optuna.trial.FrozenTrial, rests: bool) -> TrialRecord:
        record = record_of(trial, self.name, self.settings.source)
        if not rests or trial.state != TrialState.RUNNING:
            return record
        return interrupted_record(trial, self.name, self.settings, self.trial_folder(record.group))

    @property
    def ended(self) -> int:
        """How many trials of the search have ended, however they did."""
        self._refresh()
        return self._history.ended

    def trained_seconds(self) -> float:
        """Of all trials of the search so far, which may be thousands: no record is made of them."""
        self._refresh()
        found = (trial.user_attrs.get("seconds") for trial in self._history.searched())
        return math.fsum(one for one in found if isinstance(one, int | float) and math.isfinite(one))

    def runs_ended(self, runs: Iterable[ToConfirm]) -> int:
        """How many of the runs have ended with a result."""
        self._refresh()
        found = self._history.runs_confirmed()
        return sum(is_done(found.get(run.key)) for run in runs)

    def confirmed(self) -> list[Confirmed]:
        """The trials that were confirmed on fresh seeds, best first; see `confirmed_trials`."""
        return confirmed_trials(self._on_fresh_seeds(), direction=self.settings.direction, metric=self.settings.metric)

    def refuted(self) -> dict[int, str]:
        """The trials that came to no result on some fresh seed, by number; see `refuted_trials`."""
        return refuted_trials(self._on_fresh_seeds())

    def _on_fresh_seeds(self) -> list[TrialRecord]:
        """Every record where there are some on fresh seeds, else none."""
        self._refresh()
        return self.records() if self._history.runs_confirmed() else []

    def _refresh(self) -> None:
        """For what is shown meanwhile: a storage that waits can't be read."""
        if not self._patience.is_checking:
            self._history.refresh()
