"""K-fold on kept features: what it says of a lane, and that it changes nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces import Config
from training import (
    CrossValidated,
    Epoch,
    FitResult,
    GroupFolder,
    GroupRunner,
    Job,
    LaneGroup,
    Member,
    Prefixes,
    PrefixStore,
    Splits,
    spec_of,
)
from training.lanes import cross_validation
from training.lanes.optimisation import make_optimizer
from training.scoring import racing
from training.scoring.racing import FOLDS

from ...toys import TOY, toy_backbone, toy_splits

EPOCHS = 3
HEAD = TOY.space.activate(TOY.recipe | {"unfrozen_stages": 0, "augmentation": 0})
CHANGES: tuple[Config, ...] = (
    {"learning_rate": 0.02},
    {"learning_rate": 0.05, "dropout": 0.3},
    {"learning_rate": 0.03, "head_width": 8},
    {"optimizer": "sgd", "learning_rate": 0.1},
    {"learning_rate": 1e-4},
    {"optimizer": "sgd", "learning_rate": 0.02, "label_smoothing": 0.1},
)
CONFIGS = [TOY.space.activate(HEAD | {"momentum": 0.9} | changes) for changes in CHANGES]
ABOUT = {"data": "toys"}


@pytest.fixture
def shared(tmp_path: Path) -> Prefixes:
    return Prefixes(backbones=toy_backbone, store=PrefixStore(tmp_path / "store"))


def trained(
    shared: Prefixes,
    configs: list[Config] | None = None,
    *,
    splits: Splits | None = None,
    folder: Path | None = None,
    cross_validate: bool = True,
    seed: int = 3,
) -> GroupRunner:
    members = tuple(Member(key, config) for key, config in enumerate(CONFIGS if configs is None else configs))
    job = Job(members, seed, EPOCHS, latest=EPOCHS, cross_validate=cross_validate)
    saves = None if folder is None else GroupFolder((folder,), ABOUT, EPOCHS)
    data = toy_splits() if splits is None else splits
    return GroupRunner(TOY, job, lambda _resolution: data, shared, saves=saves, passes_on=True)


def results(made: GroupRunner) -> dict[int, FitResult]:
    found: dict[int, FitResult] = {}
    for event in made.run():
        if isinstance(event, Epoch):
            found |= event.ended
    return found


def crossed(made: GroupRunner) -> dict[int, CrossValidated]:
    """Without the seconds, which are never twice the same."""
    said = {key: result.cross_validated for key, result in results(made).items()}
    return {key: replace(each, seconds=0.0) for key, each in said.items() if each is not None}


def without_clock(result: FitResult) -> FitResult:
    curve = tuple(replace(epoch, seconds=0.0) for epoch in result.curve)
    return replace(result, curve=curve, seconds=0.0, cross_validated=None)


def group_of(shared: Prefixes, configs: list[Config]) -> LaneGroup:
    splits = toy_splits()
    structure = spec_of(configs[0]).structure(len(shared.backbone("toy").stages))
    group = LaneGroup(TOY, splits, structure, epochs=EPOCHS, seed=3, prefixes=shared)
    for key, config in enumerate(configs):
        group.add(key, config)
    return group


def test_the_fixed_split_says_the_same_with_and_without_it(shared: Prefixes) -> None:
    """To the last digit."""
    plain, both = results(trained(shared, cross_validate=False)), results(trained(shared))
    assert {key: without_clock(result) for key, result in both.items()} == {
        key: without_clock(result) for key, result in plain.items()
    }
    assert any(result.cross_validated is not None for result in both.values())
    assert all(result.cross_validated is None for result in plain.values())


def test_lanes_and_random_numbers_are_left_as_they_were(shared: Prefixes) -> None:
    group = group_of(shared, CONFIGS)
    for _ in range(EPOCHS):
        group.train_epoch()
    before = [group.state(lane.key) for lane in group.lanes]
    torch.manual_seed(1)
    assert cross_validation.cross_validate(group, list(range(len(CONFIGS))))
    drawn = torch.rand(3)
    for lane, state in zip(group.lanes, before, strict=True):
        after = group.state(lane.key)
        assert after.curve == state.curve
        assert after.predictions is not None
        assert state.predictions is not None
        assert torch.equal(after.predictions, state.predictions)
        assert all(torch.equal(after.tensors[name], tensor) for name, tensor in state.tensors.items())
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))


def test_one_seed_gives_one_result_and_another_one_another(shared: Prefixes, tmp_path: Path) -> None:
    first = crossed(trained(shared))
    elsewhere = Prefixes(backbones=toy_backbone, store=PrefixStore(tmp_path / "elsewhere"))
    assert first
    assert first == crossed(trained(shared)) == crossed(trained(elsewhere))
    assert first != crossed(trained(shared, seed=4))


def test_a_lane_trains_on_a_fold_in_company_as_it_does_alone(shared: Prefixes) -> None:
    group = group_of(shared, CONFIGS)
    examples = cross_validation._Pooled(group)
    rows = torch.arange(0, len(examples), 2)
    features = torch.randn(len(examples), 16, generator=torch.Generator().manual_seed(0))
    by_shape: dict[Any, list[Any]] = {}
    for lane in group.lanes:
        by_shape.setdefault(group.head_shape(lane.spec), []).append(lane)
    assert max(map(len, by_shape.values())) > 1
    for shape, lanes in by_shape.items():
        together = cross_validation._trained(group, shape, lanes, features, examples.labels, rows, 5)
        for key, outputs in zip(together.keys, together.predictions(features), strict=True):
            own = [lane for lane in lanes if lane.key == key]
            alone = cross_validation._trained(group, shape, own, features, examples.labels, rows, 5)
            torch.testing.assert_close(alone.predictions(features)[0], outputs, rtol=1e-5, atol=1e-5)


def test_a_fold_trains_a_head_as_a_run_does(shared: Prefixes) -> None:
    """On all rows in the run's seed, it is the run."""
    group = group_of(shared, CONFIGS[1:2])
    for _ in range(EPOCHS):
        group.train_epoch()
    train, (lane,) = group.splits.train, group.lanes
    features = shared.block(train, group.structure, group.stages, strength=0, view=0)
    shape = group.head_shape(lane.spec)
    stack = cross_validation._trained(group, shape, [lane], features, train.labels, torch.arange(len(train)), 3)
    head = group.new_head(lane.spec, 0)
    stack.copy_to(0, head, make_optimizer(lane.spec.optimizer, head.parameters()))
    for name, kept in group.state(0).tensors.items():
        assert torch.equal(head.state_dict()[name.removeprefix("model.head.")], kept)


def test_no_example_is_scored_by_a_head_that_saw_its_group(shared: Prefixes, monkeypatch: pytest.MonkeyPatch) -> None:
    saw: list[set[int]] = []
    held: list[np.ndarray[Any, Any]] = []
    real_training, real_add = cross_validation._trained, racing.Race.add

    def watched(*arguments: Any) -> Any:
        saw.append(set(arguments[5].tolist()))
        return real_training(*arguments)

    def heard(race: racing.Race, examples: Any, scores: Any) -> None:
        if len(saw):
            held.append(examples)
            rows = saw[-1]
            assert rows.isdisjoint(examples.tolist())
            assert {groups[row] for row in rows}.isdisjoint(groups[row] for row in examples.tolist())
            assert len(rows) + len(examples) == len(groups)
        real_add(race, examples, scores)

    splits = toy_splits()
    groups = [*splits.train.groups, *splits.valid.groups]
    monkeypatch.setattr(cross_validation, "_trained", watched)
    monkeypatch.setattr(racing.Race, "add", heard)
    said = crossed(trained(shared))
    assert max(each.folds for each in said.values()) == len(held)
    assert len(held) % FOLDS == 0
    for repeat in range(0, len(held), FOLDS):
        assert sorted(np.concatenate(held[repeat : repeat + FOLDS]).tolist()) == list(range(len(groups)))


def test_the_race_is_bounded_and_whoever_stays_is_scored_on_everything(shared: Prefixes) -> None:
    said = crossed(trained(shared))
    assert 0 < len(said) < len(CONFIGS)
    values = {key: result.value for key, result in results(trained(shared)).items()}
    assert max(values, key=lambda key: values[key] or 0) in said
    for each in said.values():
        assert each.estimate.low <= each.value <= each.estimate.high
        assert each.folds % FOLDS == 0 or each.stopped == cross_validation.BEHIND
    assert any(not each.stopped for each in said.values())


def test_a_lane_alone_is_scored_on_everything_once(shared: Prefixes) -> None:
    (said,) = crossed(trained(shared, CONFIGS[:1])).values()
    assert (said.folds, said.stopped) == (FOLDS, "")


@pytest.mark.parametrize(
    "config",
    [
        HEAD | {"augmentation": 1, "views": 2},
        HEAD | {"unfrozen_stages": 1, "fine_tune_share": 0.5, "fine_tune_rate": 0.1, "batch_norm": "batch"},
    ],
    ids=["augmented", "unfrozen"],
)
def test_other_runs_keep_the_fixed_split(shared: Prefixes, config: Config) -> None:
    config = TOY.space.activate(config)
    assert crossed(trained(shared, [config, config | {"learning_rate": 0.01}])) == {}


def test_without_kept_features_or_enough_groups_there_is_none(shared: Prefixes) -> None:
    assert crossed(trained(Prefixes(backbones=toy_backbone))) == {}
    whole = toy_splits()

    def one_group(name: str) -> Any:
        split = whole.named(name)
        assert split is not None
        return replace(split, groups=tuple(f"class {label}" for label in split.labels.tolist()))

    alike = replace(whole, train=one_group("train"), valid=one_group("valid"))
    assert crossed(trained(shared, splits=alike)) == {}


class Stopped(KeyboardInterrupt):
    pass


def test_a_stop_within_it_leaves_the_group_as_it_was_before(
    shared: Prefixes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = results(trained(shared))
    real = cross_validation._trained

    def stop() -> None:
        raise Stopped

    def interrupted(*arguments: Any) -> Any:
        shared.check_stop = stop
        return real(*arguments)

    monkeypatch.setattr(cross_validation, "_trained", interrupted)
    events = trained(shared, folder=tmp_path / "group").run()
    with pytest.raises(Stopped):
        list(events)
    monkeypatch.undo()
    shared.check_stop = lambda: None
    again = [event for event in trained(shared, folder=tmp_path / "group").run() if isinstance(event, Epoch)]
    assert [event.epoch for event in again] == [EPOCHS]
    for key, result in again[0].ended.items():
        assert without_clock(result) == without_clock(whole[key])
        mine, kept = result.cross_validated, whole[key].cross_validated
        assert (mine and replace(mine, seconds=0.0)) == (kept and replace(kept, seconds=0.0))


def test_what_breaks_in_it_takes_nothing_from_the_runs(shared: Prefixes, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_arguments: Any) -> Any:
        raise MemoryError

    plain = results(trained(shared, cross_validate=False))
    monkeypatch.setattr(cross_validation, "_trained", short)
    assert {key: without_clock(result) for key, result in results(trained(shared)).items()} == {
        key: without_clock(result) for key, result in plain.items()
    }


def test_intervals_of_shares_stay_within_them() -> None:
    for value, error, groups in [(1.0, 0.0, 30), (0.99, 0.005, 30), (0.0, 0.0, 12), (0.5, 0.05, 100)]:
        estimate = cross_validation._estimate(value, error, groups, "accuracy")
        assert 0 <= estimate.low <= value <= estimate.high <= 1
        assert estimate.low < estimate.high
    middle = cross_validation._estimate(0.5, 0.05, 100, "accuracy")
    assert middle.high - middle.low == pytest.approx(2 * 1.96 * 0.05, rel=0.03)
    of_numbers = cross_validation._estimate(3.0, 0.5, 200, "rmse")
    assert of_numbers.high - 3 == pytest.approx(1.97 * 0.5, rel=0.01)
    assert math.isfinite(of_numbers.low)


def test_equal_examples_are_in_one_fold_whatever_their_groups_are_called(shared: Prefixes) -> None:
    splits = toy_splits()
    keys = [*splits.train.keys, *splits.valid.keys]
    # The first of each half of `train` are copies of each other, and so are two across the splits.
    copies = {0: 24, 1: 25, 2: len(splits.train)}
    for copy, original in copies.items():
        keys[copy] = keys[original]
    train, valid = keys[: len(splits.train)], keys[len(splits.train) :]
    changed = replace(
        splits, train=replace(splits.train, keys=tuple(train)), valid=replace(splits.valid, keys=tuple(valid))
    )
    made = trained(shared, CONFIGS[:1], splits=changed)
    found: list[Any] = []
    pooled = cross_validation._Pooled

    class Seen(pooled):  # type: ignore[misc, valid-type]
        def __init__(self, group: LaneGroup) -> None:
            super().__init__(group)
            found.append(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cross_validation, "_Pooled", Seen)
        results(made)
    (examples,) = found
    for repeat in range(3):
        folds = examples.folds(repeat)
        assert folds is not None
        assert all(folds[copy] == folds[original] for copy, original in copies.items())
