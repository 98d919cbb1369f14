"""Published archives, written out as folders: photos as DIR/<split>/<class>/<file>, texts as one file.

What an archive calls its files never becomes a path: known members are read, and written under names of our own.
"""

from __future__ import annotations

import gzip
import io
import pickle
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from search_spaces import InputError

from ...machine import vision
from ...machine.threads import Progress, in_threads
from .unpacking_limits import opened_zip, tar_members

SMS_TEXTS = "SMSSpamCollection"

_CIFAR_BATCH = re.compile(r"cifar-10-batches-py/(data_batch_[1-5]|test_batch)")
_CIFAR_META = "cifar-10-batches-py/batches.meta"
_CIFAR_BATCHES = 6
_CLASS_PHOTO = re.compile(r"[^/]+/(train|validation|test)/([^/]+)/([\w-][\w.-]*\.jpe?g)", re.IGNORECASE | re.ASCII)
_ZIP_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
_FLOWER = re.compile(r"jpg/image_(\d{5})\.jpg")
_DAMAGE = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, pickle.UnpicklingError, zipfile.BadZipFile)
_FLOWER_SPLITS = {"train": "trnid", "valid": "valid", "test": "tstid"}


def unpack_cifar10(files: Sequence[Path], folder: Path, progress: Progress | None = None) -> None:
    """Writes the photos of `cifar-10-python.tar.gz` as PNG, without loss, into train/ and test/ of `folder`.

    Raises:
        InputError: the archive lacks something, or holds something else.
    """
    (archive,) = files
    names: list[str] = []
    batches: dict[str, tuple[Any, list[int]]] = {}
    with _read(archive):
        for member, content in tar_members(archive):
            if member == _CIFAR_META:
                names = [str(name) for name in _unpickled(content)["label_names"]]
            elif match := _CIFAR_BATCH.fullmatch(member):
                batch = _unpickled(content)
                batches[match[1]] = (np.asarray(batch["data"], np.uint8).reshape(-1, 3, 32, 32), batch["labels"])
        if not names or len(batches) < _CIFAR_BATCHES:
            raise ValueError("batches are missing")
        folders = [_folder_name(name) for name in names]
        jobs = [
            (
                folder / ("test" if batch == "test_batch" else "train") / folders[label] / f"{batch}_{row:05d}.png",
                pixels,
            )
            for batch, (photos, labels) in sorted(batches.items())
            for row, (pixels, label) in enumerate(zip(photos, labels, strict=True))
        ]
    _make_folders(path for path, _ in jobs)

    def write(job: tuple[Path, Any]) -> None:
        path, pixels = job
        Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(path)

    in_threads(write, jobs, progress=progress)


def unpack_flowers102(files: Sequence[Path], folder: Path, progress: Progress | None = None) -> None:
    """Writes the photos of `102flowers.tgz` as they are into train/, valid/ and test/ of `folder`.

    `files` are the archive, `imagelabels.mat` and `setid.mat`.

    Raises:
        InputError: the archive lacks something, or holds something else.
    """
    from scipy.io import loadmat  # type: ignore[import-untyped]

    archive, labels_file, splits_file = files
    with _read(labels_file):
        labels = [int(label) for label in np.ravel(loadmat(labels_file)["labels"])]
    with _read(splits_file):
        ids = loadmat(splits_file)
        split_of = {int(n): split for split, key in _FLOWER_SPLITS.items() for n in np.ravel(ids[key])}
    folders = [_folder_name(name) for name in vision.torchvision().datasets.Flowers102.classes]
    with _read(archive):
        paths = {n: folder / s / folders[labels[n - 1] - 1] / f"image_{n:05d}.jpg" for n, s in split_of.items()}
        _make_folders(paths.values())
        done = 0
        for member, content in tar_members(archive):
            match = _FLOWER.fullmatch(member)
            if match is not None and (path := paths.get(int(match[1]))) is not None:
                path.write_bytes(content)
                done += 1
                if progress is not None:
                    progress(done, len(paths))
        if done < len(paths):
            raise ValueError(f"{done} of {len(paths)} photos are there")


def unpack_class_folders(
    files: Sequence[Path], folder: Path, progress: Progress | None = None, *, classes: Mapping[str, str]
) -> None:
    """Writes the photos of a zip of ANY/{train,validation,test}/<class>/<file> as they are into `folder`.

    `classes` are the archive's names of them, each with ours.

    Raises:
        InputError: the archive lacks the photos of a class to train or to score on, or is damaged.
    """
    (archive,) = files
    with _read(archive), opened_zip(archive) as packed:
        found: dict[str, Path] = {}
        for member in packed.names:
            match = _CLASS_PHOTO.fullmatch(member)
            if match is not None and match[2] in classes:
                found[member] = folder / _ZIP_SPLITS[match[1]] / classes[match[2]] / match[3]
        wanted = {folder / split / name for split in ("train", "valid") for name in classes.values()}
        if absent := wanted - {path.parent for path in found.values()}:
            raise ValueError(f"no photos of {min(absent).name}")
        _make_folders(found.values())
        for done, (member, path) in enumerate(found.items(), 1):
            path.write_bytes(packed.read(member))
            if progress is not None:
                progress(done, len(found))


def unpack_sms_spam(files: Sequence[Path], folder: Path, progress: Progress | None = None) -> None:
    """Writes the texts of `sms+spam+collection.zip` into `SMSSpamCollection` of `folder`, checked by the zip's own CRC.

    Raises:
        InputError: the archive lacks them, or is damaged.
    """
    (archive,) = files
    with _read(archive), opened_zip(archive) as packed:
        content = packed.read(SMS_TEXTS)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SMS_TEXTS).write_bytes(content)
    if progress is not None:
        progress(1, 1)


class _Arrays(pickle.Unpickler):
    """Reads what batches of photos consist of, and runs nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy moved the first of them.
        if (module.replace("numpy._core", "numpy.core"), name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a batch of photos")
        return super().find_class(module, name)


_ALLOWED = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}


def _unpickled(content: bytes) -> dict[str, Any]:
    value = _Arrays(io.BytesIO(content), encoding="latin1").load()
    if not isinstance(value, dict):
        raise ValueError("a batch is no table")
    return value


def _folder_name(name: str) -> str:
    """A class name without what no file system or terminal likes."""
    kept = re.sub(r"[^\w' -]", "", name, flags=re.ASCII).strip()
    if not kept:
        raise ValueError(f"{name!r} can't name a folder")
    return kept


def _make_folders(files: Iterable[Path]) -> None:
    for parent in {file.parent for file in files}:
        parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def _read(path: Path) -> Iterator[None]:
    """Turns whatever damaged or unexpected bytes lead to into one line."""
    try:
        yield
    except (*_DAMAGE, LookupError, TypeError, ValueError, OverflowError, MemoryError) as problem:
        raise InputError(f"{path} does not hold what it should ({problem}): remove it, and get it again") from None
