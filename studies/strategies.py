"""Which strategy a study follows, with what it needs to know about costs."""

from __future__ import annotations

import functools

from search_spaces import Config
from training import PrefixStore, load_backbone, structure_part
from training.lanes.costs import CostModel
from training.models.ladder import ladder_of
from training.scoring.racing import FOLDS

from .accounts import Accounts
from .confirmed import ToConfirm
from .final_runs import final_runs, reserved_seconds
from .plan import Plan
from .portfolio import portfolio_for
from .records import TrialRecord
from .request import RUNGS
from .rungs import Rungs
from .strategy import Finished, Strategy
from .study import Study
from .whole import Whole


def costs_of(plan: Plan, seed: int) -> CostModel:
    """What predicts the costs of a plan's runs."""
    return CostModel(
        plan.task,
        plan.data,
        epochs=plan.epochs,
        seed=seed,
        numerics=plan.numerics,
        device=plan.device,
        backbones=functools.partial(load_backbone, weights_dir=plan.weights_dir, download=plan.download),
        store=PrefixStore(),
    )


def strategy_of(study: Study, plan: Plan, costs: CostModel | None = None) -> tuple[Accounts, Strategy | None]:
    """The strategy of a search, told of all trials that ended; None where the sampler alone proposes.

    `costs` predict for it; None are new ones.
    """
    if study.settings.strategy != RUNGS or study.is_confirming:
        return Accounts(), None
    seed, space = study.settings.seed, plan.task.space
    costs = costs or costs_of(plan, seed)
    ladder = ladder_of(space, asked=study.settings.fixed)
    strategy: Rungs | Whole
    if ladder is not None:
        strategy = Rungs(
            ladder,
            costs,
            metric=study.settings.metric,
            direction=study.settings.direction,
            lanes=plan.lanes,
            seed=seed,
            recipe=plan.task.recipe,
            portfolio=[config for config in portfolio_for(space) if ladder.agrees(config)],
        )
    else:

        def structure_of(generator: object) -> Config:
            return structure_part(space.sample(generator))  # type: ignore[arg-type]

        strategy = Whole(structure_of, costs, seed=seed, recipe=plan.task.recipe)
    begun: set[int] = set()
    for record in study.records():
        if record.state in ("complete", "pruned", "infeasible") and record.confirms is None:
            if record.group not in begun:
                begun.add(record.group)
                strategy.began(record.config)
                strategy.done(record.config)
            strategy.ended(finished_trial(record))
    return Accounts(costs), strategy


def is_on_rungs(study: Study, plan: Plan) -> bool:
    """Whether a study's search has cheap trials and dear ones; not where whole networks are trained."""
    return study.settings.strategy == RUNGS and ladder_of(plan.task.space) is not None


def final_runs_of(study: Study, costs: CostModel, left: float, workers: int = 1) -> list[ToConfirm]:
    """The runs on fresh seeds that end a search with `left` seconds to go; see `final_runs`."""
    return final_runs(
        study.records(),
        direction=study.settings.direction,
        seed=study.settings.seed,
        left=left,
        seconds=costs.seconds_in_turn,
        structure_of=structure_part,
        done=lambda run: study.runs_ended([run]) > 0,
        workers=workers,
    )


def reserved_for_final_runs(study: Study, costs: CostModel, timeout: float, left: float, workers: int = 1) -> float:
    """Of a search's `timeout`, what is kept for these with `left` seconds to go; see `reserved_seconds`."""
    return reserved_seconds(
        study.records(),
        direction=study.settings.direction,
        timeout=timeout,
        left=left,
        seconds=costs.seconds_in_turn,
        workers=workers,
    )


def finished_trial(record: TrialRecord) -> Finished:
    """What a strategy learns from a trial; of cross-validation, what held every example out at least once.

    The value of a trial that was given up on its way is not one that its structure would have come to.
    """
    whole = record.cv_value is not None and record.cv_folds >= FOLDS
    value = record.value if record.state == "complete" else None
    crossed = record.cv_value if whole else None
    return Finished(
        record.number, record.config, value, record.n, crossed, record.cv_n, given_up=record.state == "pruned"
    )
