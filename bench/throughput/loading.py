"""The same training with a loader in front: JPEGs on disk, through our decoder and through torchvision's way."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from training.data.decode import decoded
from training.data.splits import Split
from training.frozen.prefixes import Prefixes
from training.lanes.captured import Capture
from training.machine import vision

from .cases import GRAPH, Case, Variant
from .clock import synchronise, timed
from .core import Core, labelled
from .measure import Settings
from .reference import MEAN, STD, Reference
from .results import OURS, REFERENCE, Loaded, Measured

_SIDES = (500, 375)
_FOLDERS = 4
# Batches that each worker of a DataLoader has ready while nobody asks; they are taken before the clock starts.
_AHEAD = 2


def write_photos(folder: Path, count: int) -> None:
    """`count` JPEGs of about 60 kB, 500 x 375, in class folders: soft shapes under fine grain."""
    generator = np.random.default_rng(0)
    for number in range(count):
        shapes = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(_SIDES)
        grain = generator.normal(0, 8, (_SIDES[1], _SIDES[0], 3))
        path = folder / f"class{number % _FOLDERS}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.asarray(shapes) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)


def with_loader(measured: Measured, photos: Path, settings: Settings) -> Measured:
    """`measured` with the rates of our loader, in its first pass over `photos` and later, and of the reference's.

    Our first pass decodes every photo into a memory-mapped file; later ones read from it, which is also how data that
    does not fit on the device is trained on. A case that ran out of memory stays as it is.
    """
    best, peer = measured.best, measured.reference
    if best is None or peer is None:
        return measured
    variant = Variant(best.layout != "NCHW", Capture.ALWAYS if best.variant == GRAPH else Capture.NEVER)
    ours, theirs = _Ours(measured.case, variant, photos, settings), _Theirs(measured.case, photos, settings)
    ways = (
        (f"{OURS}, first pass", ours.first_pass, best),
        (f"{OURS}, later", ours.later_pass, best),
        (REFERENCE, theirs.rates, peer),
    )
    rates: dict[str, list[tuple[float, float]]] = {who: [] for who, _, _ in ways}
    for _ in range(settings.rounds):
        for who, measure_rates, _ in ways:
            rates[who].append(measure_rates())
    return replace(
        measured,
        loaded=tuple(
            Loaded(
                who,
                alone=tuple(alone for alone, _ in rates[who]),
                together=tuple(together for _, together in rates[who]),
                compute=computed.speed.median,
            )
            for who, _, computed in ways
        ),
    )


class _Streamed(Prefixes):
    """Pixels stay where they are decoded to, even where the device has room for them."""

    def pool(self, split: Split) -> Tensor:
        return split.inputs


class _Ours:
    def __init__(self, case: Case, variant: Variant, photos: Path, settings: Settings) -> None:
        self._case, self._settings, self._device = case, settings, settings.device
        self._photos = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in photos.glob("*/*")}
        # An epoch of full batches, if need be of the same photos again.
        trained = max(1, len(self._photos) // case.batch_size) * case.batch_size
        self._rows = torch.arange(trained) % len(self._photos)
        split = self._split()
        self._core = Core(case, variant, split, settings.strength, self._device, _Streamed)
        self._train()

    def first_pass(self) -> tuple[float, float]:
        """Images/s of decoding everything, and of that and one epoch."""
        started = time.perf_counter()
        self._core.split = self._split()
        alone = time.perf_counter() - started
        self._train()
        together = time.perf_counter() - started
        return len(self._photos) / alone, len(self._rows) / together

    def later_pass(self) -> tuple[float, float]:
        """Images/s that reach the device from the file, and that are trained on as they come."""
        rates = [len(self._rows) / timed(run, 1, self._device) for run in (self._load, self._train)]
        return rates[0], rates[1]

    def _load(self) -> None:
        way = self._core.unchanged()
        for batch in way.batches():
            way.rows(way.split.inputs, batch, way.split.rows)

    def _train(self) -> None:
        for _ in self._core.epoch():
            pass
        synchronise(self._device)

    def _split(self) -> Split:
        """The photos, decoded into a new file."""
        with tempfile.TemporaryDirectory() as empty, _cache_in(empty):
            # The mapping outlives the file's name.
            return labelled(decoded(self._photos, self._case.resolution), self._rows)


class _Theirs:
    """ImageFolder, the script's transforms for training, and a DataLoader with a worker a core that never runs dry."""

    def __init__(self, case: Case, photos: Path, settings: Settings) -> None:
        self._case, self._device, self._seconds = case, settings.device, settings.seconds
        self._reference = Reference(case, settings.device)
        transforms = vision.torchvision().transforms
        steps = [
            transforms.RandomResizedCrop(case.resolution),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
            transforms.ConvertImageDtype(torch.float32),
            transforms.Normalize(MEAN, STD),
        ]
        dataset = vision.torchvision().datasets.ImageFolder(photos, transforms.Compose(steps))
        self._workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            case.batch_size,
            sampler=RandomSampler(dataset, replacement=True, num_samples=2**40 // case.batch_size * case.batch_size),
            num_workers=self._workers,
            prefetch_factor=_AHEAD,
            pin_memory=settings.device.type == "cuda",
        )

    def rates(self) -> tuple[float, float]:
        """Images/s that reach the device, and that are trained on as they come."""
        return self._rate(train=False), self._rate(train=True)

    def _rate(self, *, train: bool) -> float:
        batches = iter(self._loader)

        def step() -> None:
            images, labels = (part.to(self._device, non_blocking=True) for part in next(batches))
            if train:
                self._reference.update(images, labels)

        timed(step, _AHEAD * self._workers + 1, self._device)
        count, started = 0, time.perf_counter()
        while count < 2 or time.perf_counter() - started < self._seconds:
            step()
            count += 1
        synchronise(self._device)
        return self._case.batch_size * count / (time.perf_counter() - started)


@contextmanager
def _cache_in(folder: str) -> Iterator[None]:
    before = os.environ.get("POMONA_CACHE")
    os.environ["POMONA_CACHE"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["POMONA_CACHE"]
        else:
            os.environ["POMONA_CACHE"] = before
