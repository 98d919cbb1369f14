"""Which trial is next: one that a kill left, one that waits in the storage, or one that the sampler draws."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Config, InputError, SearchSpace
from training import FitResult, State

from .attempts import Attempts
from .confirmed import ToConfirm
from .edges.optuna import suggest
from .history import History
from .records import (
    CONFIRMS,
    FEASIBLE,
    FEATURES,
    FIXED,
    FURTHER,
    GROUP,
    MEMORY,
    ORIGIN,
    PART,
    PROMOTED_FROM,
    RECIPE,
    RETRIES,
    RUNG,
    SEED,
    SEPARATE,
    START,
    attributes_of,
    config_key,
    final_state,
    is_done,
    run_key,
)
from .sampling import Draft, make_sampler, sampler_seed
from .settings import Settings
from .strategy import Arm, Further

# So often a config that is known is drawn again before there is none left.
_REDRAWS = 50
# What a trial keeps of itself, whatever trial answers it.
_OWN = (RECIPE, RUNG, FEATURES, PROMOTED_FROM, "note", GROUP, ORIGIN, PART, START, SEPARATE, SEED, CONFIRMS, RETRIES)
# What may come of values that others have put into the storage.
_UNFIT = (InputError, ValueError, TypeError, KeyError)


@dataclass(frozen=True)
class Proposal:
    """A trial to be run: its config was suggested, or belongs to a trial that was interrupted.

    `group` is the number of the first trial that it trains with, `origin` that of the trial at which its structure was
    chosen, which several groups may have in common. `part` is the number of the first of those with which it goes on
    where the group was divided; `lost` is how often a process died while it trained. A trial that retries a lost one
    goes on after epoch `saved`. `further` is how else one that was interrupted is scored, None where no
    strategy chose it.
    """

    number: int
    config: Config
    seed: int
    group: int
    origin: int
    part: int | None = None
    lost: int = field(default=0, compare=False)
    saved: int = 0
    further: Further | None = None


class Proposer:
    """Gives the trials of a study; those that it gave and that have not ended are in `open`."""

    def __init__(self, study: optuna.Study, history: History, attempts: Attempts, settings: Settings) -> None:
        self.open: dict[int, optuna.Trial] = {}
        self.engine = settings.engine
        """What is kept of each trial as the engine that ran it."""
        self.opened: Callable[[optuna.Trial], None] = lambda _trial: None
        """Called with each trial that is given."""
        self.answered: Callable[[optuna.Trial], None] = lambda _trial: None
        """Called with each that has ended without being trained, in place of being given."""
        self.adopt: Callable[[optuna.Trial, FrozenTrial], int] = lambda _trial, _lost: 0
        """Called with a trial that retries a lost one; see `adoption`."""
        self._study = study
        self._history = history
        self._attempts = attempts
        self._settings = settings

    def claimed(
        self, waiting: FrozenTrial, space: SearchSpace, trials: int | None, group: int | None, origin: int | None
    ) -> Proposal | None:
        """A trial that waits; None where it ended at once, or where another program took it meanwhile."""
        # First, so that nobody finds it under way and nobody's.
        self._attempts.begin([waiting])
        if not self._study._storage.set_trial_state_values(waiting._trial_id, TrialState.RUNNING):
            return None
        trial = self._opened(waiting._trial_id, space, trials)
        if (config := self._suggested(trial, space)) is None:
            return None
        if self._answered(trial, config):
            return None
        for name, kept in _lanes(trial.number, group, origin).items():
            trial.set_user_attr(name, kept)
        lost = self._history.numbered(waiting.user_attrs.get(RETRIES, -1))
        saved = 0 if lost is None or group is not None else self.adopt(trial, lost)
        return replace(self._proposal(trial, config), saved=saved)

    def drawn(
        self,
        space: SearchSpace,
        trials: int | None,
        structure: Config,
        group: int | None,
        origin: int | None,
        arm: Arm | None = None,
    ) -> Proposal | None:
        """A trial that was not there; None where it ended at once. It is written in one record.

        Without a number of `trials` none ends at once: then None says that no config was found that is new. With an
        `arm` the trial keeps its rung, and which trial it was promoted from.
        """
        number = self._history.size
        drawn = self._draft(space, number, trials, structure)
        if drawn is None:
            return None
        draft, config = drawn
        attributes: dict[str, Any] = {SEED: self._settings.seed}
        if arm is not None:
            attributes |= self._of_arm(arm, promoted=group is None)
        if self._history.first_of(config, self._settings.seed) is None:
            attributes |= _lanes(number, group, origin)
        marks = self._attempts.under_way()
        if arm is not None:
            marks = {FURTHER: [arm.further.robust, arm.further.cross_validate], **marks}
        template = draft.template(attributes, {FIXED: structure, **marks} if structure else marks)
        trial = optuna.Trial(
            self._study, self._study._storage.create_new_trial(self._study._study_id, template_trial=template)
        )
        if trial.number != number and attributes.get(GROUP) == number:
            # Another program made one in between.
            trial.set_user_attr(GROUP, trial.number)
        if self._answered(trial, config) or self._is_too_large(trial, config):
            return None
        return self._proposal(trial, config)

    def _of_arm(self, arm: Arm, *, promoted: bool) -> dict[str, Any]:
        """What a trial keeps about why it was chosen; the first of a group is the one that was `promoted`."""
        attributes: dict[str, Any] = {RUNG: arm.rung}
        if arm.features:
            attributes |= {FEATURES: arm.features}
        if arm.recipe:
            attributes |= {RECIPE: True, "note": self._settings.recipe_note}
        elif promoted and arm.shipped:
            attributes |= {"note": "from the portfolio"}
        elif promoted and arm.parent is not None and arm.first:
            attributes |= {PROMOTED_FROM: arm.parent}
        return attributes

    def _draft(
        self, space: SearchSpace, number: int, trials: int | None, structure: Config
    ) -> tuple[Draft, Config] | None:
        """The sampler's proposal. Where nothing but time ends a search, one that is known is drawn again, at random:
        in a small space, or near the best, the sampler would go on proposing what was tried."""
        seed = sampler_seed(self._settings.seed, self._history.place_of(number))
        under_way = {run_key(dict(trial.params), self.seed_of(trial.user_attrs)) for trial in self._history.running()}
        for attempt in range(1 if trials is not None else 1 + _REDRAWS):
            name = self._settings.sampler if attempt == 0 else "random"
            own = sampler_seed(seed, attempt) if attempt else seed
            draft = Draft(
                self._study, self._history, space, number, name=name, seed=own, trials=trials, fixed=structure
            )
            config = suggest(draft, space)
            run = run_key(config, self._settings.seed)
            if trials is not None or (
                run not in under_way
                and self._history.first_of(config, self._settings.seed) is None
                and self._larger_than(config) is None
            ):
                return draft, config
        return None

    def _larger_than(self, config: Config) -> FrozenTrial | None:
        """A trial for which memory was short, and that needed no more of it than this config does."""
        from training.models.spec import needs_no_less  # loads torch, which who trains has

        return next((t for t in self._history.out_of_memory if needs_no_less(config, dict(t.params))), None)

    def _is_too_large(self, trial: optuna.Trial, config: Config) -> bool:
        """Ends a trial at once that would run out of memory, as one before it did."""
        if (earlier := self._larger_than(config)) is None:
            return False
        reason = f"out of memory: so was trial {earlier.number}, of the same structure with no larger batches"
        self.end(trial, FitResult(State.INFEASIBLE, reason, None, (), 0.0, self._with_seed(trial)))
        self.answered(trial)
        return True

    def enqueue(self, runs: Iterable[ToConfirm]) -> None:
        """Lets the runs that are neither done nor under way wait."""
        found = self._history.runs_confirmed()
        for run in runs:
            stored = found.get(run.key)
            if stored is None or (stored.state.is_finished() and not is_done(stored)):
                note = f"confirms trial {run.number}, fresh seed {run.nth}"
                self._study.enqueue_trial(run.config, {CONFIRMS: run.number, SEED: run.seed, "note": note})

    def enqueue_configs(self, configs: Iterable[tuple[Config, str]]) -> int:
        """Lets configs, or parts of some, wait with their notes; those that the search has had are left out.

        Returns how many wait now that did not.
        """
        # By what a trial was made from, and by what it became: a strategy fixes some of its config.
        known = {
            config_key(config)
            for trial in self._history.searched()
            for config in (trial.system_attrs.get(FIXED), trial.params)
            if config
        }
        added = 0
        for config, note in configs:
            if (key := config_key(config)) not in known:
                known.add(key)
                self._study.enqueue_trial(config, {"note": note})
                added += 1
        return added

    def _opened(self, trial_id: int, space: SearchSpace, trials: int | None) -> optuna.Trial:
        """The trial with a sampler of its own."""
        stored = self._study._storage.get_trial(trial_id)
        self._study.sampler = make_sampler(
            self._study,
            self._history,
            space,
            name=self._settings.sampler,
            seed=sampler_seed(self._settings.seed, self._history.place_of(stored.number)),
            trials=trials,
            fixed=stored.system_attrs.get(FIXED, {}),
        )
        return optuna.Trial(self._study, trial_id)

    def resumed(self, stored: FrozenTrial, space: SearchSpace, trials: int | None) -> Proposal | None:
        # Killed between two parameters, it lacks some: those that it has are kept.
        trial = self._opened(stored._trial_id, space, trials)
        if (config := self._suggested(trial, space)) is None:
            return None
        if self._answered(trial, config):
            return None
        proposal = self._proposal(trial, config)
        kept = stored.system_attrs.get(FURTHER)
        further = None if kept is None else Further(*map(bool, kept))
        return replace(proposal, lost=self._attempts.lost_with_driver(stored), further=further)

    def _suggested(self, trial: optuna.Trial, space: SearchSpace) -> Config | None:
        """The config of a trial that is in the storage. Where others gave it values that can't be, it fails: None."""
        try:
            for name, value in self._held(trial).items():
                if name not in space.dimensions:
                    raise InputError(f"unknown dimension {name!r}; the space has {', '.join(space.dimensions)}")
                # Optuna would round it, and keep what it was before.
                if (problem := space.dimensions[name].problem(value)) is not None:
                    raise InputError(f"{name} {problem}")
            with warnings.catch_warnings():
                # Said again, and better, by what is raised.
                warnings.filterwarnings("ignore", "Fixed parameter")
                return suggest(trial, space)
        except _UNFIT as error:
            reason = f"not a config of the space: {error}".partition("\n")[0]
            self.end(trial, FitResult(State.FAILED, reason, None, (), 0.0, self._settings.seed))
            return None

    def _held(self, trial: optuna.Trial) -> Config:
        fixed: Config = self._study._storage.get_trial(trial._trial_id).system_attrs.get(FIXED, {})
        return fixed

    def _answered(self, trial: optuna.Trial, config: Config) -> bool:
        """Ends a trial of a config that ended earlier, with the same seed, with its record."""
        earlier = self._history.first_of(config, self._with_seed(trial))
        if earlier is None or earlier.number > trial.number:
            return False
        self.answer(trial, earlier)
        self.answered(trial)
        return True

    def _proposal(self, trial: optuna.Trial, config: Config) -> Proposal:
        self.open[trial.number] = trial
        self.opened(trial)
        seed = self._with_seed(trial)
        kept = trial.user_attrs
        group = int(kept.get(GROUP, trial.number))
        if START in kept and PART not in kept:
            # One that an earlier version left may have joined its group late: it begins again, and alone.
            trial.set_user_attr(PART, trial.number)
        part = trial.number if START in kept else kept.get(PART)
        return Proposal(trial.number, config, seed, group=group, origin=int(kept.get(ORIGIN, group)), part=part)

    def seed_of(self, attributes: Mapping[str, Any]) -> int:
        """The seed that a trial was made with; the study's where it was made without, or with what can't be one."""
        seed = attributes.get(SEED)
        return seed if type(seed) is int and seed >= 0 else self._settings.seed

    def _with_seed(self, trial: optuna.Trial) -> int:
        """The seed of a trial, which from now on is kept with it."""
        attributes = trial.user_attrs
        if attributes.get(SEED) != (seed := self.seed_of(attributes)):
            trial.set_user_attr(SEED, seed)
        return seed

    def answer(self, trial: optuna.Trial, earlier: FrozenTrial) -> None:
        there = self._study._storage.get_trial(trial._trial_id).intermediate_values
        for epoch, value in earlier.intermediate_values.items():
            if epoch not in there:
                trial.report(value, epoch)
        for key, kept in earlier.user_attrs.items():
            if key not in _OWN:
                trial.set_user_attr(key, kept)
        trial.set_user_attr("seconds", 0.0)
        trial.set_user_attr("note", f"same config as trial {earlier.number}, answered from its record")
        for key, violation in earlier.constraints.items():
            trial.set_constraint(key, violation)
        self._study.tell(trial.number, earlier.value, state=earlier.state)

    def end(self, trial: optuna.Trial, result: FitResult) -> None:
        """Records how a trial ended, and those of its epochs that were not reported."""
        self._with_seed(trial)
        there = self._study._storage.get_trial(trial._trial_id).intermediate_values
        for epoch in result.curve[len(there) :]:
            if epoch.epoch not in there and result.state == State.COMPLETE:
                trial.report(epoch.value, epoch.epoch)
        for key, value in attributes_of(result, self.engine).items():
            # What the study says of all its trials is not repeated in each: a page of 10,000 trials has them all.
            if value != self._settings.common.get(key):
                trial.set_user_attr(key, value)
        if result.state == State.INFEASIBLE and FEASIBLE not in trial.constraints:
            trial.set_constraint(FEASIBLE, 1.0)
            if result.memory is not None:
                trial.set_constraint(MEMORY, result.memory.excess)
        state = final_state(result)
        value = result.value if state == TrialState.COMPLETE else None
        self._study.tell(trial.number, value, state=state)


def _lanes(number: int, group: int | None, origin: int | None) -> dict[str, Any]:
    """What a new trial keeps about its lanes; see `Proposal`. What follows from its group is not repeated."""
    group = number if group is None else group
    return {GROUP: group} if origin in (None, group) else {GROUP: group, ORIGIN: origin}
