"""MNIST and its like: images in IDX files, as torchvision keeps them (LeCun et al. 1998; Xiao et al. 2017)."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, cast

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces import InputError

from ..machine.cache import cache_folder
from ..machine.threads import Progress
from .published.download import RemoteFile, download
from .splits import Split, Splits, counts_of, identities_of, short_digest

TORCHVISION = "torchvision:"
_VALID = 5_000
# Of a split, the share of images that may be copies of others without a word.
_FEW = 0.01
# Fewer than this leave a split empty.
_LEAST = 5
# Of one file; the images of either set have 47 MB.
_MOST_BYTES = 2**30
_KINDS = {
    "MNIST": tuple("0123456789"),
    "FashionMNIST": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}
_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# Addresses and checksums as torchvision has them, and the sizes in bytes of the files with these checksums.
_MIRRORS = {
    "MNIST": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
    "FashionMNIST": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
}
_PUBLISHED = {
    "MNIST": (
        ("f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
        ("d53e105ee54ea40749a09fcbcd1e9432", 28_881),
        ("9fb629c4189551a2d022fa330f9573f3", 1_648_877),
        ("ec29112dd5afa0611ce80d1b7f02629c", 4_542),
    ),
    "FashionMNIST": (
        ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
        ("25c81989df183df01b3e8a0aad5dffbe", 29_515),
        ("bef4ecab320f06d8554ea6380940ec79", 4_422_102),
        ("bb300cfdad3c16e7a12a480ee83cd310", 5_148),
    ),
}


@dataclass(frozen=True, eq=False)
class IdxSet:
    """Grey images (n, R, R) with labels: the publisher's test images are `test`, 5,000 of the others `valid`.

    The 5,000 are drawn by `seed`. Nothing that a search looks at is a test image.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    tests: int
    classes: tuple[str, ...]
    seed: int
    source: str
    location: str

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """For each image, what stands for its contents."""
        return tuple(hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() for image in self.images)

    @cached_property
    def identities(self) -> torch.Tensor:
        return identities_of(self.keys)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with contents, labels and split."""
        digest = hashlib.sha256(self.images.tobytes())
        digest.update(self.labels.tobytes())
        return short_digest([digest.hexdigest(), list(self.classes), self.tests, self.seed])

    @cached_property
    def rows(self) -> dict[str, NDArray[np.int64]]:
        """The images of each split."""
        trained = len(self.images) - self.tests
        order = np.random.default_rng(self.seed).permutation(trained)
        valid = min(_VALID, trained // 5)
        return {
            "train": np.sort(order[valid:]),
            "valid": np.sort(order[:valid]),
            "test": np.arange(trained, len(self.images)),
        }

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each class in each split."""
        return counts_of(self.labels, self.rows, self.classes)

    def reading_seconds(self, _resolution: int) -> float:
        """They are in memory."""
        return 0.0

    def summary(self) -> str:
        """One line for people."""
        sizes = ", ".join(f"{split} {len(rows)}" for split, rows in self.rows.items())
        told = f"{self.source}: {sizes} images of {len(self.classes)} classes (fingerprint {self.fingerprint})"
        for split in ("valid", "test"):
            copies, count = self.copies_in(split), len(self.rows[split])
            # The published sets have a few.
            if copies > _FEW * count:
                told += f"; {copies} of {count} {split} images are equal to images of train: their scores are too good"
        return told

    def copies_in(self, split: str) -> int:
        """How many images of a split are in `train` too."""
        identities = self.identities.numpy()
        return int(np.isin(identities[self.rows[split]], identities[self.rows["train"]]).sum())

    def at(self, resolution: int, *, progress: Progress | None = None) -> Splits:
        """The images as they are; a model that wants larger ones enlarges them on its device."""
        pool = torch.from_numpy(self.images)[..., None]
        splits = {name: self._split(pool, rows) for name, rows in self.rows.items()}
        return Splits(
            train=splits["train"],
            valid=splits["valid"],
            test=splits["test"],
            classes=self.classes,
            fingerprint=short_digest([self.fingerprint, resolution]),
            source=self.source,
            location=self.location,
        )

    def _split(self, pool: torch.Tensor, rows: NDArray[np.int64]) -> Split:
        return Split(
            inputs=pool,
            rows=torch.from_numpy(rows),
            labels=torch.from_numpy(self.labels[rows].astype(np.int64)),
            groups=(),
            names=tuple(f"{self.source} {row}" for row in rows),
            keys=tuple(self.keys[row] for row in rows),
            identities=self.identities[torch.from_numpy(rows)],
        )


def is_idx(folder: Path) -> bool:
    # Not Path.is_dir(), which raises where a name is too long.
    return any(os.path.isdir(folder / kind / "raw") for kind in _KINDS)


def read_idx(folder: Path, *, seed: int = 0) -> IdxSet:
    """The images of a folder that torchvision filled: `FOLDER/MNIST/raw/*` or `FOLDER/FashionMNIST/raw/*`.

    Raises:
        InputError: both are there, or a file is missing or damaged.
    """
    kinds = [kind for kind in _KINDS if (folder / kind / "raw").is_dir()]
    if len(kinds) != 1:
        raise InputError(f"{str(folder)!r} holds {' and '.join(kinds) or 'no images'}: name a folder with one of them")
    raw = folder / kinds[0] / "raw"
    images, labels, test_images, test_labels = (_array(raw, name) for name in _FILES)
    for some, named in ((images, labels), (test_images, test_labels)):
        if some.ndim != 3 or named.ndim != 1 or len(some) != len(named):
            raise InputError(f"{str(raw)!r}: {len(some)} images do not go with {len(named)} labels: fetch them again")
    if len(images) < _LEAST or not len(test_images) or images.shape[1:] != test_images.shape[1:]:
        shapes = " and ".join("x".join(map(str, some.shape)) for some in (images, test_images))
        raise InputError(f"{str(raw)!r} has images {shapes}: there must be some, all of one size; fetch them again")
    if max(labels.max(), test_labels.max()) >= len(_KINDS[kinds[0]]):
        raise InputError(f"{str(raw)!r} has labels that {kinds[0]} does not: fetch it again")
    return IdxSet(
        images=np.concatenate([images, test_images]),
        labels=np.concatenate([labels, test_labels]),
        tests=len(test_images),
        classes=_KINDS[kinds[0]],
        seed=seed,
        source=kinds[0],
        location=str(folder.resolve()),
    )


def idx_folder(kind: str) -> Path:
    """Where `torchvision:KIND` is looked for, and put."""
    return cache_folder("torchvision", kind)


def idx_files(folder: Path, kind: str) -> list[Path]:
    """Those of the four files of `kind` that are in `folder`, packed or not."""
    raw = folder / kind / "raw"
    either = [(raw / f"{name}.gz", raw / name) for name in _FILES]
    return [next(path for path in paths if path.is_file()) for paths in either if any(map(Path.is_file, paths))]


def fetch_idx(source: str, *, progress: Progress | None = None) -> Path:
    """The folder of `torchvision:MNIST` or `torchvision:FashionMNIST`, filled where it was not yet.

    It is laid out as torchvision does it, so that either takes what the other has fetched. `progress` counts bytes, and
    nothing where all is there.

    Raises:
        InputError: there is no such source, or it can't be reached, or what is there is something else.
    """
    kind = source.removeprefix(TORCHVISION)
    if kind not in _KINDS:
        raise InputError(f"unknown source {source!r}: {', '.join(TORCHVISION + name for name in _KINDS)}")
    raw = idx_folder(kind) / kind / "raw"
    packed = [file for file in _published(kind) if not (raw / file.name.removesuffix(".gz")).is_file()]
    sizes = [file.size or 0 for file in packed]
    for number, file in enumerate(packed):
        download(file, raw, progress=_counted(progress, sum(sizes[:number]), sum(sizes)))
    return idx_folder(kind)


def _published(kind: str) -> list[RemoteFile]:
    first, *others = _MIRRORS[kind]
    return [
        RemoteFile(f"{first}{name}.gz", f"md5:{md5}", size, tuple(f"{other}{name}.gz" for other in others))
        for name, (md5, size) in zip(_FILES, _PUBLISHED[kind], strict=True)
    ]


def _counted(progress: Progress | None, before: int, total: int) -> Progress | None:
    return None if progress is None else lambda done, _: progress(before + done, total)


def _array(folder: Path, name: str) -> NDArray[np.uint8]:
    """An IDX file of bytes: 0, 0, 8, the number of axes, their lengths in 4 bytes each, then the bytes."""
    for path, opens in ((folder / f"{name}.gz", gzip.open), (folder / name, open)):
        if path.is_file():
            try:
                with opens(path, "rb") as file:
                    return _decoded(cast(IO[bytes], file))
            except (OSError, EOFError, ValueError, zlib.error) as problem:
                raise InputError(f"{str(path)!r} can't be read ({problem}): fetch it again") from None
    raise InputError(f"{str(folder)!r} lacks {name}, packed or not: fetch it again")


def _decoded(file: IO[bytes]) -> NDArray[np.uint8]:
    head = file.read(4)
    axes = head[3] if len(head) == 4 else 0
    lengths = file.read(4 * axes)
    if head[:3] != b"\x00\x00\x08" or len(lengths) < 4 * axes:
        raise ValueError("no IDX file of bytes")
    shape: Sequence[int] = np.frombuffer(lengths, ">u4").tolist()
    # No more than was announced, as a small packed file may hold any number of bytes.
    expected = math.prod(shape)
    if expected > _MOST_BYTES:
        raise ValueError(f"it holds {expected:,} bytes, more than {_MOST_BYTES:,}")
    data = file.read(expected + 1)
    if len(data) != expected:
        raise ValueError("cut off" if len(data) < expected else "longer than it says")
    return np.frombuffer(data, np.uint8).reshape(tuple(shape)).copy()
