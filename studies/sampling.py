"""How the next config is chosen, and which trial is given up: Optuna's rules, kept affordable for many trials."""

from __future__ import annotations

import binascii
import bisect
import contextlib
import copy
import itertools
import math
import warnings
from collections.abc import Callable, Container, Iterator
from typing import Any, final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from search_spaces import Config, InputError, SearchSpace
from training.machine.seeds import number_of

from .edges.optuna import distribution_of
from .history import History
from .records import confirms_of
from .samplers import optuna_sampler

# Trials that the sampler learns from; see docs/decisions/0007.
LOOK_BACK = 3000
# What a Gaussian process computes grows with the cube of their number; CMA-ES needs whole generations, and cheaply.
_LOOK_BACKS = {"gp": 300, "cmaes": 10**9}
_REDUCTION = 3
# How Optuna names the value that a trial had at a rung.
_RUNG = "completed_rung_"


def make_sampler(
    study: optuna.Study,
    history: History,
    space: SearchSpace,
    *,
    name: str = "auto",
    seed: int,
    trials: int | None,
    fixed: Config,
    storage: BaseStorage | None = None,
) -> BaseSampler:
    """The sampler called `name` (see `optuna_sampler`), without the `fixed` dimensions.

    `trials` are those that the study shall have: of few, few are drawn at random. What the sampler keeps with a trial
    goes to `storage`, by default to the study's.
    """
    with experimental():
        sampler = optuna_sampler(name, space, study.direction, seed=seed, trials=trials, fixed=fixed)
    distributions = {name: distribution_of(dimension) for name, dimension in space.dimensions.items()}
    one_per_parameter_set = history.one_per_parameter_set()
    informative = history.informative(_LOOK_BACKS.get(name, LOOK_BACK), distributions)
    views = (_View(study, seen, sampler, storage) for seen in (lambda: one_per_parameter_set, lambda: informative))
    return _Seeing(sampler, *views)


@final
class Draft(optuna.trial.FixedTrial):
    """A trial that is not in the storage yet: it gets the values that `optuna.Trial` would.

    So a trial is written whole, in one record, or not at all.
    """

    def __init__(self, study: optuna.Study, history: History, space: SearchSpace, number: int, **options: Any) -> None:
        """`options` are those of `make_sampler`, of which `fixed` are values that stand."""
        super().__init__(dict(options["fixed"]), number)
        kept = _Attributes()
        self.kept = kept.of_trial
        """What the sampler wants to be kept with the trial."""
        self._sampler = make_sampler(study, history, space, storage=kept, **options)  # type: ignore[arg-type]
        self._study = study
        self._trial = optuna.trial.create_trial(state=TrialState.RUNNING)
        self._trial.number = number
        self._relative: tuple[dict[str, BaseDistribution], dict[str, Any]] | None = None

    def template(self, attributes: dict[str, Any], kept: dict[str, Any]) -> FrozenTrial:
        """What `create_new_trial` takes; `attributes` are the user's to see, `kept` are not."""
        return optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=self._suggested_params,
            distributions=self._distributions,
            user_attrs=attributes,
            system_attrs=self.kept | kept,
        )

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        value = self._value(name, distribution)
        self._suggested_params[name], self._distributions[name] = value, distribution
        return value

    def _value(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._params:
            return self._params[name]
        if distribution.single():
            return distribution.to_external_repr(_only(distribution))
        if self._relative is None:
            sampler = self._sampler
            there = sampler.infer_relative_search_space(self._study, self._trial)
            self._relative = there, sampler.sample_relative(self._study, self._trial, there)
        _, values = self._relative
        if name in values and distribution._contains(distribution.to_internal_repr(values[name])):
            return values[name]
        return self._sampler.sample_independent(self._study, self._trial, name, distribution)


@final
class _Attributes:
    """The part of a storage that a sampler writes to."""

    def __init__(self) -> None:
        self.of_trial: dict[str, Any] = {}

    def set_trial_system_attr(self, _trial_id: int, key: str, value: Any) -> None:
        self.of_trial[key] = value


def _only(distribution: BaseDistribution) -> float:
    """The one value of a distribution that has no other, as Optuna keeps it."""
    return 0.0 if isinstance(distribution, CategoricalDistribution) else distribution.low  # type: ignore[attr-defined]


def sampler_seed(study_seed: int, number: int) -> int:
    """Each trial's own, so that an interrupted study proposes the same."""
    return number_of(study_seed, number) % 2**32


def make_pruner(name: str, epochs: int) -> BasePruner:
    """Hyperband (Li et al. 2018, JMLR 18-185) or the median rule, by epoch; or none."""
    if name == "hyperband":
        return Brackets(epochs)
    if name == "median":
        return Searched(MedianPruner(n_startup_trials=4, n_warmup_steps=1))
    if name == "none":
        return NopPruner()
    raise InputError(f"unknown pruner {name!r}: hyperband, median or none")


@final
class Brackets(BasePruner):
    """What `optuna.pruners.HyperbandPruner(1, epochs, 3)` decides; for one study.

    Optuna's finds the bracket of every trial of the study anew at every question.
    """

    def __init__(self, epochs: int) -> None:
        count = math.floor(math.log(epochs, _REDUCTION)) + 1
        self._rules = [
            SuccessiveHalvingPruner(
                min_resource=1, reduction_factor=_REDUCTION, min_early_stopping_rate=bracket, bootstrap_count=0
            )
            for bracket in range(count)
        ]
        # How many trials of every so many go to each bracket.
        shares = (math.ceil(count * _REDUCTION**left / (left + 1)) for left in reversed(range(count)))
        self._bounds = list(itertools.accumulate(shares))
        self._numbers: list[list[int]] = [[] for _ in range(count)]
        self._bracket_of_number: list[int | None] = []
        self._searched = 0

    def bracket_of(self, study_name: str, number: int) -> int:
        place = binascii.crc32(f"{study_name}_{number}".encode()) % self._bounds[-1]
        return bisect.bisect_right(self._bounds, place)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        if trial.number >= len(self._bracket_of_number):
            self._deal(study)
        bracket = self._bracket_of_number[trial.number]
        if bracket is None:
            return False
        before = self._before(trial, bracket)

        def rivals() -> list[FrozenTrial]:
            trials = self._deal(study)
            asked_again = {} if before is trial else {trial.number}
            return [trials[number] for number in self._numbers[bracket] if number not in asked_again]

        return self._rules[bracket].prune(_View(study, rivals, study.sampler), before)

    def _deal(self, study: optuna.Study) -> list[FrozenTrial]:
        """All trials of the study, of which the new ones are put into brackets as if there were no confirmations."""
        trials = study.get_trials(deepcopy=False)
        for trial in trials[len(self._bracket_of_number) :]:
            bracket = None
            if confirms_of(trial) is None:
                bracket = self.bracket_of(study.study_name, self._searched)
                self._numbers[bracket].append(trial.number)
                self._searched += 1
            self._bracket_of_number.append(bracket)
        return trials

    def _before(self, trial: FrozenTrial, bracket: int) -> FrozenTrial:
        """The trial as if it had not been asked about at its last step: a second question gets the first answer.

        Killed between its verdict and the record of it, a trial is asked about again.
        """
        decided = {
            key
            for key in trial.system_attrs
            if key.startswith(_RUNG) and trial.last_step == _REDUCTION ** (bracket + int(key.removeprefix(_RUNG)))
        }
        if not decided:
            return trial
        before = copy.copy(trial)
        before.system_attrs = {key: value for key, value in trial.system_attrs.items() if key not in decided}
        return before


@final
class Searched(BasePruner):
    """A pruner that compares searched trials with searched trials alone, not with those that confirm them."""

    def __init__(self, rule: BasePruner) -> None:
        self._rule = rule

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        def searched() -> list[FrozenTrial]:
            return [other for other in study.get_trials(deepcopy=False) if confirms_of(other) is None]

        return self._rule.prune(_View(study, searched, study.sampler), trial)


@final
class _View(optuna.Study):
    """A study of which Optuna sees some trials only."""

    def __init__(
        self,
        study: optuna.Study,
        seen: Callable[[], list[FrozenTrial]],
        sampler: BaseSampler,
        storage: BaseStorage | None = None,
    ) -> None:
        # As if it had been pickled: a new `optuna.Study` would ask the storage for its number.
        self.__setstate__(study.__getstate__())
        self.sampler = sampler
        if storage is not None:
            self._storage = storage
        self._seen = seen

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        # Samplers and pruners ask for what they only read: nothing is copied.
        return [trial for trial in self._seen() if states is None or trial.state in states]


@final
class _Seeing(BaseSampler):
    """A sampler that is shown views instead of the study: one for which dimensions there are, one for the values.

    Which dimensions there are takes TPE as long as everything else, as it goes by all trials for it.
    """

    def __init__(self, sampler: BaseSampler, one_per_parameter_set: _View, view: _View) -> None:
        self._sampler = sampler
        self._kinds = one_per_parameter_set
        self._view = view

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(self._kinds, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        with _quiet():
            return self._sampler.sample_relative(self._view, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(self._view, trial, param_name, param_distribution)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What a sampler says of its own fits is nothing that a user could do something about."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


@contextlib.contextmanager
def experimental() -> Iterator[None]:
    """Optuna calls these parts experimental; which version is installed is ours to know, not the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
