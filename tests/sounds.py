"""A modality from outside: sounds as short waves, in folders of .npy files, one a class. Nothing of ours knows it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces import BONUS, Choice, InputError, Task
from training.data.dividing import divide
from training.data.modalities import InputSignature, Kind, Modality, ModelInput, Reading
from training.data.splits import Labelled, Split, Splits, counts_of, identities_of, short_digest
from training.machine.threads import Progress

SAMPLES = 16
SOUNDS = Task(
    name="sounds",
    title="high and low tones",
    modality="sound",
    classes=(),
    sources=(),
    metric="accuracy",
    direction="maximize",
    target=None,
    recipe_origin="made up",
    recipe=BONUS.recipe | {"backbone": f"table:{SAMPLES}", "learning_rate": 0.5, "batch_size": 8},
    space=BONUS.space.replace(backbone=Choice(f"table:{SAMPLES}")),
)


def write_sounds(folder: Path, count: int = 20) -> Path:
    """`count` noisy tones of each of two classes."""
    generator = np.random.default_rng(0)
    for name, periods in (("high", 6), ("low", 1)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            wave = np.sin(np.linspace(0, 2 * np.pi * periods, SAMPLES)) + generator.normal(0, 0.3, SAMPLES)
            np.save(folder / name / f"{number}.npy", wave.astype(np.float32))
    return folder


def read_waves(files: Sequence[Path]) -> torch.Tensor:
    waves = []
    for file in files:
        try:
            waves.append(np.load(file))
        except (OSError, ValueError) as problem:
            raise InputError(f"{file} is no sound ({problem}): name a .npy file") from None
    return torch.from_numpy(np.stack(waves))


@dataclass(frozen=True, eq=False)
class SoundSet:
    folder: Path
    files: tuple[Path, ...]
    waves: torch.Tensor
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    rows: dict[str, NDArray[np.int64]]

    @property
    def source(self) -> str:
        return self.folder.name

    @property
    def location(self) -> str:
        return str(self.folder.resolve())

    @property
    def digests(self) -> list[str]:
        return [hashlib.sha256(wave.numpy().tobytes()).hexdigest() for wave in self.waves]

    @property
    def fingerprint(self) -> str:
        split = {name: rows.tolist() for name, rows in self.rows.items()}
        return short_digest([self.digests, self.labels.tolist(), list(self.classes), split])

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        return counts_of(self.labels, self.rows, self.classes)

    def reading_seconds(self, _resolution: int) -> float:
        return 0.0

    def summary(self) -> str:
        return f"{self.source}: {len(self.files)} sounds (fingerprint {self.fingerprint})"

    def at(self, resolution: int, *, progress: Progress | None = None) -> Splits:
        trained = self.waves[torch.from_numpy(self.rows["train"])]
        return Splits(
            train=self.split(self.rows["train"]),
            valid=self.split(self.rows["valid"]),
            test=None,
            classes=self.classes,
            fingerprint=self.fingerprint,
            source=self.source,
            location=self.location,
            fitted={"mean": trained.mean(0), "std": trained.std(0)},
        )

    def split(self, rows: NDArray[np.int64]) -> Split:
        digests = self.digests
        return Split(
            inputs=self.waves,
            rows=torch.from_numpy(rows),
            labels=torch.from_numpy(self.labels[rows]),
            groups=(),
            names=tuple(self.files[row].name for row in rows),
            keys=tuple(digests[row] for row in rows),
            identities=identities_of(digests[row] for row in rows),
        )


class Sounds(Modality):
    noun = "sounds"

    def wanted(self, task: Task) -> str:
        return "--data DIR: a folder of .npy files, DIR/<class>/"

    def open(self, source: str | Path, kind: Kind, reading: Reading) -> SoundSet:
        found = self._read(Path(source), None)
        held_out = divide([found.classes[label] for label in found.labels], found.digests, reading.seed)
        rows = {"train": np.flatnonzero(~held_out), "valid": np.flatnonzero(held_out)}
        return SoundSet(found.folder, found.files, found.waves, found.labels, found.classes, rows)

    def open_labelled(
        self,
        source: str,
        classes: Sequence[str],
        kind: Kind,
        split: str | None,
        resolution: int,
        reading: Reading,
    ) -> Labelled:
        found = self._read(Path(source), classes)
        return Labelled(found.split(np.arange(len(found.files))))

    def unlabelled(self, paths: Sequence[Path], kind: Kind, resolution: int) -> tuple[torch.Tensor, tuple[str, ...]]:
        return read_waves(paths), tuple(path.name for path in paths)

    def signature(self, kind: Kind, model: ModelInput) -> InputSignature:
        return InputSignature("waves", (SAMPLES,), torch.float32)

    def _read(self, folder: Path, classes: Sequence[str] | None) -> SoundSet:
        files = tuple(sorted(folder.glob("*/*.npy")))
        if not files:
            raise InputError(f"{folder} holds no .npy files in class folders: name another one")
        named = tuple(classes or sorted({file.parent.name for file in files}))
        labels = np.array([named.index(file.parent.name) for file in files], np.int64)
        return SoundSet(folder, files, read_waves(files), labels, named, {})
