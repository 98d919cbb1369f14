from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from search_spaces import InputError
from training.data import idx
from training.data.idx import fetch_idx, idx_files, idx_folder, is_idx, read_idx
from training.machine import vision

from ...shared import SHARED_DATA, needs_data
from .server import Server, serving_idx

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    return header + array.tobytes()


def folder_of(root: Path, *, packed: bool = True, kind: str = "MNIST", seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    raw = root / kind / "raw"
    raw.mkdir(parents=True)
    arrays = [generator.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (50, 20)]
    labels = [np.arange(n, dtype=np.uint8) % 10 for n in (50, 20)]
    for name, array in zip(FILES, (arrays[0], labels[0], arrays[1], labels[1]), strict=True):
        data = idx_bytes(array)
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
    labels.write_bytes(gzip.compress(idx_bytes(np.zeros(7, np.uint8))))
    with pytest.raises(InputError, match="50 images do not go with 7 labels"):
        read_idx(folder)
    labels.unlink()
    with pytest.raises(InputError, match="lacks train-labels"):
        read_idx(folder)
    folder_of(tmp_path / "second", kind="FashionMNIST")
    with pytest.raises(InputError, match="unknown source"):
        fetch_idx("torchvision:EMNIST")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves a small MNIST in the place of the published one."""
    with serving_idx(folder_of(tmp_path / "published"), monkeypatch) as server:
        yield server


def test_what_is_fetched_is_the_published_data_where_torchvision_puts_it(
    server: Server, tmp_path: Path, cache: Path
) -> None:
    seen: list[tuple[int, int]] = []
    folder = fetch_idx("torchvision:MNIST", progress=lambda done, total: seen.append((done, total)))
    assert folder == idx_folder("MNIST")
    assert cache in folder.parents
    assert idx_files(folder, "MNIST") == [folder / "MNIST/raw" / f"{name}.gz" for name in FILES]
    assert read_idx(folder).fingerprint == read_idx(tmp_path / "published").fingerprint
    total = sum(len(content) for content in server.files.values())
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)
    seen.clear()
    fetch_idx("torchvision:MNIST", progress=lambda done, total: seen.append((done, total)))
    assert (seen, len(server.asked)) == ([], 4)


def test_torchvision_reads_what_was_fetched(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = vision.torchvision().datasets.MNIST
    resources = [(file.name, (file.checksum or "").removeprefix("md5:")) for file in idx._published("MNIST")]
    monkeypatch.setattr(theirs, "resources", resources)
    monkeypatch.setattr(theirs, "mirrors", [f"{server.address}/"])
    dataset = theirs(fetch_idx("torchvision:MNIST"), train=True, download=True)
    assert torch.equal(dataset.targets, torch.arange(50) % 10)
    assert len(server.asked) == 4


def test_what_torchvision_unpacked_is_not_fetched(server: Server) -> None:
    folder_of(idx_folder("MNIST"), packed=False)
    assert len(read_idx(fetch_idx("torchvision:MNIST")).images) == 70
    assert server.asked == []


def test_an_interrupted_fetch_goes_on(server: Server) -> None:
    server.drops = 1000
    with pytest.raises(InputError, match="what has come is kept"):
        fetch_idx("torchvision:MNIST")
    asked, server.drops = len(server.asked), None
    assert len(read_idx(fetch_idx("torchvision:MNIST")).images) == 70
    assert server.asked[asked][1] == "bytes=5000-"


def test_another_file_in_its_place_is_refused(server: Server) -> None:
    raw = folder_of(idx_folder("MNIST"), seed=1) / "MNIST/raw"
    with pytest.raises(InputError, match=rf"{raw / FILES[0]}\.gz is not the published file.*remove it"):
        fetch_idx("torchvision:MNIST")


def test_offline_both_ways_out_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_idx(folder_of(tmp_path), monkeypatch) as gone:
        pass
    with pytest.raises(InputError) as caught:
        fetch_idx("torchvision:MNIST")
    message = str(caught.value)
    raw = idx_folder("MNIST") / "MNIST/raw"
    assert "\n" not in message
    assert all(part in message for part in (gone.address, f"into {raw} by hand", "--data DIR"))


@pytest.mark.parametrize("kind", ["MNIST", "FashionMNIST"])
def test_addresses_and_checksums_are_torchvisions(kind: str) -> None:
    theirs = getattr(vision.torchvision().datasets, kind)
    assert [((file.url, *file.mirrors), file.checksum) for file in idx._published(kind)] == [
        (tuple(mirror + name for mirror in theirs.mirrors), f"md5:{md5}") for name, md5 in theirs.resources
    ]


@needs_data
def test_the_published_sets() -> None:
    for name, kind in (("mnist", "MNIST"), ("fashion", "FashionMNIST")):
        data = read_idx(SHARED_DATA / name)
        assert data.source == kind
        assert [path.stat().st_size for path in idx_files(SHARED_DATA / name, kind)] == [
            file.size for file in idx._published(kind)
        ]
        assert {split: sum(counts.values()) for split, counts in data.counts.items()} == {
            "train": 55_000,
            "valid": 5_000,
            "test": 10_000,
        }


def test_images_of_train_in_other_splits_are_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    assert "equal to images" not in read_idx(folder).summary()
    generator = np.random.default_rng(0)
    images = np.repeat(generator.integers(0, 256, (25, 28, 28), dtype=np.uint8), 2, axis=0)
    (folder / "MNIST" / "raw" / f"{FILES[0]}.gz").write_bytes(gzip.compress(idx_bytes(images)))
    data = read_idx(folder)
    kept = {image.tobytes() for image in data.images[data.rows["train"]]}
    copies = sum(image.tobytes() in kept for image in data.images[data.rows["valid"]])
    assert copies == data.copies_in("valid") > 0
    assert f"; {copies} of 10 valid images are equal to images of train: " in data.summary()


@pytest.mark.parametrize(
    ("name", "shape"),
    [(FILES[2], (20, 14, 14)), (FILES[2], (0, 28, 28)), (FILES[0], (4, 28, 28))],
    ids=["other size", "no test images", "too few to divide"],
)
def test_images_that_do_not_go_together_are_refused(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    folder = folder_of(tmp_path)
    raw = folder / "MNIST" / "raw"
    (raw / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(shape, np.uint8))))
    labels = name.replace("images-idx3", "labels-idx1")
    (raw / f"{labels}.gz").write_bytes(gzip.compress(idx_bytes(np.zeros(shape[0], np.uint8))))
    with pytest.raises(InputError, match=r"has images .*x.*: there must be some, all of one size"):
        read_idx(folder)


def test_a_packed_file_with_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    file = folder / "MNIST" / "raw" / f"{FILES[0]}.gz"
    whole = bytearray(gzip.compress(idx_bytes(np.zeros((50, 28, 28), np.uint8))))
    for place in range(12, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="fetch it again"):
            read_idx(folder)
