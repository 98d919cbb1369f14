"""Archives like the published ones, with a handful of tiny photos."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

CIFAR_CLASSES = ("airplane", "automobile", "bird")


def tgz(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class _Python2(pickle._Pickler):  # type: ignore[name-defined]
    """Writes bytes and the place of numpy's function as in 2009, when CIFAR-10 was pickled."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<I", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def python2_pickle(value: object) -> bytes:
    buffer = io.BytesIO()
    _Python2(buffer, protocol=2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def cifar_members(per_batch: int = 3) -> dict[str, bytes]:
    """Members of `cifar-10-python.tar.gz`; the pixels of a photo follow from its batch and its row."""
    members = {"cifar-10-batches-py/batches.meta": python2_pickle({"label_names": list(CIFAR_CLASSES)})}
    for number, batch in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        labels = [row % len(CIFAR_CLASSES) for row in range(per_batch)]
        content = {"data": cifar_pixels(number, per_batch), "labels": labels, "filenames": ["../evil.png"] * per_batch}
        members[f"cifar-10-batches-py/{batch}"] = python2_pickle(content)
    return members


def cifar_pixels(batch: int, rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(batch).integers(0, 256, (rows, 3072), np.uint8)


def flower_files(photos: int = 9) -> tuple[bytes, bytes, bytes]:
    """`102flowers.tgz`, `imagelabels.mat` and `setid.mat`: photo n is of class n, and the splits take turns."""
    from scipy.io import savemat

    def jpeg(number: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (8, 6), (number, 0, 0)).save(buffer, "JPEG")
        return buffer.getvalue()

    def mat(values: dict[str, object]) -> bytes:
        buffer = io.BytesIO()
        savemat(buffer, values)
        return buffer.getvalue()

    numbers = range(1, photos + 1)
    archive = tgz({f"jpg/image_{n:05d}.jpg": jpeg(n) for n in numbers} | {"jpg/../../evil.jpg": b"x", "/evil": b"x"})
    splits = {key: [n for n in numbers if n % 3 == turn] for turn, key in enumerate(("trnid", "valid", "tstid"))}
    return archive, mat({"labels": list(numbers)}), mat(dict(splits))


def packed(members: Mapping[str, bytes]) -> bytes:
    """A zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def sms_zip(content: bytes | None = None, name: str = "SMSSpamCollection") -> bytes:
    """`sms+spam+collection.zip`, by default with 20 different texts."""
    if content is None:
        content = "".join(f"{'spam' if n % 4 == 0 else 'ham'}\ttext {n}\n" for n in range(20)).encode()
    return packed({name: content, "readme": b"by Almeida and Hidalgo"})


def write_all(folder: Path, **files: bytes) -> list[Path]:
    """`a_tgz=b"..."` is written as `a.tgz`."""
    paths = [folder / name.replace("_", ".") for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    return paths
