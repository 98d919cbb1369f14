"""The peers learn what they should: configs mean to them what they mean to us."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from bench.peers import expert, notebook, optuna_processes
from bench.peers.result import PeerResult, TrialEnd
from search_spaces import FRUIT, Choice, Config
from training import spec_of
from training.machine import vision

CLASSES = ("dark", "light")
CONFIG: Config = {
    "backbone": "mobilenet_v2",
    "resolution": 32,
    "batch_size": 8,
    "augmentation": 0,
    "optimizer": "adamw",
    "learning_rate": 1e-2,
    "weight_decay": 1e-4,
    "label_smoothing": 0.0,
    "head_width": 0,
    "dropout": 0.0,
    "unfrozen_stages": 0,
}
TUNED: Config = CONFIG | {
    "unfrozen_stages": 2,
    "fine_tune_share": 0.5,
    "fine_tune_rate": 0.1,
    "batch_norm": "pretrained",
}
PEERS = {"notebook": notebook, "expert": expert}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes told apart by brightness, eight photos of each in `train` and four in `valid`."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("valid", 4)):
        for label, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 30) + 180 * label + generator.integers(0, 20, (40, 36, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random ones, with batch-norm statistics of noise: without any, nothing of a photo is left at the top."""
    folder = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = vision.torchvision().models.mobilenet_v2()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        model.train()(2 * torch.randn(64, 3, 1, 1) + torch.randn(64, 3, 32, 32))
    safetensors.torch.save_file(model.state_dict(), folder / "mobilenet_v2.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of a loader takes longer to start than these photos take to load."""
    monkeypatch.setattr(notebook, "cores", lambda: 0)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="the head alone"),
        pytest.param(TUNED | {"augmentation": 4, "head_width": 128, "dropout": 0.3}, id="fine-tuned and augmented"),
        pytest.param(
            TUNED | {"batch_norm": "batch", "optimizer": "sgd", "momentum": 0.9, "augmentation": 1},
            id="batch statistics",
        ),
    ],
)
def test_a_result_says_what_happened(peer: str, change: Config, data: Path, weights: Path) -> None:
    heard: list[tuple[int, float]] = []
    spec = spec_of(CONFIG | change)
    result = PEERS[peer].train(spec, data, weights, 3, 0, lambda epoch, accuracy: heard.append((epoch, accuracy)))
    assert heard == list(enumerate(result.curve, 1))
    assert len(result.curve) == 3
    assert len(result.correct) == 8
    assert result.accuracy == result.curve[-1] == sum(result.correct) / 8
    assert result.seconds > 0


@pytest.mark.parametrize("peer", PEERS)
def test_what_can_be_learned_is(peer: str, data: Path, weights: Path) -> None:
    assert PEERS[peer].train(spec_of(CONFIG | {"batch_size": 4}), data, weights, 12).accuracy == 1


@pytest.mark.parametrize("peer", PEERS)
def test_one_seed_gives_one_result(peer: str, data: Path, weights: Path) -> None:
    spec = spec_of(TUNED | {"augmentation": 2, "dropout": 0.5})
    first, second = (PEERS[peer].train(spec, data, weights, 2, 5).curve for _ in range(2))
    assert first == second


@pytest.mark.parametrize("peer", PEERS)
def test_what_on_epoch_raises_ends_the_trial(peer: str, data: Path, weights: Path) -> None:
    def stop(epoch: int, accuracy: float) -> None:
        raise StopIteration

    with pytest.raises(StopIteration):
        PEERS[peer].train(spec_of(CONFIG), data, weights, 2, 0, stop)


@pytest.mark.parametrize("epochs", [1, 2, 5, 8])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_phases_are_those_of_our_loop(epochs: int, share: float, data: Path, weights: Path) -> None:
    spec = spec_of(TUNED | {"fine_tune_share": share})
    trainer = expert.Trainer(spec, expert.load_photos(data, 32), weights, epochs)
    ours, rate = spec.phases(trainer.stages, epochs), spec.optimizer.learning_rate
    assert trainer.phases == [(p.first - 1, p.epochs, p.cut, pytest.approx(rate * p.rate_factor)) for p in ours]


@pytest.mark.parametrize("batch_norm", ["pretrained", "batch"])
def test_only_the_last_stages_learn_and_statistics_follow_the_config(
    batch_norm: str, data: Path, weights: Path
) -> None:
    spec = spec_of(TUNED | {"batch_norm": batch_norm})
    trainer = expert.Trainer(spec, expert.load_photos(data, 32), weights, 2)
    before = {name: tensor.clone() for name, tensor in trainer.model.features.state_dict().items()}
    trainer.train_epoch()
    assert _changed(trainer.model.features, before) == set()
    trainer.train_epoch()
    changed = _changed(trainer.model.features, before)
    assert {int(name.partition(".")[0]) for name in changed} == {17, 18}
    assert any("running" in name for name in changed) == (batch_norm == "batch")


def _changed(features: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, tensor in features.state_dict().items() if not torch.equal(tensor, before[name])}


def test_both_see_the_same_photos(data: Path) -> None:
    photos = expert.load_photos(data, 32)
    dataset = vision.torchvision().datasets.ImageFolder(data / "valid", notebook.valid_transform(spec_of(CONFIG)))
    mean, std = torch.tensor(notebook.MEAN).view(3, 1, 1), torch.tensor(notebook.STD).view(3, 1, 1)
    theirs = torch.stack([(image * std + mean) * 255 for image, _ in dataset])
    torch.testing.assert_close(theirs, torch.tensor(photos.valid_images).float(), atol=0.01, rtol=0)
    assert photos.valid_labels.tolist() == dataset.targets


@pytest.mark.parametrize("step", range(5))
def test_augmented_photos_stay_photos(step: int) -> None:
    torch.manual_seed(0)
    images = torch.rand(64, 3, 32, 32) * 0.5 + 0.25
    changed = expert.augment(images.clone(), step)
    assert changed.shape == images.shape
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 1
    assert torch.equal(changed, images) == (step == 0)
    assert abs(float(changed.mean() - images.mean())) < 0.05


def test_stronger_steps_change_more() -> None:
    images = torch.nn.functional.interpolate(torch.rand(128, 3, 4, 4), size=32, mode="bilinear")
    changes = []
    for step in range(5):
        torch.manual_seed(0)
        changes.append(float((expert.augment(images.clone(), step) - images).abs().mean()))
    assert changes == sorted(changes)


@pytest.mark.slow
def test_optuna_trains_the_configs_it_is_given(data: Path, weights: Path) -> None:
    configs = [CONFIG | {"resolution": 96, "batch_size": 16, "learning_rate": rate} for rate in (1e-3, 1e-2)]
    results = optuna_processes.train_all(configs, FRUIT.space, data, weights, 2)
    assert [len(result.curve) for result in results] == [2, 2]
    _agree_with_the_expert(results, configs, data, weights)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what Ray warns of is not ours
def test_ray_trains_the_configs_it_is_given(data: Path, weights: Path) -> None:
    ray_tune = pytest.importorskip("bench.peers.ray_tune")
    configs = [CONFIG | {"learning_rate": rate} for rate in (1e-3, 3e-3, 1e-2)]
    try:
        results = ray_tune.train_all(configs, data, weights, 2)
        first = FRUIT.recipe | {"backbone": "mobilenet_v2", "resolution": 96}
        space = FRUIT.space.fix({"backbone": "mobilenet_v2", "resolution": 96})
        seconds, complete = ray_tune.search(space, first, data, weights, 1, 3, lambda accuracy, n: n == 8)
    finally:
        ray_tune.ray.shutdown()
    _agree_with_the_expert(results, configs, data, weights)
    assert seconds is not None
    assert complete >= 1


def _agree_with_the_expert(results: list[PeerResult], configs: list[Config], data: Path, weights: Path) -> None:
    """They train with its trainer, in other processes."""
    for result, config in zip(results, configs, strict=True):
        assert result.correct == expert.train(spec_of(config), data, weights, 2).correct


@pytest.mark.slow
def test_optuna_searches_until_a_time_and_keeps_the_best(data: Path, weights: Path, tmp_path: Path) -> None:
    space = FRUIT.space.fix(CONFIG | {"resolution": 96, "batch_size": 16}).replace(learning_rate=Choice(1e-3, 1e-2))
    deadline = time.time() + 25
    ends = optuna_processes.search_until(space, data, weights, 1, deadline, tmp_path)
    assert ends
    _scored_as_they_were(ends, deadline, data, weights)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what Ray warns of is not ours
def test_ray_searches_until_a_time_and_keeps_the_best(data: Path, weights: Path, tmp_path: Path) -> None:
    ray_tune = pytest.importorskip("bench.peers.ray_tune")
    space = FRUIT.space.fix(CONFIG | {"resolution": 96, "batch_size": 16}).replace(learning_rate=Choice(1e-3, 1e-2))
    deadline = time.time() + 45
    try:
        ends = ray_tune.search_until(space, data, weights, 1, deadline, tmp_path)
    finally:
        ray_tune.ray.shutdown()
    assert ends
    _scored_as_they_were(ends, deadline, data, weights)


def _scored_as_they_were(ends: list[TrialEnd], deadline: float, data: Path, weights: Path) -> None:
    """The first trial was the best of its time, so its weights are there, and they score as they did."""
    first = min(ends, key=lambda end: end.at)
    assert max(end.at for end in ends) <= deadline + 1
    assert first.n == 8
    assert first.state is not None
    spec = spec_of(first.config)
    trainer = expert.Trainer(spec, expert.load_photos(data, spec.input.resolution), weights, 1)
    trainer.model.load_state_dict(torch.load(first.state, weights_only=True))
    assert trainer.evaluate() == first.accuracy
