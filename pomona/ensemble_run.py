"""Training an ensemble of a study's trials to one checkpoint: `pomona train --from-study STUDY --trial ensemble`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from search_spaces import InputError, Task, task_named
from studies import Selection, Study, chosen_of, keep_speed, open_study
from studies.names import ENSEMBLE
from training import (
    CheckStop,
    Estimate,
    FitResult,
    State,
    check_checkpoint_folder,
    evaluate,
    has_checkpoint,
    load_checkpoint,
    resolve_device,
)
from training.export.evaluate import seconds_per_example
from training.export.held_out import LabelledSource, examples_to_score
from training.lanes.ensemble_checkpoint import EnsembleCheckpoint, Member, assembled, load_ensemble, save_ensemble

from .checkpoint_folder import HeldFolder
from .training_run import OnBatch, OnEpoch, TrainRequest, TrainRun, changed_config, describe, prepare_training

# The bar of the batches counts parts of all members' training.
_PARTS = 1000


@dataclass(frozen=True)
class EnsembleRun(TrainRun):
    """A run that trains the trials in `weights` one after another, and then makes one checkpoint of them."""

    weights: Mapping[int, float] = field(default_factory=dict)


def prepare_run(
    request: TrainRequest, notify: Callable[[str], None], progress: Callable[[int, int], None] | None = None
) -> TrainRun:
    """A run of one config, see `prepare_training`, or where `trial` is "ensemble" of all that a study averages.

    Raises:
        InputError: whatever is wrong with the request; the study has no ensemble; the folder holds other things.
    """
    if request.trial != ENSEMBLE:
        return prepare_training(request, notify, progress)
    if request.from_study is None:
        raise InputError("an ensemble is one of a study: name it with --from-study")
    if request.as_saved:
        raise InputError("the trials of an ensemble ran to their ends: leave --as-saved out")
    task = request.task if isinstance(request.task, Task) else task_named(request.task)
    study = open_study(request.from_study, request.storage)
    if (selection := chosen_of(study, study.records())) is None:
        raise InputError(
            f"study {study.name!r} has no ensemble: no mean of its trials is better than the best alone, or their "
            "outputs were not kept; leave --trial out"
        )
    held = HeldFolder(request.out, task.name)
    try:
        run = _Run(request, task, study, selection, held, notify)
        run.check_folder()
        # What is wrong with the data or the weights is said before anything is trained.
        first = next((number for number in selection.weights if not run.is_trained(number)), None)
        prepared = None if first is None else run.prepare(first, notify, progress)
        notify(f"ensemble of {study.name}: {run.shares}")
    except BaseException:
        held.give_back()
        raise
    resumes = any(has_checkpoint(held.path / run.folder_of(number)) for number in selection.weights)
    start = functools.partial(run.start, prepared)
    epochs = request.epochs or study.settings.epochs
    return EnsembleRun(task, {}, epochs, held.path, resumes, True, start, selection.weights)


def describe_run(run: TrainRun, result: FitResult) -> dict[str, Any]:
    """As `describe`; of an ensemble with the trials' weights and what an answer takes."""
    told = describe(run, result)
    if isinstance(run, EnsembleRun):
        weights = {str(number): weight for number, weight in run.weights.items()}
        told |= {"ensemble": weights, "seconds_per_image": load_ensemble(run.out).seconds_per_image}
    return told


@dataclass(frozen=True)
class _Run:
    request: TrainRequest
    task: Task
    study: Study
    selection: Selection
    held: HeldFolder
    notify: Callable[[str], None]

    @property
    def shares(self) -> str:
        return ", ".join(f"trial {number} ({100 * weight:.0f} %)" for number, weight in self.selection.weights.items())

    @property
    def seed(self) -> int:
        """Unless another one is asked for that of the study: the weights were chosen for what it gave."""
        return self.study.settings.seed if self.request.seed is None else self.request.seed

    @staticmethod
    def folder_of(number: int) -> str:
        return f"members/{number:05d}"

    def check_folder(self) -> None:
        """Raises InputError where the folder holds an ensemble, another checkpoint, or somebody else's files."""
        check_checkpoint_folder(self.held.path)
        if has_checkpoint(self.held.path):
            raise InputError(f"{self.held.path} holds a checkpoint of one config: choose another --out")

    def is_trained(self, number: int) -> bool:
        """Whether the member's checkpoint is there, of a run that ended.

        Raises:
            InputError: it is one of another run.
        """
        folder = self.held.path / self.folder_of(number)
        if not has_checkpoint(folder):
            return False
        record, request, trial = load_checkpoint(folder).record, self.request, self.study.trial(number)
        config = changed_config(self.task.space, trial.config, request.fixed)
        wanted = (config, self.seed, request.epochs or self.study.settings.epochs)
        if (record.config, record.seed, record.epochs) != wanted:
            raise InputError(f"{folder} is of another run than trial {number} is now: choose another --out")
        return record.epoch == record.epochs

    def prepare(
        self, number: int, notify: Callable[[str], None], progress: Callable[[int, int], None] | None = None
    ) -> TrainRun:
        """The training of one member, as `train --trial` does it."""
        out = self.held.path / self.folder_of(number)
        return prepare_training(replace(self.request, trial=number, out=out, seed=self.seed), notify, progress)

    def start(
        self, prepared: TrainRun | None, on_epoch: OnEpoch | None, on_batch: OnBatch | None, check_stop: CheckStop
    ) -> FitResult:
        with self.held:
            seconds, weights = 0.0, self.selection.weights
            for place, number in enumerate(weights):
                if self.is_trained(number):
                    continue
                self.notify(f"trial {number}: {place + 1} of {len(weights)} of the ensemble")
                run = prepared or self.prepare(number, _silent)
                prepared = None
                result = run.start(on_epoch, self._counting(on_batch, place), check_stop)
                if result.state != State.COMPLETE:
                    return replace(result, reason=f"trial {number} of the ensemble: {result.reason}")
                seconds += result.seconds
            return replace(self._whole(), seconds=seconds)

    def _counting(self, on_batch: OnBatch | None, place: int) -> OnBatch | None:
        if on_batch is None:
            return None
        count = len(self.selection.weights)
        return lambda step, steps: on_batch(_PARTS * place + _PARTS * step // max(steps, 1), _PARTS * count)

    def _whole(self) -> FitResult:
        """Makes one checkpoint of the members, with its value on the validation split and its speed."""
        folder, device = self.held.path, resolve_device(self.request.device)
        members = [Member(self.folder_of(number), weight, number) for number, weight in self.selection.weights.items()]
        ensemble = assembled(folder, members)
        if not ensemble.is_of_one_training_set:
            raise InputError(f"{folder} holds models that were trained on different data: choose another --out")
        source = LabelledSource(skip_unreadable=self.request.skip_unreadable or self.study.settings.skip_unreadable)
        found = examples_to_score(ensemble, source, None)
        for note in found.notes:
            self.notify(note)
        valid = found.examples
        scored = evaluate(ensemble, valid, device)
        whole = seconds_per_example(ensemble, valid, device)
        save_ensemble(folder, members, scored.score, scored.grouped, whole)
        keep_speed(self.study, self.selection, whole)
        return _result_of(ensemble, scored.score, scored.grouped, scored.secondary, self.seed)


def _result_of(
    ensemble: EnsembleCheckpoint, score: Estimate, grouped: Estimate | None, secondary: dict[str, float], seed: int
) -> FitResult:
    record = ensemble.record
    return FitResult(
        state=State.COMPLETE,
        reason="",
        value=score.value,
        curve=(),
        seconds=0.0,
        seed=seed,
        estimate=score,
        grouped=grouped,
        secondary=secondary,
        parameters=sum(parameter.numel() for parameter in ensemble.classifier().parameters()),
        checkpoint=ensemble.folder,
        environment=record.environment | {"numerics": str(record.numerics), "weights": record.weights},
    )


def _silent(_line: str) -> None:
    """What was said of the first member is true of the others."""
