"""A study: trials proposed, reported and recorded in Optuna's storage."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock
import optuna
from optuna.samplers import TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from search_spaces import Config, InputError, SearchSpace
from training import FitResult, Numerics, State, atomic_write_bytes, number_of

from .edges.optuna import suggest
from .records import FEASIBLE, STATE_ORDER, TrialRecord, attributes_of, config_key, final_state, record_of
from .settings import ATTRIBUTE, Settings
from .storage import open_storage, output_folder, study_names

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Proposal:
    """A trial to be run: its config was suggested, or belongs to a trial that was interrupted."""

    number: int
    config: Config
    seed: int


class Study:
    """One study in a storage. Whoever runs it holds `running()` meanwhile."""

    def __init__(self, study: optuna.Study, settings: Settings, storage_url: str | None) -> None:
        self._study = study
        self._open: dict[int, optuna.Trial] = {}
        self._study.pruner = make_pruner(settings.pruner, settings.epochs)
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

    @property
    def numerics(self) -> Numerics:
        """One choice for all trials of the study, so that they can be compared."""
        return Numerics(**self.settings.numerics)

    @staticmethod
    def create(name: str, storage_url: str | None, settings: Settings, recipe: Config) -> Study:
        """A new study with the recipe enqueued as trial 0.

        Raises:
            InputError: the name is taken or can't be one.
        """
        if not name or name != Path(name).name or name.startswith("."):
            raise InputError(f"a study's name can't be {name!r}: use letters, digits, - and _")
        storage = open_storage(storage_url)
        if name in study_names(storage):
            raise InputError(f"there is a study {name!r} already: resume it, or choose another --study")
        study = optuna.create_study(
            study_name=name, storage=storage, direction=StudyDirection[settings.direction.upper()]
        )
        with _experimental():
            study.set_metric_names([settings.metric])
        for key, value in _shown(settings).items():
            study.set_user_attr(key, value)
        study.enqueue_trial(recipe, user_attrs={"recipe": True, "note": settings.recipe_note})
        # Written last: a study without settings was torn while it was made, and counts as none.
        study.set_user_attr(ATTRIBUTE, settings.to_json())
        return Study(study, settings, storage_url)

    @staticmethod
    def open(name: str, storage_url: str | None, *, to_run: bool = False) -> Study:
        """Raises InputError where the storage has no study of that name, or one that is not pomona's."""
        storage = open_storage(storage_url, require_existing=True)
        if to_run:
            storage = open_storage(storage_url)
        names = study_names(storage)
        if name not in names:
            known = f"there is {', '.join(names)}" if names else "the storage has none yet"
            raise InputError(f"unknown study {name!r}; {known}")
        study = optuna.load_study(study_name=name, storage=storage)
        text = study.user_attrs.get(ATTRIBUTE)
        if text is None:
            raise InputError(f"study {name!r} was not made by pomona: it has no settings")
        return Study(study, Settings.from_json(text, name), storage_url)

    def extend(self, trials: int, timeout: float | None) -> None:
        """Keeps a new number of trials and time limit for later runs."""
        if (trials, timeout) != (self.settings.trials, self.settings.timeout):
            self.settings = replace(self.settings, trials=trials, timeout=timeout)
            self._study.set_user_attr(ATTRIBUTE, self.settings.to_json())

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Held by the one process that runs the study; the operating system lets go of it when that process dies.

        Raises:
            InputError: another process runs it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder / "run.lock", blocking=False)
        try:
            with lock:
                yield
        except filelock.Timeout:
            raise InputError(f"study {self.name!r} is being run by another process: wait for it, or stop it") from None

    def is_running(self) -> bool:
        path = self.folder / "run.lock"
        if not path.exists():
            return False
        try:
            with filelock.FileLock(path, blocking=False):
                return False
        except filelock.Timeout:
            return True

    def proposals(self, space: SearchSpace, trials: int) -> Iterator[Proposal]:
        """Trials to run: those that were interrupted, then new ones until the study has `trials` that ended.

        A config that ended before is not proposed again: its record answers, as a trial of its own.
        """
        for left in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            # Killed between two parameters, it lacks some: those that it has are kept.
            self._seed_sampler(left.number, trials)
            trial = optuna.Trial(self._study, left._trial_id)
            yield self._proposal(trial, suggest(trial, space))
        while self.ended < trials:
            self._seed_sampler(len(self._study.get_trials(deepcopy=False)) - self._waiting(), trials)
            trial = self._study.ask()
            config = suggest(trial, space)
            if (earlier := self._answered(config, trial.number)) is not None:
                self._answer(trial, earlier)
            else:
                yield self._proposal(trial, config)

    def report(self, number: int, epoch: int, value: float) -> None:
        """Keeps the validation value after `epoch`; a second report of one epoch changes nothing."""
        trial = self._open[number]
        if epoch not in self._study.get_trials(deepcopy=False)[number].intermediate_values:
            trial.report(value, epoch)

    def should_prune(self, number: int) -> bool:
        """Whether the pruner gives the trial up. The recipe always runs to its end: it is the baseline."""
        trial = self._open[number]
        # The pruner is asked in any case: that is how the recipe's values come to compete with the others'.
        return trial.should_prune() and not trial.user_attrs.get("recipe")

    def finish(self, number: int, result: FitResult) -> None:
        """Records how a trial ended."""
        trial = self._open.pop(number)
        for key, value in attributes_of(result, self.settings.engine).items():
            trial.set_user_attr(key, value)
        if result.state == State.INFEASIBLE and FEASIBLE not in trial.constraints:
            trial.set_constraint(FEASIBLE, 1.0)
        state = final_state(result)
        value = result.value if state == TrialState.COMPLETE else None
        self._study.tell(number, value, state=state)

    def trial_folder(self, number: int) -> Path:
        """Where a trial keeps its checkpoint while it is under way."""
        return self.folder / "trials" / f"{number:05d}"

    def keep_traceback(self, number: int, text: str) -> None:
        atomic_write_bytes(self.folder / "failures" / f"{number:05d}.txt", text.encode())

    def records(self) -> list[TrialRecord]:
        """Every trial that was started, in the order of their numbers."""
        trials = self._study.get_trials(deepcopy=False)
        return [record_of(t, self.name, self.settings.source) for t in trials if t.state != TrialState.WAITING]

    def counts(self) -> dict[str, int]:
        """How many trials are in each state, those that ran to their end first."""
        states = [record.state for record in self.records()]
        return {state: states.count(state) for state in STATE_ORDER if state in states}

    def best(self) -> TrialRecord | None:
        """The first row of the leaderboard, if any trial ran to its end."""
        complete = [record for record in self.records() if record.state == "complete" and record.value is not None]
        sign = -1 if self.settings.direction == "maximize" else 1
        return min(complete, key=lambda record: (sign * (record.value or 0.0), record.number), default=None)

    def trial(self, number: int) -> TrialRecord:
        """Raises InputError where the study has no such trial."""
        for record in self.records():
            if record.number == number:
                return record
        raise InputError(f"study {self.name!r} has no trial {number}")

    def status(self) -> dict[str, Any]:
        """Where the study stands, as plain data."""
        best, settings = self.best(), self.settings
        return {
            "study": self.name,
            "task": settings.task,
            "data": settings.source,
            "fingerprint": settings.fingerprint,
            "metric": settings.metric,
            "target": settings.target,
            "running": self.is_running(),
            "trials": settings.trials,
            "epochs": settings.epochs,
            "ended": self.ended,
            "states": self.counts(),
            "seconds": round(sum(record.seconds for record in self.records()), 1),
            "best": best
            and {
                "number": best.number,
                "value": best.value,
                "n": best.n,
                "ci95": best.ci95,
                "groups_ci95": best.groups_ci95,
                "params": best.config,
            },
        }

    @property
    def ended(self) -> int:
        """How many trials have ended, however they did."""
        return len(self._study.get_trials(deepcopy=False, states=_ENDED))

    def _proposal(self, trial: optuna.Trial, config: Config) -> Proposal:
        self._open[trial.number] = trial
        trial.set_user_attr("seed", self.settings.seed)
        return Proposal(trial.number, config, self.settings.seed)

    def _waiting(self) -> int:
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def _seed_sampler(self, number: int, trials: int) -> None:
        """Each trial has a sampler seeded by its number, so that an interrupted study proposes the same."""
        with _experimental():
            self._study.sampler = TPESampler(
                n_startup_trials=min(10, max(4, trials // 4)),
                multivariate=True,
                group=True,  # keeps conditional dimensions in the model
                seed=number_of(self.settings.seed, number) % 2**32,
            )

    def _answered(self, config: Config, number: int) -> optuna.trial.FrozenTrial | None:
        """The first earlier trial of an equal config that ended with a result."""
        key = config_key(config)
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
            if trial.number < number and config_key(dict(trial.params)) == key:
                return trial
        return None

    def _answer(self, trial: optuna.Trial, earlier: optuna.trial.FrozenTrial) -> None:
        for epoch, value in earlier.intermediate_values.items():
            trial.report(value, epoch)
        for key, kept in earlier.user_attrs.items():
            if key not in ("recipe", "note"):
                trial.set_user_attr(key, kept)
        trial.set_user_attr("seconds", 0.0)
        trial.set_user_attr("note", f"same config as trial {earlier.number}, answered from its record")
        for key, violation in earlier.constraints.items():
            trial.set_constraint(key, violation)
        self._study.tell(trial.number, earlier.value, state=earlier.state)


@contextlib.contextmanager
def _experimental() -> Iterator[None]:
    """Optuna calls these parts experimental; which version is installed is ours to know, not the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def make_pruner(name: str, epochs: int) -> optuna.pruners.BasePruner:
    """Hyperband (Li et al. 2018, JMLR 18-185) or the median rule, by epoch; or none."""
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3)
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)
    if name == "none":
        return optuna.pruners.NopPruner()
    raise InputError(f"unknown pruner {name!r}: hyperband, median or none")


def _shown(settings: Settings) -> dict[str, object]:
    """The settings that are worth a line on the study's page in optuna-dashboard."""
    return {
        "task": settings.task,
        "data": settings.source,
        "data fingerprint": settings.fingerprint,
        "target": settings.target,
        "budget": f"{settings.trials} trials of {settings.epochs} epochs",
        "versions": settings.environment.get("versions", {}),
        "commit": settings.environment.get("commit", ""),
    }
