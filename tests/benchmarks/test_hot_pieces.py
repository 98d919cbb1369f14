"""How long the pieces take that a search spends its time on, each alone; see "Benchmarks" in CONTRIBUTING.md.

In processor time of one thread: what else the machine does counts as little as possible, and how many cores it has not
at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from search_spaces import Config, task_named
from studies import leaderboard
from training import LaneGroup, Numerics, Prefixes, PrefixStore, Splits, augment, spec_of
from training.data.augment import RANDOM_NUMBERS
from training.data.batches import batch_count
from training.frozen.source import Batch, Pass, training_pass
from training.frozen.store import BlockKey
from training.frozen.views import view_random_numbers
from training.lanes.heads import HeadShape, HeadStack, stacked
from training.lanes.optimisation import make_optimizer
from training.lanes.suffix import SuffixTrainer
from training.models.backbones import Backbone, build
from training.models.backbones.backbone import AveragePool, Parts, Preprocessing, assemble
from training.models.classifier import Head
from training.scoring.objectives import CrossEntropy

from ..studies.test_leaderboard import a_record
from ..toys import toy_splits

# The fruit photos as MobileNetV2 leaves them.
TRAIN, VALID, WIDTH, CLASSES = 938, 334, 1280, 6
BATCH = 32
EPOCHS = 4
ROOM = 2**30
KEPT = BlockKey("toy", "made up", 128, 0, "", 0, 3, "fp32", "2.13.0", 1)
# Reading this clock takes a microsecond, so the shortest calls are timed in series of a tenth of a millisecond.
pytestmark = pytest.mark.benchmark(timer=time.process_time, min_time=1e-4)

FRUIT = task_named("fruit")
PLAIN: Config = {
    "backbone": "mobilenet_v2",
    "resolution": 128,
    "batch_size": BATCH,
    "augmentation": 0,
    "head_width": 0,
    "dropout": 0.0,
    "unfrozen_stages": 0,
}


def config(**changes: float | int | str) -> Config:
    return FRUIT.space.validate(FRUIT.space.activate(FRUIT.recipe | PLAIN | changes))


def heads(count: int, *, dropout: bool) -> list[Config]:
    """Of as many learning rates, and with `dropout` of all rates that the space has."""
    rates = [10 ** (-4 + 3 * n / count) for n in range(count)]
    shares = (0.1, 0.2, 0.3, 0.4, 0.5) if dropout else (0.0,)
    return [config(learning_rate=rate, dropout=shares[n % len(shares)]) for n, rate in enumerate(rates)]


def wide_backbone(name: str) -> Backbone:
    """Its features are as wide as MobileNetV2's and cost next to nothing."""
    stage = nn.Sequential(nn.Conv2d(3, WIDTH, 8, 8), nn.ReLU())
    preprocessing = Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return assemble(name, Parts((stage,), (WIDTH,), preprocessing, AveragePool(), nn.Identity()), "made up")


def photos(train: int, valid: int, resolution: int = 16) -> Splits:
    return replace(toy_splits(train, valid, resolution=resolution), classes=tuple("abcdef"))


def store(folder: Path) -> PrefixStore:
    return PrefixStore(folder, disk_limit=ROOM, memory_limit=ROOM)


class Kept:
    """Photos whose features are kept, ready to be trained on."""

    def __init__(self, folder: Path) -> None:
        self.prefixes = Prefixes(backbones=wide_backbone, store=store(folder))
        self.splits = photos(TRAIN, VALID)
        self.structure = spec_of(config()).structure(1)

    def way(self) -> Pass:
        return training_pass(self.prefixes, self.structure, self.splits.train, seed=0, epoch=1)

    def stack(self, configs: list[Config], way: Pass) -> HeadStack:
        stack = HeadStack(HeadShape.of(spec_of(configs[0]), WIDTH, CLASSES), torch.device("cpu"), cut=1)
        for key, spec in enumerate(map(spec_of, configs)):
            head = Head(WIDTH, CLASSES, spec.head)
            (phase,) = spec.phases(1, EPOCHS)
            place = stacked(key, spec, phase, len(way), seed=0, done=0)
            stack.add(place, head, make_optimizer(spec.optimizer, head.parameters()))
        stack.begin(1, way.order)
        return stack


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(tmp_path_factory.mktemp("kept"))


def endless(way: Pass) -> Iterator[Batch]:
    while True:
        yield from way.batches()


def finite(stack: HeadStack, features: torch.Tensor) -> bool:
    return bool(stack.predictions(features).isfinite().all())


@pytest.mark.parametrize("strength", [2, 4])
def test_augmentation_of_a_batch(benchmark: BenchmarkFixture, strength: int) -> None:
    images = torch.rand(BATCH, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    random_numbers = view_random_numbers([str(n) for n in range(BATCH)], 0)
    assert random_numbers.shape == (BATCH, RANDOM_NUMBERS)
    changed = benchmark(augment, images, strength, random_numbers)
    assert changed.shape == images.shape
    assert not torch.equal(changed, images)


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...], torch.Tensor]:
    """A folder that holds the features of some images."""
    folder = tmp_path_factory.mktemp("block")
    images = photos(TRAIN, 0).train.keys
    features = torch.rand(TRAIN, WIDTH, generator=torch.Generator().manual_seed(0))
    store(folder).rows(KEPT, images, lambda missing: features[list(missing)])
    return folder, images, features


def never(_missing: object) -> torch.Tensor:
    raise AssertionError("everything is kept")


def test_prefix_read_from_memory(
    benchmark: BenchmarkFixture, block: tuple[Path, tuple[str, ...], torch.Tensor]
) -> None:
    folder, images, features = block
    filled = store(folder)
    filled.rows(KEPT, images, never)
    rows = benchmark(filled.rows, KEPT, images, never)
    assert torch.equal(rows, features)


@pytest.mark.parametrize("same_order", [True, False], ids=["as_written", "in_another_order"])
def test_prefix_read_from_disk(
    benchmark: BenchmarkFixture, block: tuple[Path, tuple[str, ...], torch.Tensor], same_order: bool
) -> None:
    """Nothing is in the store's memory. As written, the file is mapped and the batches read its rows later."""
    folder, images, features = block
    order = torch.arange(TRAIN) if same_order else torch.randperm(TRAIN, generator=torch.Generator().manual_seed(1))
    wanted = tuple(images[n] for n in order.tolist())
    rows = benchmark(lambda: store(folder).rows(KEPT, wanted, never))
    assert torch.equal(rows, features[order])


def test_batch_from_a_block(benchmark: BenchmarkFixture, kept: Kept) -> None:
    way = kept.way()
    assert way.plan.kept(1)
    features = benchmark(lambda: Batch(way, 0, way.order[0], None).at(1))
    assert features.shape == (len(way.order[0]), WIDTH)


def test_head_step(benchmark: BenchmarkFixture, kept: Kept) -> None:
    way = kept.way()
    stack = kept.stack(heads(1, dropout=False), way)
    batch = next(way.batches())
    features = batch.at(1)
    benchmark(stack.train, 0, features, batch.labels)
    assert finite(stack, features)


@pytest.mark.parametrize("dropout", [False, True], ids=["plain", "dropout"])
@pytest.mark.parametrize("lanes", [1, 8, 32, 128])
def test_lane_step(benchmark: BenchmarkFixture, kept: Kept, lanes: int, dropout: bool) -> None:
    """One batch for all lanes, gathered from the block as in an epoch."""
    way = kept.way()
    stack = kept.stack(heads(lanes, dropout=dropout), way)
    batches = endless(way)
    benchmark(lambda: stack.step(next(batches)))
    assert len(stack) == lanes
    assert finite(stack, next(batches).at(1))


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Prefixes, Splits]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = build("mobilenet_v2")
    numerics = Numerics("bf16", channels_last=True)
    prefixes = Prefixes(backbones=lambda _: backbone, numerics=numerics, store=store(tmp_path_factory.mktemp("m")))
    return prefixes, photos(BATCH, 2, resolution=128)


@pytest.mark.parametrize("unfrozen", [1, 3])
def test_suffix_step(benchmark: BenchmarkFixture, mobilenet: tuple[Prefixes, Splits], unfrozen: int) -> None:
    """Forward, backward and step of MobileNetV2's last stages at 128 pixels, on a prefix that is there."""
    prefixes, splits = mobilenet
    backbone = prefixes.backbone("mobilenet_v2")
    spec = spec_of(config(unfrozen_stages=unfrozen))
    structure = spec.structure(len(backbone.stages))
    trained = spec.phases(len(backbone.stages), EPOCHS)[-1]
    assert trained.cut == len(backbone.stages) - unfrozen
    suffix = SuffixTrainer(
        0,
        spec,
        backbone,
        Head(backbone.widths[-1], CLASSES, spec.head),
        trained,
        batch_count(BATCH, BATCH),
        seed=0,
        done=0,
        numerics=prefixes.numerics,
        device=prefixes.device,
        loss=CrossEntropy(CLASSES),
    )
    way = training_pass(prefixes, structure, splits.train, seed=0, epoch=1)
    (batch,) = way.batches()
    batch.at(trained.cut)
    with torch.random.fork_rng():
        suffix.begin(1, way.order)
        benchmark(suffix.step, batch)
    assert suffix.logits(batch).isfinite().all()


def test_epoch_of_eight_lanes(benchmark: BenchmarkFixture, kept: Kept) -> None:
    """Training and scoring, on kept prefixes; each time the first epoch of a new group."""

    def group() -> tuple[tuple[LaneGroup], dict[str, object]]:
        made = LaneGroup(FRUIT, kept.splits, kept.structure, epochs=EPOCHS, seed=0, prefixes=kept.prefixes)
        for key, one in enumerate(heads(8, dropout=True)):
            made.add(key, one)
        return (made,), {}

    # The first computes the prefixes.
    results = benchmark.pedantic(LaneGroup.train_epoch, setup=group, rounds=20, warmup_rounds=2)
    assert sorted(results) == list(range(8))


def test_leaderboard_of_10000_trials(benchmark: BenchmarkFixture) -> None:
    states = ("complete", "complete", "pruned", "infeasible")
    records = [
        replace(a_record(n, states[n % 4], right=n % 50), config=config(learning_rate=10 ** (-4 + n / 1e4)))
        for n in range(10_000)
    ]
    frame = benchmark(leaderboard, records)
    assert len(frame) == 10_000
    assert frame["rank"].notna().sum() == 5_000
