from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from search_spaces import InputError
from training.data.idx import fetch_idx, is_idx, read_idx

from ...shared import SHARED_DATA, needs_data

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array: NDArray[np.uint8]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return header + array.tobytes()


def folder_of(root: Path, *, packed: bool = True, kind: str = "MNIST", seed: int = 0) -> Path:
    chance = np.random.default_rng(seed)
    raw = root / kind / "raw"
    raw.mkdir(parents=True)
    arrays = [chance.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (50, 20)]
    labels = [np.arange(n, dtype=np.uint8) % 10 for n in (50, 20)]
    for name, array in zip(FILES, (arrays[0], labels[0], arrays[1], labels[1]), strict=True):
        data = idx(array)
        (raw / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return root


def test_the_publishers_test_images_are_test_and_nothing_else(tmp_path: Path) -> None:
    data = read_idx(folder_of(tmp_path))
    splits = data.at(28)
    assert splits.test is not None
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [40, 10, 20]
    rows = torch.cat([splits.train.rows, splits.valid.rows, splits.test.rows])
    assert sorted(rows.tolist()) == list(range(70))
    assert splits.test.rows.tolist() == list(range(50, 70))
    images, labels = splits.test.take(torch.arange(20))
    assert images.shape == (20, 28, 28, 1)
    assert labels.tolist() == [n % 10 for n in range(20)]
    assert sum(sum(counts.values()) for counts in data.counts.values()) == 70


def test_packed_or_not_is_the_same_data(tmp_path: Path) -> None:
    one, other = (read_idx(folder_of(tmp_path / name, packed=name == "a")) for name in ("a", "b"))
    assert one.fingerprint == other.fingerprint
    assert one.keys == other.keys
    assert one.fingerprint != read_idx(folder_of(tmp_path / "c", seed=1)).fingerprint
    assert one.fingerprint != read_idx(tmp_path / "a", seed=1).fingerprint


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    assert not is_idx(tmp_path)
    folder = folder_of(tmp_path)
    assert is_idx(folder)
    labels = folder / "MNIST" / "raw" / f"{FILES[1]}.gz"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-10])
    with pytest.raises(InputError, match="can't be read"):
        read_idx(folder)
    labels.write_bytes(gzip.compress(gzip.decompress(whole)[:-3]))
    with pytest.raises(InputError, match="cut off"):
        read_idx(folder)
    labels.write_bytes(gzip.compress(idx(np.zeros(7, np.uint8))))
    with pytest.raises(InputError, match="50 images do not go with 7 labels"):
        read_idx(folder)
    labels.unlink()
    with pytest.raises(InputError, match="lacks train-labels"):
        read_idx(folder)
    folder_of(tmp_path / "second", kind="FashionMNIST")
    with pytest.raises(InputError, match="unknown source"):
        fetch_idx("torchvision:EMNIST")


def test_offline_both_ways_out_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training import vision

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setenv("POMONA_CACHE", str(tmp_path))
    monkeypatch.setattr(vision.torchvision().datasets, "MNIST", unreachable)
    with pytest.raises(InputError, match=r"no route.*--data"):
        fetch_idx("torchvision:MNIST")


@needs_data
def test_the_published_sets() -> None:
    for name, kind in (("mnist", "MNIST"), ("fashion", "FashionMNIST")):
        data = read_idx(SHARED_DATA / name)
        assert data.source == kind
        assert {split: sum(counts.values()) for split, counts in data.counts.items()} == {
            "train": 55_000,
            "valid": 5_000,
            "test": 10_000,
        }
