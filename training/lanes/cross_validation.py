"""Heads on kept features by repeated grouped K-fold, beside the fixed split: what tells configs apart at little cost.

The examples of the training and the validation split together are dealt to folds by group. For each fold the heads of
all lanes that are still in the race train as the lanes did, side by side on the features of the others, and are scored
on those of the fold. Nothing goes through a frozen stage again, and nothing of the lanes changes.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces import is_numeric, limits_of

from ..data.batches import EVALUATION_BATCH, batch_count, order_of
from ..data.copies import united_groups
from ..data.folds import grouped_folds
from ..data.splits import Split
from ..machine.seeds import number_of
from ..scoring.intervals import Estimate, wilson
from ..scoring.racing import FOLDS, Race, entrants, t_quantile
from .group import LaneGroup
from .heads import HeadShape, HeadStack, stacked
from .lane import Lane
from .optimisation import make_optimizer
from .results import CrossValidated

MOST_REPEATS = 3
SHARE = 2.0
"""Of the work of the lanes' training on the fixed split, in weights times examples: so many times as much is a race's
room. In time it is up to one more, as a stack of fewer heads costs more a head. The best lane alone may take more."""

BEHIND = "clearly behind"
# What the folds and what trains on them is seeded by, beside the purposes of a training's own numbers.
_FOLDS, _TRAINING = 101, 102


def cross_validate(group: LaneGroup, keys: Sequence[int]) -> dict[int, CrossValidated]:
    """Cross-validates lanes that have all their epochs behind them; of the worse ones there may be no result.

    The best by their values on the fixed split enter a race (`racing.py`), as many as `SHARE` has room for. After each
    fold those leave that are clearly behind; the others are scored on every example, again and again while several are
    left and there is room, at most `MOST_REPEATS` times. The folds depend on the examples, their groups and the seed
    alone, so lanes of other structures are scored on the same ones.

    Returns:
        By key; empty where the lanes do not read kept plain features of pretrained stages, or the examples are too few.

    Raises:
        Exception: what the prefixes' `check_stop` raises, or running out of memory; the group is as it was.
    """
    if not keys or not _reads_plain_features(group):
        return {}
    examples = _Pooled(group)
    if examples.folds(0) is None:
        return {}
    lanes = {lane.key: lane for lane in group.lanes if lane.key in keys}
    return _Racing(group, examples, lanes).run()


def _reads_plain_features(group: LaneGroup) -> bool:
    """Whether all that the lanes train on and are scored on is kept, in one view of each example."""
    prefixes, structure = group.prefixes, group.structure
    if structure.augmentation or group.stages != structure.cut:
        return False
    plans = [prefixes.plan(split, structure, augmented=False) for split in (group.splits.train, group.splits.valid)]
    return all(plan.pretrained and plan.kept(structure.cut) for plan in plans)


class _Pooled:
    """The training and the validation examples of a group, one after the other."""

    def __init__(self, group: LaneGroup) -> None:
        splits = (group.splits.train, group.splits.valid)
        self.labels = torch.cat([split.labels for split in splits])
        names = [name for split in splits for name in _groups_of(split)]
        # Equal examples belong together whatever their groups are called.
        contents = [key for split in splits for key in split.keys or split.names]
        self.groups = _numbers(united_groups(names, contents))
        self.valid_groups = self.groups[len(group.splits.train) :]
        self._seed = group.seed
        numeric = is_numeric(group.task.metric)
        self._classes = np.zeros(len(self), np.int64) if numeric else self.labels.numpy()
        self._metric = group.objective.metric

    def __len__(self) -> int:
        return len(self.labels)

    def folds(self, repeat: int) -> NDArray[np.int64] | None:
        """The fold (n,) of each example; None where there are too few for that."""
        folds = grouped_folds(self._classes, self.groups, FOLDS, seed=number_of(self._seed, repeat, _FOLDS))
        if folds is None or any(self._metric.undefined(self.labels[folds == fold]) for fold in range(FOLDS)):
            return None
        return folds


def _groups_of(split: Split) -> Sequence[str]:
    """Equal examples count as one group where the data names none."""
    return split.groups or split.keys or split.names


def _numbers(names: Sequence[str]) -> NDArray[np.int64]:
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


class _Racing:
    """One race of some lanes of a group."""

    def __init__(self, group: LaneGroup, examples: _Pooled, lanes: dict[int, Lane]) -> None:
        self._group = group
        self._examples = examples
        self._sign = 1.0 if group.task.direction == "maximize" else -1.0
        works = {key: float(sum(p.numel() for p in lane.head.parameters())) for key, lane in lanes.items()}
        # In weights times examples; each fold trains on all others.
        self._room = SHARE * len(group.splits.train) * sum(works.values())
        self._work_of_repeat = {key: work * (FOLDS - 1) * len(examples) for key, work in works.items()}
        self._lanes = self._entrants(lanes)
        self._race = Race(len(self._lanes), examples.groups)
        self._folds_done = [0] * len(self._lanes)
        self._seconds = [0.0] * len(self._lanes)

    def _entrants(self, lanes: dict[int, Lane]) -> list[Lane]:
        """Those that enter, best first, without who is clearly behind on the validation split already."""
        keys = list(lanes)
        values = [self._sign * lanes[key].curve[-1].value for key in keys]
        chosen = [keys[p] for p in entrants(values, [self._work_of_repeat[key] for key in keys], self._room)]
        before = Race(len(chosen), self._examples.valid_groups)
        labels = self._group.splits.valid.labels
        scores = [self._scores(lanes[key].predictions, labels) for key in chosen]
        before.add(np.arange(len(labels)), np.stack(scores))
        before.drop_behind()
        return [lanes[chosen[place]] for place in before.running]

    def _scores(self, predictions: torch.Tensor, labels: torch.Tensor) -> NDArray[np.float64]:
        """(n,), the more the better."""
        contributions = self._group.objective.metric.contributions(predictions, labels)
        return self._sign * contributions.numpy()

    def run(self) -> dict[int, CrossValidated]:
        stopped = dict.fromkeys(range(len(self._lanes)), "")
        features = self._features()
        for repeat in range(MOST_REPEATS):
            running = self._race.running
            work = sum(self._work_of_repeat[self._lanes[place].key] for place in running)
            if repeat and (len(running) == 1 or work > self._room):
                break
            folds = self._examples.folds(repeat)
            if folds is None:
                break
            for fold in range(FOLDS):
                self._room -= sum(self._work_of_repeat[self._lanes[place].key] for place in self._race.running) / FOLDS
                self._score(features, folds, repeat, fold)
                stopped |= dict.fromkeys(self._race.drop_behind(), BEHIND)
        return {lane.key: self._result(place, stopped[place]) for place, lane in enumerate(self._lanes)}

    def _features(self) -> torch.Tensor:
        """(n, width), in one piece, on the device if both splits' are there."""
        group = self._group
        blocks = [
            group.prefixes.block(split, group.structure, group.stages, strength=0, view=0)
            for split in (group.splits.train, group.splits.valid)
        ]
        if len({block.device for block in blocks}) > 1:
            blocks = [block.cpu() for block in blocks]
        return torch.cat(blocks)

    def _score(self, features: torch.Tensor, folds: NDArray[np.int64], repeat: int, fold: int) -> None:
        """Trains the heads that are running without a fold, and tells the race how they do on it."""
        rows = torch.from_numpy(np.flatnonzero(folds != fold))
        held = np.flatnonzero(folds == fold)
        labels = self._examples.labels[torch.from_numpy(held)]
        seed = number_of(self._group.seed, repeat * FOLDS + fold, _TRAINING)
        by_shape: defaultdict[HeadShape, list[int]] = defaultdict(list)
        for place in self._race.running:
            by_shape[self._group.head_shape(self._lanes[place].spec)].append(place)
        scores: dict[int, NDArray[np.float64]] = {}
        for shape, places in by_shape.items():
            started = time.perf_counter()
            lanes = [self._lanes[place] for place in places]
            stack = _trained(self._group, shape, lanes, features, self._examples.labels, rows, seed)
            outputs = [
                stack.predictions(features[index.to(features.device)].to(self._group.prefixes.device))
                for index in torch.split(torch.from_numpy(held), EVALUATION_BATCH)
            ]
            objective = self._group.objective
            predictions = objective.absolute(objective.metric.predictions(torch.cat(outputs, 1)).cpu())
            of_key = dict(zip(stack.keys, predictions, strict=True))
            scores |= {place: self._scores(of_key[self._lanes[place].key], labels) for place in places}
            seconds = (time.perf_counter() - started) / len(places)
            for place in places:
                self._folds_done[place] += 1
                self._seconds[place] += seconds
        self._race.add(held, np.stack([scores[place] for place in self._race.running]))

    def _result(self, place: int, stopped: str) -> CrossValidated:
        mean, error, groups = self._race.standing(place)
        estimate = _estimate(self._sign * mean, error, groups, self._group.task.metric)
        return CrossValidated(estimate, self._folds_done[place], stopped, self._seconds[place])


def _trained(
    group: LaneGroup,
    shape: HeadShape,
    lanes: Sequence[Lane],
    features: torch.Tensor,
    labels: torch.Tensor,
    rows: torch.Tensor,
    seed: int,
) -> HeadStack:
    """New heads, trained on `rows` (m,) of features (n, width) and labels (n,) as lanes are on theirs."""
    device, check_stop = group.prefixes.device, group.prefixes.check_stop
    batch_size = group.structure.batch_size
    stack = HeadStack(shape, device, group.stages, group.prefixes.numerics, loss=group.objective.loss)
    batches = batch_count(len(rows), batch_size)
    for lane in lanes:
        head = group.new_head(lane.spec, seed)
        (phase,) = lane.phases
        place = stacked(lane.key, lane.spec, phase, batches, seed=seed, done=0)
        stack.add(place, head, make_optimizer(lane.spec.optimizer, head.parameters()))
    for epoch in range(1, group.epochs + 1):
        order = [rows[index] for index in order_of(len(rows), batch_size, seed=seed, epoch=epoch)]
        stack.begin(epoch, order)
        for number, index in enumerate(order):
            check_stop()
            batch = features[index.to(features.device)].to(device)
            stack.train(number, batch, labels[index].to(device, non_blocking=True))
        stack.end(len(rows))
    return stack


def _estimate(value: float, error: float, groups: int, metric: str) -> Estimate:
    """The 95 % interval of a value with a standard error over `groups` independent samples.

    A share's is Wilson's, of as many samples as would have that error; never of more than there are groups where all
    of them are alike (Korn and Graubard, Survey Methodology 1998, for the effective number).
    """
    if is_numeric(metric):
        half, (least, most) = t_quantile(0.975, groups - 1) * error, limits_of(metric)
        return Estimate(value, groups, max(value - half, least), min(value + half, most))
    effective = round(value * (1 - value) / error**2) if error else groups
    found = wilson(value, max(effective, 1))
    return Estimate(value, groups, found.low, found.high)
