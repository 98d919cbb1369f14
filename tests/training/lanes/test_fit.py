from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from search_spaces import Config, InputError
from training import EpochResult, FitResult, Numerics, Prefixes, State, Stop, fit, load_checkpoint, resolve
from training.machine.precision import PRECISIONS
from training.models.classifier import Classifier, Head
from training.models.spec import ScheduleSpec

from ...toys import TOY, toy_backbone, toy_splits


def train(epochs: int = 4, config: Config | None = None, **options: object) -> FitResult:
    return fit(TOY, config or TOY.recipe, toy_splits(), epochs=epochs, backbones=toy_backbone, **options)  # type: ignore[arg-type]


def losses(result: FitResult) -> list[tuple[float, float, float]]:
    return [(epoch.loss, epoch.valid_loss, epoch.value) for epoch in result.curve]


def test_it_learns() -> None:
    result = train(epochs=8)
    assert result.state == State.COMPLETE
    assert result.value is not None
    assert result.value > 0.8
    assert result.curve[-1].loss < result.curve[0].loss / 2
    valid = toy_splits().valid
    assert result.n == len(result.predictions) == 24
    assert result.value == sum(a == b for a, b in zip(result.predictions, valid.labels.tolist(), strict=True)) / 24
    assert result.estimate is not None
    assert result.grouped is not None
    assert result.estimate.value == result.value
    assert result.grouped.n == len(set(valid.groups))
    assert result.images == 8 * 48


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_one_seed_gives_one_result(precision: str, channels_last: bool) -> None:
    numerics = Numerics(precision, channels_last)
    assert losses(train(numerics=numerics, seed=3)) == losses(train(numerics=numerics, seed=3))


def test_another_seed_gives_another_result() -> None:
    assert losses(train(seed=0)) != losses(train(seed=1))


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(epochs=1)
    assert torch.equal(torch.rand(3), expected)


HEAD_ONLY = {
    name: value for name, value in TOY.recipe.items() if name not in ("fine_tune_share", "fine_tune_rate", "batch_norm")
} | {"unfrozen_stages": 0}


def toy_model(config: Config) -> Classifier:
    spec = resolve(TOY, config)
    return Classifier(toy_backbone(), spec, Head(16, 3, spec.head))


class Killed(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("batches", [1, 6, 7, 13, 17, 18, 23])
def test_a_run_killed_anywhere_and_resumed_is_the_same_as_undisturbed(
    tmp_path: Path, batches: int, optimizer: str
) -> None:
    """6 batches an epoch; the first two epochs train the head, the last two a stage too."""
    config = TOY.space.activate(TOY.recipe | {"optimizer": optimizer, "learning_rate": 0.02, "momentum": 0.85})
    undisturbed = train(config=config, checkpoint_to=tmp_path / "whole")

    def die(step: int, _steps: int) -> None:
        if step == batches:
            raise Killed

    with pytest.raises(Killed):
        train(config=config, checkpoint_to=tmp_path / "killed", on_batch=die)
    left = tmp_path / "killed" if (tmp_path / "killed").exists() else None
    resumed = train(config=config, checkpoint_to=tmp_path / "killed", resume_from=left)
    assert losses(resumed) == losses(undisturbed)
    assert resumed.predictions == undisturbed.predictions
    one, other = (load_checkpoint(tmp_path / name).tensors for name in ("whole", "killed"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_resuming_a_finished_run_gives_its_result_again(tmp_path: Path) -> None:
    first = train(checkpoint_to=tmp_path)
    again = train(checkpoint_to=tmp_path, resume_from=tmp_path)
    assert losses(again) == losses(first)
    assert again.predictions == first.predictions


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seed": 9}, "seed"), ({"epochs": 9}, "epochs"), ({"config": TOY.recipe | {"dropout": 0.3}}, "config")],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, change: dict[str, object], named: str) -> None:
    train(checkpoint_to=tmp_path)
    with pytest.raises(InputError, match=f"another {named}"):
        train(resume_from=tmp_path, **change)  # type: ignore[arg-type]


def test_a_checkpoint_on_other_data_is_refused(tmp_path: Path) -> None:
    train(checkpoint_to=tmp_path)
    with pytest.raises(InputError, match="another fingerprint"):
        fit(TOY, TOY.recipe, toy_splits(seed=1), epochs=4, backbones=toy_backbone, resume_from=tmp_path)


def test_stop_makes_it_pruned_and_keeps_what_there_is() -> None:
    def stop(epoch: EpochResult) -> None:
        if epoch.epoch == 2:
            raise Stop("not worth it")

    result = train(on_epoch=stop)
    assert (result.state, result.reason, len(result.curve)) == (State.PRUNED, "not worth it", 2)
    assert result.value == result.curve[-1].value


def test_a_resumed_run_can_be_stopped_by_the_epoch_before_the_kill(tmp_path: Path) -> None:
    """A kill may come after an epoch was saved and before anybody judged it."""

    def die(_epoch: EpochResult) -> None:
        raise Killed

    def stop(epoch: EpochResult) -> None:
        raise Stop(f"judged {epoch.epoch}")

    with pytest.raises(Killed):
        train(checkpoint_to=tmp_path, on_epoch=die)
    result = train(checkpoint_to=tmp_path, resume_from=tmp_path, on_epoch=stop)
    assert (result.state, result.reason) == (State.PRUNED, "judged 1")


def test_a_loss_that_is_not_finite_is_infeasible() -> None:
    result = train(config=TOY.recipe | {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 1e9, "head_width": 8})
    assert result.state == State.INFEASIBLE
    assert "not finite" in result.reason


def test_running_out_of_memory_is_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_arguments: object) -> torch.Tensor:
        return torch.empty(2**60)

    monkeypatch.setattr(Prefixes, "forward", too_much)
    result = train()
    assert result.state == State.INFEASIBLE
    assert "out of memory" in result.reason


def test_a_device_without_room_for_the_backbone_makes_the_run_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> nn.Module:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    monkeypatch.setattr(Numerics, "place", full)
    result = train()
    assert (result.state, "out of memory" in result.reason) == (State.INFEASIBLE, True)


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> torch.Tensor:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Prefixes, "forward", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        train()


def test_frozen_stages_keep_their_weights_and_the_others_move(tmp_path: Path) -> None:
    train(checkpoint_to=tmp_path)
    trained = load_checkpoint(tmp_path).tensors
    for name, tensor in toy_model(TOY.recipe).state_dict().items():
        if name.startswith("stages.2."):
            assert not torch.equal(trained[f"model.{name}"], tensor), name
        elif name.startswith("stages."):
            assert torch.equal(trained[f"model.{name}"], tensor), name


@pytest.mark.parametrize("statistics", ["pretrained", "batch"])
def test_fine_tuned_weights_are_drawn_back_to_those_before_once_all_epochs_are_done(
    tmp_path: Path, statistics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TOY.recipe | {"batch_norm": statistics}
    drawn_back = train(config=config, checkpoint_to=tmp_path / "drawn back")
    fine_tuned = resolve(TOY, config).schedule.phases(2, 3, 4)[-1].first
    heads = fit(
        TOY,
        config,
        toy_splits(),
        epochs=4,
        backbones=toy_backbone,
        checkpoint_to=tmp_path / "before",
        on_epoch=lambda epoch: _stop_at(epoch, fine_tuned - 1),
    )
    of_schedule = ScheduleSpec.phases
    monkeypatch.setattr(
        ScheduleSpec, "phases", lambda *given: tuple(replace(phase, kept=1.0) for phase in of_schedule(*given))
    )
    whole_way = train(config=config, checkpoint_to=tmp_path / "whole way")
    assert len(heads.curve) == fine_tuned - 1
    assert losses(drawn_back)[:-1] == losses(whole_way)[:-1]
    assert drawn_back.curve[-1].loss == whole_way.curve[-1].loss
    before, after, kept = (
        {n: t for n, t in load_checkpoint(tmp_path / name).tensors.items() if n.startswith("model.")}
        for name in ("before", "whole way", "drawn back")
    )
    assert kept.keys() == after.keys()
    for name, tensor in kept.items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, torch.lerp(before[name], after[name], 0.75)), name
            changes = name.startswith(("model.head", "model.stages.2")) and "running" not in name
            assert changes <= (not torch.equal(tensor, after[name])), name


def _stop_at(epoch: EpochResult, last: int) -> None:
    if epoch.epoch == last:
        raise Stop("far enough")


def test_pretrained_statistics_stay_where_the_config_says_so(tmp_path: Path) -> None:
    train(config=TOY.recipe | {"batch_norm": "pretrained"}, checkpoint_to=tmp_path)
    trained = load_checkpoint(tmp_path).tensors
    for name, tensor in toy_model(TOY.recipe).state_dict().items():
        if name.startswith("stages.2."):
            is_statistic = "running" in name or "num_batches" in name
            assert torch.equal(trained[f"model.{name}"], tensor) == is_statistic, name


def test_the_head_alone_leaves_the_backbone_untouched(tmp_path: Path) -> None:
    train(config=HEAD_ONLY, checkpoint_to=tmp_path)
    trained = load_checkpoint(tmp_path).tensors
    for name, tensor in toy_model(HEAD_ONLY).state_dict().items():
        if name.startswith("stages."):
            assert torch.equal(trained[f"model.{name}"], tensor), name


def test_a_config_outside_the_space_is_refused() -> None:
    with pytest.raises(InputError, match="dropout"):
        train(config=TOY.recipe | {"dropout": 3.0})
    with pytest.raises(InputError, match="epochs"):
        train(epochs=0)


def test_a_last_batch_of_one_is_spread_over_the_others() -> None:
    splits = toy_splits(train=33)
    result = fit(TOY, TOY.recipe | {"batch_size": 16}, splits, epochs=2, backbones=toy_backbone)
    assert result.state == State.COMPLETE
    assert result.images == 66


def test_the_validation_split_may_have_no_groups() -> None:
    splits = toy_splits()
    result = fit(
        TOY, TOY.recipe, replace(splits, valid=replace(splits.valid, groups=())), epochs=1, backbones=toy_backbone
    )
    assert result.grouped is None
    assert train(epochs=1).grouped is not None
