"""What a study's storage keeps of the trials under way: their epochs, what the pruner says of them, and their ends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import optuna

from training.lanes.results import FitResult, State
from training.machine.files import atomic_write_bytes

from .drivers import Drivers
from .history import History
from .outputs import KeptOutputs
from .proposals import Proposer
from .records import CONFIRMS
from .storage import together


class Recording:
    """Records what becomes of the trials that `proposer` gave.

    Args:
        drivers: what is known of other drivers; None where there can't be any.
        folder: the study's.
        is_confirming: whether the study confirms trials at this moment.
    """

    def __init__(
        self,
        study: optuna.Study,
        history: History,
        proposer: Proposer,
        drivers: Drivers | None,
        outputs: KeptOutputs,
        folder: Path,
        is_confirming: Callable[[], bool],
    ) -> None:
        self._study = study
        self._storage = study._storage
        self._history = history
        self._proposer = proposer
        self._open = proposer.open
        self._drivers = drivers
        self._outputs = outputs
        self._folder = folder
        self._is_confirming = is_confirming

    @property
    def taken(self) -> set[int]:
        """Trials of this driver that others took for lost, and have ended: what comes of them here does not count."""
        return set() if self._drivers is None else self._drivers.taken

    def is_open(self, number: int) -> bool:
        """Whether a trial was given by `Study.left` or `Study.ask` and has not ended since."""
        return number in self._open

    def has_value(self, number: int, epoch: int) -> bool:
        """Whether a trial under way has its validation value after `epoch` in the storage."""
        return epoch in self._storage.get_trial(self._open[number]._trial_id).intermediate_values

    def report(self, number: int, epoch: int, value: float) -> None:
        """Keeps the validation value after `epoch`; a second report of one epoch changes nothing."""
        if number not in self.taken and not self.has_value(number, epoch):
            with self._unless_taken(number):
                self._open[number].report(value, epoch)

    def report_many(self, values: Mapping[int, tuple[int, float]]) -> None:
        """Keeps (epoch, value) of several trials; see `report`."""
        with together(self._storage):
            if self._drivers is not None:
                # One read for all of them, where a database is asked.
                self._history.refresh()
            for number, (epoch, value) in values.items():
                self.report(number, epoch, value)

    def should_prune(self, number: int) -> bool:
        """Whether the pruner gives the trial up. The recipe always runs to its end: it is the baseline.

        So does a trial that confirms another one.
        """
        trial = self._open[number]
        if CONFIRMS in trial.user_attrs:
            return False
        given_up = False
        with self._unless_taken(number):
            # The pruner is asked in any case: that is how the recipe's values come to compete with the others'.
            given_up = trial.should_prune() and not trial.user_attrs.get("recipe")
        return given_up

    def prune_many(self, numbers: Iterable[int]) -> set[int]:
        """Those of several trials that the pruner gives up, asked in the order of `numbers`; see `should_prune`."""
        with together(self._storage):
            return {number for number in numbers if number not in self.taken and self.should_prune(number)}

    def answer(self, number: int, earlier: int) -> None:
        """Ends a trial with the record of another one of an equal config, which has ended."""
        self._history.refresh()
        record = self._history.numbered(earlier)
        assert record is not None
        try:
            if number not in self.taken:
                with self._unless_taken(number), together(self._storage):
                    self._proposer.answer(self._open[number], record)
        finally:
            del self._open[number]

    def finish(self, number: int, result: FitResult, further: Mapping[str, float] | None = None) -> bool:
        """Records how a trial ended and what is `further` kept with it, and keeps the outputs of the best ones of the
        search.

        Returns whether it did: not where other drivers took the trial for lost, and have ended it. Where this is part
        of a transaction, that may turn out at its end; see `taken`.
        """
        trial = self._open[number]
        if self._drivers is not None and self._storage.get_trial(trial._trial_id).state.is_finished():
            self._drivers.took(number)
        if number in self.taken:
            del self._open[number]
            return False
        if (
            result.state == State.COMPLETE
            and result.value is not None
            and result.outputs is not None
            and not self._is_confirming()
        ):
            from training.models.spec import BACKBONE  # loads torch, which who trained has

            kind = str(trial.params.get(BACKBONE, ""))
            self._outputs.keep(number, result.value, result.outputs, kind=kind)
        try:
            with self._unless_taken(number), together(self._storage):
                for name, value in (further or {}).items():
                    trial.set_user_attr(name, value)
                self._proposer.end(trial, result)
        finally:
            # Not before: until then it is ours to beat for.
            del self._open[number]
        return number not in self.taken

    def keep_traceback(self, number: int, text: str) -> None:
        """Keeps what broke a trial, for who looks for it."""
        atomic_write_bytes(self._folder / "failures" / f"{number:05d}.txt", text.encode())

    @contextlib.contextmanager
    def _unless_taken(self, number: int) -> Iterator[None]:
        trial_id = self._open[number]._trial_id
        try:
            yield
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):  # the second is what Optuna's `tell` says
            if self._drivers is None or not self._storage.get_trial(trial_id).state.is_finished():
                raise
            self._drivers.took(number)
