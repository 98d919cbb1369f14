"""A study: trials proposed, reported and recorded in Optuna's storage."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from search_spaces import Config, InputError, SearchSpace
from training import FitResult, Numerics, State, atomic_write_bytes

from .creation import create_study
from .database import database_of
from .edges.optuna import suggest
from .history import History
from .names import check_name, check_new_name, shown
from .patience import Patience
from .records import FEASIBLE, GROUP, START, STATE_ORDER, TrialRecord, attributes_of, final_state, record_of
from .run_lock import FileRunLock, ServerRunLock, refuse_links
from .sampling import make_pruner, make_sampler, sampler_seed
from .settings import ATTRIBUTE, Settings
from .storage import is_on_server, open_storage, output_folder, storage_exists, study_names, together

# So many names of studies at most in one message.
_MOST_NAMED = 10
# Where Optuna keeps the values that a trial was enqueued with.
_HELD = "fixed_params"


@dataclass(frozen=True)
class Proposal:
    """A trial to be run: its config was suggested, or belongs to a trial that was interrupted.

    `group` is the number of the trial that the lanes beside it began with, `start` the tick at which it joined them.
    """

    number: int
    config: Config
    seed: int
    group: int
    start: int


class Study:
    """One study in a storage. Whoever runs it holds `running()` meanwhile."""

    def __init__(self, study: optuna.Study, settings: Settings, storage_url: str | None, patience: Patience) -> None:
        self._study = study
        self._patience = patience
        self._open: dict[int, optuna.Trial] = {}
        self._history = History(study)
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
        check_new_name(name)
        patience = Patience()
        storage = open_storage(storage_url, patience=patience)
        return Study(create_study(name, storage, settings, recipe), settings, storage_url, patience)

    @staticmethod
    def open(name: str, storage_url: str | None, *, to_run: bool = False) -> Study:
        """Raises InputError where the storage has no study of that name, or one that is not pomona's."""
        check_name(name)
        patience = Patience()
        storage = open_storage(
            storage_url, require_existing=not (to_run and storage_exists(storage_url)), patience=patience
        )
        names = study_names(storage)
        if name not in names:
            some = ", ".join(shown(known) for known in names[:_MOST_NAMED])
            more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
            raise InputError(
                f"unknown study {shown(name)}; " + (f"there is {some}{more}" if names else "the storage has none yet")
            )
        study = optuna.load_study(study_name=name, storage=storage)
        text = study.user_attrs.get(ATTRIBUTE)
        if text is None:
            raise InputError(f"study {name!r} was not made by pomona: it has no settings")
        return Study(study, Settings.from_json(text, name), storage_url, patience)

    def extend(self, trials: int, timeout: float | None) -> None:
        """Keeps a new number of trials and time limit for later runs."""
        if (trials, timeout) != (self.settings.trials, self.settings.timeout):
            self.settings = replace(self.settings, trials=trials, timeout=timeout)
            self._study.set_user_attr(ATTRIBUTE, self.settings.to_json())

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Held by the one process that runs the study; a lock lets go of it when that process dies.

        Raises:
            InputError: another process runs it, here or, where the storage is a server, anywhere. Also where another
                program deletes the study meanwhile, or ends a trial that is under way.
        """
        refuse_links(self.folder)
        lock = self._run_lock()
        with lock.held():
            if isinstance(lock, ServerRunLock):
                self._patience.keep_alive = lock.renew
            try:
                yield
            except optuna.exceptions.UpdateFinishedTrialError:
                raise InputError(
                    f"another program ended a trial of study {self.name!r} that was under way: resume the study"
                ) from None
            except KeyError:
                if self.name in study_names(self._study._storage):
                    raise
                raise InputError(f"study {self.name!r} was deleted while it ran") from None
            finally:
                self._patience.reset()

    def is_running(self) -> bool:
        """Whether some process holds `running()`."""
        return self._run_lock().is_held()

    def _run_lock(self) -> FileRunLock | ServerRunLock:
        if not is_on_server(self.storage_url):
            return FileRunLock(self.folder, self.name)
        database = database_of(self._study._storage)
        return ServerRunLock(
            database.engine, self.id, self.name, dialect=database.engine.dialect.name, patience=self._patience
        )

    def wait_with(self, check: Callable[[], None]) -> None:
        """From now on the storage waits without a limit for a lost connection or a lock, calling `check` meanwhile.

        `check` ends the wait by raising. What it reads of the study may be as it was when the wait began.
        """
        self._patience.check, self._patience.limit = check, None

    def together(self) -> contextlib.AbstractContextManager[None]:
        """All that is recorded inside reaches the disk at once, at its end: one wait instead of dozens.

        Other processes that write to the same journal wait meanwhile, so no training belongs inside. A kill before the
        end is as if it had come before the beginning, or after the first few records; both can be resumed. Does
        nothing where the storage is a database.
        """
        return together(self._study._storage)

    def proposals(self, space: SearchSpace, trials: int) -> Iterator[Proposal]:
        """Trials to run, one after the other: those that were interrupted, then new ones; see `left` and `ask`."""
        yield from self.left(space, trials)
        while (proposal := self.ask(space, trials)) is not None:
            yield proposal

    def left(self, space: SearchSpace, trials: int) -> list[Proposal]:
        """The trials that are under way for the storage; to be called while none is: then a kill left them."""
        with self.together():
            self._history.refresh()
            return [self._resumed(trial._trial_id, space, trials) for trial in self._history.running]

    def ask(
        self,
        space: SearchSpace,
        trials: int,
        *,
        structure: Config | None = None,
        group: int | None = None,
        start: int = 1,
    ) -> Proposal | None:
        """A new trial, or None once `trials` of the study's have ended or are under way.

        The dimensions in `structure` are held at its values. Trials that wait in the storage come first as they are:
        the recipe, which is trial 0. A config that ended before is not proposed again: its record answers, as a trial
        of its own. `group` and `start` are kept with the trial; without a group it begins one.

        Raises:
            InputError: `structure` names a dimension that is not there, or a value that it can't have.
        """
        structure = structure or {}
        space.fix(structure)
        while True:
            with self.together():
                self._history.refresh()
                if self._history.ended + len(self._history.running) >= trials:
                    return None
                trial = self._opened(self._claimed(structure), trials)
                config = suggest(trial, space)
                earlier = self._history.first_of(config)
                if earlier is None or earlier.number > trial.number:
                    trial.set_user_attr(GROUP, trial.number if group is None else group)
                    trial.set_user_attr(START, start)
                    return self._proposal(trial, config)
                self._answer(trial, earlier)

    def answer(self, number: int, earlier: int) -> None:
        """Ends a trial with the record of another one of an equal config, which has ended."""
        self._history.refresh()
        record = self._history.numbered(earlier)
        assert record is not None
        with self.together():
            self._answer(self._open.pop(number), record)

    def members(self, group: int) -> int:
        """How many trials were put into a group so far, ended ones included."""
        self._history.refresh()
        return self._history.members[group]

    def report(self, number: int, epoch: int, value: float) -> None:
        """Keeps the validation value after `epoch`; a second report of one epoch changes nothing."""
        if not self.has_value(number, epoch):
            self._open[number].report(value, epoch)

    def has_value(self, number: int, epoch: int) -> bool:
        """Whether a trial under way has its validation value after `epoch` in the storage."""
        return epoch in self._study._storage.get_trial(self._open[number]._trial_id).intermediate_values

    def report_many(self, values: Mapping[int, tuple[int, float]]) -> None:
        """Keeps (epoch, value) of several trials; see `report`."""
        with self.together():
            for number, (epoch, value) in values.items():
                self.report(number, epoch, value)

    def should_prune(self, number: int) -> bool:
        """Whether the pruner gives the trial up. The recipe always runs to its end: it is the baseline."""
        trial = self._open[number]
        # The pruner is asked in any case: that is how the recipe's values come to compete with the others'.
        return trial.should_prune() and not trial.user_attrs.get("recipe")

    def prune_many(self, numbers: Iterable[int]) -> set[int]:
        """Those of several trials that the pruner gives up, asked in the order of `numbers`; see `should_prune`."""
        with self.together():
            return {number for number in numbers if self.should_prune(number)}

    def finish(self, number: int, result: FitResult) -> None:
        """Records how a trial ended."""
        trial = self._open.pop(number)
        with self.together():
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
        self._refresh()
        counts = self._history.counts()
        return {state: counts[state] for state in STATE_ORDER if counts[state]}

    def best(self) -> TrialRecord | None:
        """The first row of the leaderboard, if any trial ran to its end."""
        self._refresh()
        trial = self._history.best()
        return None if trial is None else record_of(trial, self.name, self.settings.source)

    def trial(self, number: int) -> TrialRecord:
        """Raises InputError where the study has no such trial."""
        self._history.refresh()
        trial = self._history.numbered(number)
        if trial is None or trial.state == TrialState.WAITING:
            raise InputError(f"study {self.name!r} has no trial {number}")
        return record_of(trial, self.name, self.settings.source)

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
        self._refresh()
        return self._history.ended

    def _refresh(self) -> None:
        """For what is shown meanwhile: a storage that waits can't be read."""
        if not self._patience.is_checking:
            self._history.refresh()

    def _claimed(self, structure: Config) -> int:
        """Optuna's id of the trial that is next: one that waits, else a new one."""
        if self._history.waiting:
            return self._study.ask()._trial_id
        if not structure:
            return self._study._storage.create_new_trial(self.id)
        # Kept in the record that makes the trial, as if it had been enqueued: left by a kill, it goes on with them.
        held = optuna.trial.create_trial(state=TrialState.RUNNING, system_attrs={_HELD: structure})
        return self._study._storage.create_new_trial(self.id, template_trial=held)

    def _opened(self, trial_id: int, trials: int) -> optuna.Trial:
        """The trial with a sampler of its own."""
        stored = self._study._storage.get_trial(trial_id)
        self._study.sampler = make_sampler(
            self._study,
            self._history,
            seed=sampler_seed(self.settings.seed, stored.number),
            trials=trials,
            held=stored.system_attrs.get(_HELD, {}),
        )
        return optuna.Trial(self._study, trial_id)

    def _resumed(self, trial_id: int, space: SearchSpace, trials: int) -> Proposal:
        # Killed between two parameters, it lacks some: those that it has are kept.
        trial = self._opened(trial_id, trials)
        return self._proposal(trial, suggest(trial, space))

    def _proposal(self, trial: optuna.Trial, config: Config) -> Proposal:
        self._open[trial.number] = trial
        trial.set_user_attr("seed", self.settings.seed)
        kept = trial.user_attrs
        return Proposal(
            trial.number,
            config,
            self.settings.seed,
            group=int(kept.get(GROUP, trial.number)),
            start=int(kept.get(START, 1)),
        )

    def _answer(self, trial: optuna.Trial, earlier: optuna.trial.FrozenTrial) -> None:
        for epoch, value in earlier.intermediate_values.items():
            trial.report(value, epoch)
        for key, kept in earlier.user_attrs.items():
            if key not in ("recipe", "note", GROUP):
                trial.set_user_attr(key, kept)
        trial.set_user_attr("seconds", 0.0)
        trial.set_user_attr("note", f"same config as trial {earlier.number}, answered from its record")
        for key, violation in earlier.constraints.items():
            trial.set_constraint(key, violation)
        self._study.tell(trial.number, earlier.value, state=earlier.state)
