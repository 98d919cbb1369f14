"""Is what the benchmark measures what training runs? One case both ways, an epoch of each in turn."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from search_spaces.benchmarks import task_of
from training import EpochResult, Prefixes, Split, Splits, fit
from training.lanes.captured import WORTH, Capture
from training.models.backbones import build

from .cases import CLASSES, Case, Variant
from .clock import synchronise, warmed_up
from .core import Core, labelled, resident, step_of
from .measure import Settings
from .results import Spread

# Scored after every epoch, which counts for neither side.
_SCORED = 2
# Steps of an epoch.
_LEAST = 4


@dataclass(frozen=True)
class Compared:
    """Images/s of each epoch, of the benchmark's steps and as a training run reports them, and the ratios."""

    case: Case
    layout: str
    benchmark: tuple[float, ...]
    training: tuple[float, ...]

    @property
    def ratio(self) -> Spread:
        """The benchmark's figure in times of the training's, by epoch."""
        return Spread.of(a / b for a, b in zip(self.benchmark, self.training, strict=True))

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": asdict(self.ratio)}

    def __str__(self) -> str:
        ours, theirs, ratio = Spread.of(self.benchmark), Spread.of(self.training), self.ratio
        return (
            f"{self.case}, {self.layout}: {ours.median:,.1f} images/s in the benchmark, {theirs.median:,.1f} in a "
            f"training run, ratio {ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
        )


def compare(case: Case, channels_last: bool, settings: Settings) -> Compared:
    """Trains `case` as `pomona train` does, and after each of its epochs measures one of the benchmark.

    Both see the same photos and choose for themselves whether their steps are captured. The first epoch of each counts
    for nothing.
    """
    device, variant = settings.device, Variant(channels_last, Capture.MEASURED)
    split = _epoch_of(case, variant, settings)
    core = Core(case, variant, split, settings.strength, device)
    backbone = build(case.backbone)
    numerics = variant.numerics(case.precision)
    trained = len(backbone.stages) - core.structure.cut
    benchmark: list[float] = []
    training: list[float] = []

    def after(epoch: EpochResult) -> None:
        # While stages are still to be unfrozen, the head trains alone.
        if epoch.trained_stages == trained:
            training.append(epoch.examples_per_second)
            synchronise(device)
            started = time.perf_counter()
            for _ in core.epoch():
                pass
            synchronise(device)
            benchmark.append(len(split) / (time.perf_counter() - started))

    config = case.config(settings.strength)
    scored = split.subset(torch.arange(len(split)) < _SCORED)
    classes = tuple(str(number) for number in range(CLASSES))
    fit(
        task_of(config),
        config,
        Splits(split, scored, None, classes, "noise", "noise"),
        epochs=1 + settings.rounds + (trained > 0),
        prefixes=Prefixes(backbones=lambda _: backbone, numerics=numerics, device=device),
        on_epoch=after,
    )
    return Compared(case, variant.layout, tuple(benchmark[1:]), tuple(training[1:]))


def _epoch_of(case: Case, variant: Variant, settings: Settings) -> Split:
    """As many photos as take about `seconds` to train on, the same ones again where need be."""
    photos = resident(case, settings.device)
    step = step_of(case, variant, photos, settings.strength, settings.device)
    count, _ = warmed_up(step, settings.seconds, settings.device)
    # Enough steps of a run for a capture to be tried.
    least = math.ceil(WORTH / settings.rounds) if settings.device.type == "cuda" else _LEAST
    rows = torch.arange(max(count, least) * case.batch_size) % len(photos)
    return labelled(photos.inputs, rows)
