"""Sharing changes what training costs, and nothing of what is learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search_spaces import Config, InputError
from training import FitResult, LaneGroup, Numerics, Prefixes, PrefixStore, State, fit, fit_lanes, spec_of
from training.lanes.lane_state import load_lane, save_lane

from ...toys import TOY, toy_backbone, toy_splits

EPOCHS = 4
BF16 = Numerics("bf16", channels_last=True)


def config(**changes: float | int | str) -> Config:
    """The toy recipe with some values; what they leave without meaning goes."""
    return TOY.space.activate(TOY.recipe | {"momentum": 0.9} | changes)


HEADS = [
    config(unfrozen_stages=0, learning_rate=0.02, dropout=0.0, label_smoothing=0.1),
    config(unfrozen_stages=0, learning_rate=0.005, dropout=0.5, weight_decay=0.05),
    config(unfrozen_stages=0, optimizer="sgd", learning_rate=0.05, dropout=0.2),
    config(unfrozen_stages=0, head_width=8, learning_rate=0.02, dropout=0.3),
    config(unfrozen_stages=0, learning_rate=0.03, dropout=0.25),
    config(unfrozen_stages=0, optimizer="sgd", head_width=8, learning_rate=0.1, weight_decay=0.01),
]
TUNED = [
    config(unfrozen_stages=2, fine_tune_share=0.5, learning_rate=0.02),
    config(unfrozen_stages=2, fine_tune_share=0.25, learning_rate=0.01, batch_norm="pretrained"),
    config(unfrozen_stages=2, fine_tune_share=0.5, optimizer="sgd", learning_rate=0.05, head_width=8),
]


def prefixes(store: Path | None = None, numerics: Numerics | None = None, unfrozen: int = 0) -> Prefixes:
    kept = PrefixStore(store, disk_limit=2**30, memory_limit=2**28) if store else None
    return Prefixes(backbones=toy_backbone, numerics=numerics, store=kept, unfrozen=unfrozen)


def alone(config: Config, shared: Prefixes | None = None, **options: object) -> FitResult:
    return fit(TOY, config, toy_splits(), epochs=EPOCHS, prefixes=shared or prefixes(), **options)  # type: ignore[arg-type]


def curve(result: FitResult) -> torch.Tensor:
    return torch.tensor([(epoch.loss, epoch.valid_loss) for epoch in result.curve], dtype=torch.float64)


def same(one: FitResult, other: FitResult, tolerance: float = 1e-5) -> None:
    assert one.state == other.state
    torch.testing.assert_close(curve(one), curve(other), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("configs", [HEADS, TUNED], ids=["heads", "unfrozen stages"])
@pytest.mark.parametrize("kept", [False, True], ids=["computed", "kept"])
def test_a_lane_among_others_equals_the_same_trial_alone(tmp_path: Path, configs: list[Config], kept: bool) -> None:
    shared = prefixes(tmp_path if kept else None)
    together = fit_lanes(TOY, configs, toy_splits(), epochs=EPOCHS, seed=3, prefixes=shared)
    for one, lane in zip(configs, together, strict=True):
        same(alone(one, seed=3), lane)
        assert lane.n == 24


@pytest.mark.parametrize("numerics", [Numerics(), BF16], ids=str)
@pytest.mark.parametrize("one", [HEADS[1], TUNED[0], config(unfrozen_stages="all")], ids=["head", "two", "all"])
def test_kept_prefixes_change_nothing(tmp_path: Path, one: Config, numerics: Numerics) -> None:
    unshared = alone(one, prefixes(numerics=numerics), seed=5)
    for unfrozen in (0, 2):
        shared = prefixes(tmp_path / str(unfrozen), numerics, unfrozen)
        same(alone(one, shared, seed=5), unshared)
        same(alone(one, shared, seed=5), unshared)


def test_new_views_in_every_epoch_are_shared_by_lanes_and_by_nothing_else(tmp_path: Path) -> None:
    fresh = [one | {"views": 0} for one in HEADS[:3]]
    store = PrefixStore(tmp_path, disk_limit=2**30, memory_limit=2**28)
    shared = Prefixes(backbones=toy_backbone, store=store)
    together = fit_lanes(TOY, fresh, toy_splits(), epochs=EPOCHS, seed=2, prefixes=shared)
    for one, lane in zip(fresh, together, strict=True):
        same(alone(one, seed=2), lane)
    assert not torch.equal(curve(together[0]), curve(alone(HEADS[0], seed=2)))
    # The validation images are as they are: only they are kept.
    assert {entry.key.augmentation for entry in store.usage() if entry.key} == {0}


def counting(shared: Prefixes, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many images went through the first stage so far."""
    seen = 0
    forward = Prefixes.forward

    def count(self: Prefixes, name: str, activations: torch.Tensor, first: int, last: int) -> torch.Tensor:
        nonlocal seen
        if first == 0:
            seen += len(activations)
        return forward(self, name, activations, first, last)

    monkeypatch.setattr(Prefixes, "forward", count)
    return lambda: seen


def test_an_image_goes_through_the_frozen_stages_once_a_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = prefixes(tmp_path, unfrozen=2)
    images = counting(shared, monkeypatch)
    alone(HEADS[0], shared, seed=0)
    once = 2 * 48 + 24  # two views of the training images, the validation images as they are
    assert images() == once
    alone(HEADS[1], shared, seed=1)
    alone(TUNED[0], shared, seed=2)
    fit_lanes(TOY, HEADS, toy_splits(), epochs=EPOCHS, seed=4, prefixes=shared)
    assert images() == once
    again = prefixes(tmp_path)  # another process finds it on the disk
    again_images = counting(again, monkeypatch)
    alone(TUNED[0], again)
    assert again_images() == 0


def test_another_division_of_the_images_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = prefixes(tmp_path)
    plain = config(unfrozen_stages=0, augmentation=0)
    fit(TOY, plain, toy_splits(48, 24), epochs=1, prefixes=shared)
    images = counting(shared, monkeypatch)
    result = fit(TOY, plain, toy_splits(24, 48), epochs=1, prefixes=shared)
    assert images() == 0
    same(result, fit(TOY, plain, toy_splits(24, 48), epochs=1, prefixes=prefixes()))


def group(configs: list[Config]) -> LaneGroup:
    made = LaneGroup(
        TOY,
        toy_splits(),
        spec_of(configs[0]).structure(3),
        epochs=EPOCHS,
        seed=3,
        prefixes=prefixes(),
        rewindable=True,
    )
    for key, one in enumerate(configs):
        made.add(key, one)
    return made


@pytest.mark.parametrize("configs", [HEADS, TUNED], ids=["heads", "unfrozen stages"])
def test_lanes_leave_without_touching_the_others(configs: list[Config]) -> None:
    undisturbed = fit_lanes(TOY, configs, toy_splits(), epochs=EPOCHS, seed=3, prefixes=prefixes())
    lanes = group(configs)
    lanes.train_epoch()
    lanes.drop([0])
    lanes.train_epoch()
    lanes.drop([1])
    lanes.train_epoch()
    lanes.train_epoch()
    same(lanes.result(2, State.COMPLETE), undisturbed[2])


def test_a_lane_joins_only_at_the_epoch_of_its_group() -> None:
    lanes = group(HEADS[:1])
    lanes.train_epoch()
    state = lanes.state(0)
    with pytest.raises(ValueError, match="after epoch 0"):
        lanes.add(1, HEADS[1])
    with pytest.raises(ValueError, match="after epoch 1"):
        group(HEADS[:1]).add(1, HEADS[0], resume=state)


class Broken(Exception):
    pass


@pytest.mark.parametrize("configs", [HEADS, TUNED], ids=["heads", "unfrozen stages"])
@pytest.mark.parametrize("broken_after", [1, 2, 3])
def test_an_epoch_that_did_not_end_is_forgotten(tmp_path: Path, configs: list[Config], broken_after: int) -> None:
    undisturbed = fit_lanes(TOY, configs, toy_splits(), epochs=EPOCHS, seed=3, prefixes=prefixes())

    def breaks(done: int, total: int) -> None:
        if done == total - 1:
            raise Broken

    lanes = group(configs)
    for _ in range(broken_after):
        lanes.train_epoch()
    with pytest.raises(Broken):
        lanes.train_epoch(breaks)
    lanes.rewind()
    # On disk and in another group, as after the end of the process.
    other = LaneGroup(TOY, toy_splits(), lanes.structure, epochs=EPOCHS, seed=3, prefixes=prefixes(), epoch=lanes.epoch)
    for lane in lanes.lanes:
        path = tmp_path / f"{lane.key}.safetensors"
        save_lane(path, lanes.state(lane.key), {"config": lane.config})
        assert load_lane(path, {"config": {}}) is None
        state = load_lane(path, {"config": lane.config})
        assert state is not None
        other.add(lane.key, lane.config, resume=state)
    while lanes.epoch < EPOCHS:
        lanes.train_epoch()
        other.train_epoch()
    for key, expected in enumerate(undisturbed):
        assert torch.equal(curve(lanes.result(key, State.COMPLETE)), curve(expected))
        assert torch.equal(curve(other.result(key, State.COMPLETE)), curve(expected))


def test_a_lane_file_that_is_damaged_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "lane.safetensors"
    assert load_lane(path, {}) is None
    lanes = group(HEADS[:1])
    lanes.train_epoch()
    save_lane(path, lanes.state(0), {})
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:4], b""):
        path.write_bytes(damaged)
        assert load_lane(path, {}) is None


def test_a_lane_of_another_structure_is_refused() -> None:
    with pytest.raises(InputError, match="a lane of"):
        group([HEADS[0], TUNED[0]])
    with pytest.raises(InputError, match="a lane of"):
        fit_lanes(TOY, [HEADS[0], HEADS[0] | {"batch_size": 16}], toy_splits(), epochs=1, prefixes=prefixes())
    assert fit_lanes(TOY, [], toy_splits(), epochs=1) == []


def test_a_lane_that_diverges_leaves_the_others_alone() -> None:
    wild = config(unfrozen_stages=0, optimizer="sgd", learning_rate=1e9, head_width=8)
    tame = config(unfrozen_stages=0, optimizer="sgd", learning_rate=0.05, head_width=8)
    results = fit_lanes(TOY, [tame, wild, tame], toy_splits(), epochs=EPOCHS, seed=3, prefixes=prefixes())
    assert [result.state for result in results] == [State.COMPLETE, State.INFEASIBLE, State.COMPLETE]
    assert "not finite" in results[1].reason
    same(results[0], alone(tame, seed=3))


def test_running_out_of_memory_is_a_result_of_every_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_arguments: object) -> torch.Tensor:
        return torch.empty(2**60)

    monkeypatch.setattr(Prefixes, "forward", too_much)
    results = fit_lanes(TOY, HEADS[:2], toy_splits(), epochs=1, prefixes=prefixes())
    assert [result.state for result in results] == [State.INFEASIBLE] * 2
    assert "out of memory" in results[0].reason


def test_a_block_is_keyed_by_all_that_decides_it(tmp_path: Path) -> None:
    store = PrefixStore(tmp_path, disk_limit=2**30, memory_limit=2**28)
    for numerics in (Numerics(), BF16):
        shared = Prefixes(backbones=toy_backbone, numerics=numerics, store=store)
        for one in (HEADS[0], TUNED[0], HEADS[0] | {"augmentation": 2}):
            alone(one, shared)
    blocks = {
        (entry.key.precision, entry.key.augmentation, entry.key.view, entry.key.cut)
        for entry in store.usage()
        if entry.key
    }
    assert len(blocks) == 2 * (1 + 2 + 2 + 2 + 1)


def test_what_follows_from_another_block_is_not_written(tmp_path: Path) -> None:
    shared = prefixes(tmp_path, unfrozen=2)
    alone(HEADS[0], shared)
    assert shared.store is not None
    assert {entry.key.cut for entry in shared.store.usage() if entry.key} == {1}
