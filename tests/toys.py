"""A task, a backbone and images small enough for tests: three classes told apart by colour."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import safetensors.torch
import torch
from torch import nn

from search_spaces import Choice, Float, Integer, SearchSpace, Task
from search_spaces.task import Target
from training import Data, Split, Splits
from training.data.splits import identities_of
from training.machine.threads import Progress
from training.models.backbones import source_model
from training.models.backbones.backbone import AveragePool, Backbone, Parts, Preprocessing, assemble

CLASSES = ("blue", "green", "red")
RESOLUTION = 16

TOY_SPACE = SearchSpace(
    {
        "backbone": Choice("toy"),
        "resolution": Choice(RESOLUTION),
        "batch_size": Choice(8, 16),
        "augmentation": Integer(0, 4),
        "views": Choice(2, 3, on_request=(0,)).when("augmentation", (1, 2, 3, 4)),
        "optimizer": Choice("sgd", "adamw"),
        "momentum": Float(0.8, 0.98).when("optimizer", ("sgd",)),
        "learning_rate": Float(1e-4, 1e9, log=True),
        "weight_decay": Float(1e-6, 1e-1, log=True),
        "label_smoothing": Float(0.0, 0.2),
        "head_width": Choice(0, 8),
        "dropout": Float(0.0, 0.6),
        "unfrozen_stages": Choice(0, 1, 2, "all"),
        "fine_tune_share": Choice(0.25, 0.5).when("unfrozen_stages", (1, 2, "all")),
        "fine_tune_rate": Float(1e-3, 1.0, log=True).when("unfrozen_stages", (1, 2, "all")),
        "batch_norm": Choice("pretrained", "batch").when("unfrozen_stages", (1, 2, "all")),
    }
)

TOY = Task(
    name="toy",
    title="colours",
    modality="image",
    classes=CLASSES,
    sources=("toy",),
    metric="accuracy",
    direction="maximize",
    target=Target(0.9, "made up"),
    recipe_origin="made up",
    recipe={
        "backbone": "toy",
        "resolution": RESOLUTION,
        "batch_size": 8,
        "augmentation": 1,
        "views": 2,
        "optimizer": "adamw",
        "learning_rate": 0.03,
        "weight_decay": 1e-4,
        "label_smoothing": 0.0,
        "head_width": 0,
        "dropout": 0.1,
        "unfrozen_stages": 1,
        "fine_tune_share": 0.5,
        "fine_tune_rate": 0.1,
        "batch_norm": "batch",
    },
    space=TOY_SPACE,
)


def toy_backbone(name: str = "toy") -> Backbone:
    """Three stages with batch-norm and dropout, always of the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        stages = tuple(
            nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
            for before, after in ((3, 8), (8, 12), (12, 16))
        )
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    preprocessing = Preprocessing((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return assemble(name, Parts(stages, (8, 12, 16), preprocessing, AveragePool(), head), "made up")


def toy_splits(
    train: int = 48, valid: int = 24, *, noise: float = 0.3, seed: int = 0, resolution: int = RESOLUTION
) -> Splits:
    """Noisy squares in which one colour channel is brighter; valid images come in groups of two."""
    generator = torch.Generator().manual_seed(seed)
    count = train + valid
    labels = torch.arange(count) % len(CLASSES)
    images = torch.rand(count, resolution, resolution, 3, generator=generator) * noise + (0.5 - noise / 2)
    for row, label in enumerate(labels.tolist()):
        images[row, :, :, 2 - label] += 0.25
    pool = (images.clamp(0, 1) * 255).to(torch.uint8)
    rows = torch.arange(count)
    names = tuple(f"{row}.png" for row in range(count))
    keys = tuple(hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in pool)

    def part(low: int, high: int) -> Split:
        groups = tuple(f"g{row // 6}-{row % 3}" for row in range(low, high))
        own = keys[low:high]
        return Split(pool, rows[low:high], labels[low:high], groups, names[low:high], own, identities_of(own))

    return Splits(part(0, train), part(train, count), None, CLASSES, f"toy{seed}", "toy colours")


@dataclass(frozen=True)
class ToyData:
    """A data set as a study wants one."""

    fingerprint: str = "toy0"
    source: str = "toy colours"
    location: str = "toy"
    classes: tuple[str, ...] = CLASSES

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Of `toy_splits`."""
        return {split: dict.fromkeys(CLASSES, examples // 3) for split, examples in (("train", 48), ("valid", 24))}

    def at(self, resolution: int, *, progress: Progress | None = None) -> Splits:
        return toy_splits(resolution=resolution)

    def reading_seconds(self, _resolution: int) -> float:
        return 0.0

    def summary(self) -> str:
        return "toy colours"


@dataclass(frozen=True)
class ToySource:
    """Where other processes get the data set from."""

    def open(self, _task: Task) -> Data:
        return cast(Data, ToyData())


class _DeadlyData(ToyData):
    def at(self, resolution: int, *, progress: Progress | None = None) -> Splits:
        os._exit(7)


@dataclass(frozen=True)
class DeadlySource:
    """Data that end the process that wants to train on them."""

    def open(self, _task: Task) -> Data:
        return cast(Data, _DeadlyData())


# A task that goes the whole way of a real one: its backbone comes out of a weights folder.
SMALL = replace(
    TOY,
    name="small",
    recipe=TOY.recipe | {"backbone": "squeezenet1_1", "resolution": 32, "batch_size": 16},
    space=TOY_SPACE.replace(
        backbone=Choice("squeezenet1_1"),
        resolution=Choice(32),
        batch_size=Choice(16),
        learning_rate=Float(1e-4, 1e-1, log=True),
        head_width=Choice(0),
        unfrozen_stages=Choice(0, 1),
    ),
)


def small_weights(folder: Path) -> Path:
    """A weights folder for `SMALL`, random but always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        safetensors.torch.save_file(source_model("squeezenet1_1").state_dict(), folder / "squeezenet1_1.safetensors")
    return folder
