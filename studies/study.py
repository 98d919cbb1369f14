"""A study: trials proposed, reported and recorded in Optuna's storage."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import optuna

from search_spaces import Config, SearchSpace
from training.machine.precision import Numerics

from .adoption import adopt
from .attempts import Attempts
from .confirmed import ToConfirm
from .creation import create_study, keep_settings, stored_study
from .drivers import Elsewhere, drivers_of
from .groups import Groups
from .history import History
from .names import check_name, check_new_name
from .outputs import FOLDER, KeptOutputs
from .patience import Patience
from .plan import Budget
from .proposals import Proposal, Proposer
from .recorded import RecordedStudy
from .recording import Recording
from .records import FIXED, RECIPE
from .request import NO_PRUNER, PRUNERS
from .running import Running, making
from .sampling import make_pruner
from .settings import LIMITS, Settings
from .storage import open_storage, output_folder, storage_exists, together
from .strategy import Arm

if TYPE_CHECKING:
    from .engines.engine import AbstractEngine


class Study(RecordedStudy):
    """One study in a storage. Whoever runs it holds `running()` meanwhile."""

    def __init__(self, study: optuna.Study, settings: Settings, storage_url: str | None, patience: Patience) -> None:
        history = History(study)
        self._attempts = Attempts(study._storage, study._study_id)
        self._proposer = Proposer(study, history, self._attempts, settings)
        self._open = self._proposer.open
        folder = output_folder(storage_url) / study.study_name
        self.drivers = drivers_of(study, history, self._open, folder, patience)
        """What is known of other drivers; None where there can't be any."""
        running = Running(
            study, self._attempts, self.drivers, storage_url=storage_url, folder=folder, patience=patience
        )
        super().__init__(study, history, running, settings, storage_url, patience)
        # The runs that are to be trained while the study confirms trials, None while it searches.
        self._confirming: Container[str] | None = None
        self.groups = Groups(
            study,
            history,
            self._attempts,
            self._open,
            source=settings.source,
            is_confirming=lambda: self.is_confirming,
        )
        if self.drivers is not None:
            self._proposer.opened = self.drivers.gave
            self._proposer.answered = self.drivers.answered
            self._proposer.adopt = lambda trial, lost: adopt(trial, lost, self.trial_folder)
        self._study.pruner = make_pruner(settings.pruner, settings.epochs)
        self.outputs = KeptOutputs(folder / FOLDER, settings.direction)
        self.recording = Recording(
            study,
            history,
            self._proposer,
            self.drivers,
            self.outputs,
            folder,
            is_confirming=lambda: self.is_confirming,
        )

    @property
    def numerics(self) -> Numerics:
        """One choice for all trials of the study, so that they can be compared."""
        return self.settings.numerics

    @property
    def budget(self) -> Budget:
        """That of the latest run."""
        return self.settings.budget

    @staticmethod
    def create(name: str, storage_url: str | None, settings: Settings, recipe: Config) -> Study:
        """A new study with the recipe enqueued as trial 0.

        Raises:
            InputError: the name can't be one; `NameTakenError` where it is taken, also by a process that is about to
                make it.
        """
        check_new_name(name)
        patience = Patience()
        storage = open_storage(storage_url, patience=patience)
        with making(name, storage, storage_url, patience):
            study = create_study(name, storage, settings, recipe)
        return Study(study, settings, storage_url, patience)

    @staticmethod
    def open(name: str, storage_url: str | None, *, to_run: bool = False) -> Study:
        """Raises InputError where the storage has no study of that name, or one that is not pomona's."""
        check_name(name)
        patience = Patience()
        storage = open_storage(
            storage_url, require_existing=not (to_run and storage_exists(storage_url)), patience=patience
        )
        return Study(*stored_study(name, storage), storage_url, patience)

    def extend(self, limits: Settings, command: str = "") -> None:
        """Keeps new limits for later runs, of settings that may differ in others too, and the command that asked for
        them."""
        old = self.settings
        new = replace(old, **{name: getattr(limits, name) for name in LIMITS})
        if command and command != (old.later_commands or (old.command,))[-1]:
            new = replace(new, later_commands=(*old.later_commands, command))
        if new == old:
            return
        self.settings = new
        with self.together():
            keep_settings(self._study, new, old)

    def running(self) -> contextlib.AbstractContextManager[None]:
        """Held by the one process that runs the study; a lock lets go of it when that process dies.

        Raises:
            InputError: another process runs it, here or, where the storage is a server, anywhere. Also where another
                program deletes the study meanwhile, or ends a trial that is under way.
        """
        return self._running.alone()

    def joined(self) -> contextlib.AbstractContextManager[None]:
        """Inside, this process gives trials of the study beside others that do so; only in a database.

        Trials that are under way at the end are given back, for others to try.

        Raises:
            InputError: the storage has one driver at a time, or another program deletes the study meanwhile.
        """
        return self._running.joined()

    def check_joinable(self) -> None:
        """Raises InputError where the storage has one driver at a time."""
        self._running.check_joinable()

    def enqueue(self, configs: Iterable[tuple[Config, str]]) -> int:
        """Lets configs wait for their turn, in order, each with the note of its trial.

        One may lack dimensions, which the sampler chooses; whether they lie in the space is for the caller to check.
        Those that the search has had, or that wait already, are left out. Returns how many are new.
        """
        with self._asking(), self.together():
            self._history.refresh()
            return self._proposer.enqueue_configs(configs)

    @contextlib.contextmanager
    def confirming(self, runs: Sequence[ToConfirm]) -> Iterator[None]:
        """Inside, the study gives trials for these runs and none of the search; outside it is the other way round.

        Runs that are not there yet are enqueued.
        """
        with self._asking(), self.together():
            self._history.refresh()
            self._proposer.enqueue(runs)
        self._confirming = {run.key for run in runs}
        try:
            yield
        finally:
            self._confirming = None

    def wait_with(self, check: Callable[[], None]) -> None:
        """From now on the storage waits without a limit for a lost connection or a lock, calling `check` meanwhile.

        `check` ends the wait by raising. What it reads of the study may be as it was when the wait began.
        """
        self._patience.check, self._patience.limit = check, None

    def ran_by(self, engine: AbstractEngine) -> None:
        """Says which engine runs the trials from now on."""
        self._proposer.engine = engine.name
        self._attempts.has_workers = engine.has_processes

    def together(self) -> contextlib.AbstractContextManager[None]:
        """All that is recorded inside reaches the disk at once, at its end: one wait instead of dozens.

        Other processes that write to the same journal wait meanwhile, so no training belongs inside. A kill before the
        end is as if it had come before the beginning, or, in a journal, after the first few records; both can be
        resumed. In PostgreSQL and SQLite they are one transaction, and other processes don't wait.
        """
        return together(self._study._storage)

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """What is read inside is as it was when it was first read, where reading means to ask a database."""
        return contextlib.nullcontext() if self.drivers is None else self.together()

    def proposals(self, space: SearchSpace, trials: int | None) -> Iterator[Proposal]:
        """Trials to run, one after the other: those that were interrupted, then new ones; see `left` and `ask`."""
        yield from self.left(space, trials)
        while (proposal := self.ask(space, trials)) is not None:
            yield proposal

    def left(self, space: SearchSpace, trials: int | None) -> list[Proposal]:
        """The trials that are under way for the storage; to be called while none is: then a kill left them.

        Those that others began, with values that the space has not, fail here. Those of drivers that have joined are
        theirs, and one that joins takes over none. See also `confirming`.
        """
        if self.has_joined:
            return []
        with self.together():
            self._history.refresh()
            under_way = self._history.running(self._confirming)
            ours = [trial for trial in under_way if not self._attempts.is_of_another(trial)]
            resumed = (self._proposer.resumed(trial, space, trials) for trial in ours)
            return [proposal for proposal in resumed if proposal is not None]

    def ask(
        self,
        space: SearchSpace,
        trials: int | None,
        *,
        structure: Config | None = None,
        seed: int | None = None,
        group: int | None = None,
        origin: int | None = None,
        arm: Arm | None = None,
        waiting_only: bool = False,
    ) -> Proposal | None:
        """A new trial, or None once `trials` of the search's have ended or are under way; see also `confirming`.

        The dimensions in `structure` are fixed at its values, and with `seed` no trial of another seed is given. Trials
        that wait in the storage come first as they are: the recipe, which is trial 0. While one waits that is of
        another structure or seed, or that the sampler has to complete, no trial is given for `structure`. One that
        waits with values that the space has not fails. `group` and `origin` are kept with the trial (see `Proposal`);
        without a group it begins one.

        Where the sampler proposes a config that ended before with the same seed, its record answers, as a trial of its
        own. Without a number of `trials`, such a config is drawn again instead, and so is one that is under way; None
        says then that none was found that has not been tried.

        With `waiting_only` no trial is given but one that waits.

        Raises:
            InputError: `structure` names a dimension that is not there, or a value that it can't have.
        """
        structure = structure or {}
        space.fix(structure)
        with self._asking():
            while True:
                with self.together():
                    self._history.refresh()
                    if not self._has_more(trials):
                        return None
                    if waiting := self._history.waiting(self._confirming):
                        values = waiting[0].system_attrs.get(FIXED, {})
                        own = self._proposer.seed_of(waiting[0].user_attrs)
                        differs = any(name not in values or values[name] != value for name, value in structure.items())
                        if differs or seed not in (None, own):
                            return None
                        proposal = self._proposer.claimed(waiting[0], space, trials, group, origin)
                    elif waiting_only or self._confirming is not None or seed not in (None, self.settings.seed):
                        return None
                    else:
                        proposal = self._proposer.drawn(space, trials, structure, group, origin, arm)
                        if proposal is None and trials is None:
                            return None
                    if proposal is not None or arm is not None:
                        return proposal

    def _asking(self) -> contextlib.AbstractContextManager[None]:
        """Inside, no other driver makes trials, whose numbers are by their order."""
        return contextlib.nullcontext() if self.drivers is None else self.drivers.asking()

    def trials_left(self, trials: int | None) -> int | None:
        """How many new trials a search may still have; None is no limit, as while trials are confirmed."""
        self._history.refresh()
        if trials is None or self.is_confirming:
            return None
        return max(trials - self._history.ended - len(self._history.running()), 0)

    def has_waiting(self) -> bool:
        """Whether a trial waits in the storage to be given by `ask`."""
        self._history.refresh()
        return bool(self._history.waiting(self._confirming))

    @property
    def recipe_note(self) -> str:
        """Why the recipe was not run, empty where it was."""
        return str(self._study.user_attrs.get(RECIPE, ""))

    def keep_recipe_note(self, note: str) -> None:
        """Keeps it for who reads the study."""
        if note != self.recipe_note:
            self._study.set_user_attr(RECIPE, note)

    @property
    def is_confirming(self) -> bool:
        return self._confirming is not None

    @property
    def gives_up(self) -> bool:
        """Whether trials that lead nowhere are given up at all."""
        return self.settings.pruner != NO_PRUNER

    def has_pruner(self, *, halves: bool) -> bool:
        """Whether trials are judged by a pruner; `halves` says that the strategy does what the default one would."""
        return not halves or self.is_confirming or self.settings.pruner != PRUNERS[0]

    def _has_more(self, trials: int | None) -> bool:
        if trials is None:
            return True
        return self._confirming is not None or self._history.ended + len(self._history.running()) < trials

    def wait_for_others(self, trials: int | None) -> bool:
        """Whether other drivers have trials of the search under way, or left some of the `trials` to be retried;
        returns after a moment then. While it confirms trials, a study has one driver."""
        if trials is None or self.drivers is None or self.is_confirming:
            return False
        return self.drivers.wait(has_place=self._has_more(trials))

    def elsewhere(self) -> Elsewhere:
        """What other drivers did since this was last asked."""
        return Elsewhere() if self.drivers is None else self.drivers.elsewhere()

    @property
    def has_joined(self) -> bool:
        """Whether this process is a driver beside others."""
        return bool(self._attempts.driver)


def open_study(name: str, storage_url: str | None) -> Study:
    """A study to be read."""
    return Study.open(name, storage_url)
