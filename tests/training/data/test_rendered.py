from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search_spaces import FRUIT, InputError
from training.data import open_data, splits_for
from training.data.drawn import drawing, rendered
from training.data.drawn.drawing import LABELS, render
from training.data.drawn.rendered import picture_of, rendered_folder
from training.data.photos import scan

from .folders import BARE, files_below, write_folder


def _digests(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files_below(folder)}


def test_the_labels_are_the_classes_of_the_task() -> None:
    assert FRUIT.classes == LABELS


@pytest.mark.parametrize("label", LABELS)
def test_a_picture_is_decided_by_its_generator(label: str) -> None:
    first, again, other = (render(label, np.random.default_rng(seed), 48) for seed in (0, 0, 1))
    assert first.shape == (48, 48, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(InputError, match="no drawings of 'freshpears'"):
        render("freshpears", np.random.default_rng(0), 48)


def test_pictures_differ_by_seed_split_label_and_number_and_not_by_what_was_drawn_before() -> None:
    places = [(0, "train", "freshapples", 0), (1, "train", "freshapples", 0), (0, "valid", "freshapples", 0)]
    places += [(0, "train", "rottenapples", 0), (0, "train", "freshapples", 1), (0, "train", "freshapples", 2)]
    forth = [picture_of(*place).tobytes() for place in places]
    back = [picture_of(*place).tobytes() for place in reversed(places)]
    assert forth == back[::-1]
    assert len(set(forth)) == len(places)


def test_the_folder_does_not_depend_on_workers_or_on_how_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = []
    for workers, count in ((1, 2), (2, 2), (2, 3)):
        monkeypatch.setenv("POMONA_CACHE", str(tmp_path / f"{workers} {count}"))
        folders.append(rendered_folder(3, train_per_class=count, valid_per_class=2, workers=workers))
    alone, together, larger = (_digests(folder) for folder in folders)
    assert alone == together
    assert {name: larger[name] for name in alone if name != "manifest.csv"}.items() <= larger.items()
    with Image.open(folders[0] / "train/freshapples/000.png") as picture:
        assert picture.size == (rendered.SIZE, rendered.SIZE)


def test_the_folder_is_one_like_any_other_with_series_that_do_not_straddle() -> None:
    photos = scan(rendered_folder(0, train_per_class=3, valid_per_class=2))
    assert photos.classes == LABELS
    assert photos.counts == {"train": dict.fromkeys(LABELS, 3), "valid": dict.fromkeys(LABELS, 2)}
    groups = {split: {p.group for p in photos.photos if p.split == split} for split in photos.counts}
    assert len(groups["train"]) == 12
    assert len(groups["valid"]) == 6
    assert not groups["train"] & groups["valid"]


def test_it_is_drawn_once_and_again_where_something_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = rendered_folder(0, train_per_class=1, valid_per_class=1)
    before = _digests(folder)
    with monkeypatch.context() as patch:
        patch.setattr(drawing, "photograph", None)
        assert rendered_folder(0, train_per_class=1, valid_per_class=1) == folder
    (folder / "valid/freshbanana/000.png").unlink()
    assert _digests(rendered_folder(0, train_per_class=1, valid_per_class=1)) == before


@pytest.mark.parametrize("damaged", ["train/freshapples/000.png", "manifest.csv", "../{}.json"])
def test_what_is_damaged_is_drawn_again_and_what_is_not_ours_stays(damaged: str, cache: Path) -> None:
    folder = rendered_folder(5, train_per_class=1, valid_per_class=1)
    before = _digests(folder)
    (folder / "notes.txt").write_text("mine")
    file = folder / damaged.format(folder.name)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert rendered_folder(5, train_per_class=1, valid_per_class=1) == folder
    assert (folder / "notes.txt").read_text() == "mine"
    assert _digests(folder) == before | {"notes.txt": hashlib.sha256(b"mine").hexdigest()}


def test_what_fails_half_way_leaves_no_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*place: object) -> None:
        if place[2] == "rottenbanana":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(rendered, "picture_of", fail)
    monkeypatch.setattr(Image, "fromarray", lambda pixels: Image.new("RGB", (4, 4)))
    with pytest.raises(InputError, match="no room left"):
        rendered_folder(0, train_per_class=1, valid_per_class=1)
    assert not [name for name in files_below(cache) if not name.endswith((".lock", "CACHEDIR.TAG"))]


def _few(seed: int, **options: object) -> Path:
    return rendered_folder(seed, train_per_class=1, valid_per_class=1)


@pytest.mark.parametrize(
    ("source", "named"), [(None, 0), ("rendered", 0), ("rendered:0", 0), ("rendered:7", 7)], ids=str
)
def test_open_data_draws_where_no_folder_is_named(
    monkeypatch: pytest.MonkeyPatch, source: str | None, named: int
) -> None:
    monkeypatch.setattr("training.data.modalities.photos.rendered_folder", _few)
    data = open_data(source, FRUIT)
    assert data.source == f"rendered (seed {named})"
    assert data.classes == FRUIT.classes
    assert splits_for(data, 224).train.inputs.shape == (12, 224, 224, 3)
    assert open_data(data.location, FRUIT) == data


@pytest.mark.parametrize("source", ["rendered:", "rendered:one", "rendered:-1", "rendered:²"])
def test_a_seed_of_rendered_data_is_a_number(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.modalities.photos.rendered_folder", _few)
    if source == "rendered:":
        assert open_data(source, FRUIT).source == "rendered (seed 0)"
        return
    with pytest.raises(InputError, match="whole number as its seed"):
        open_data(source, FRUIT)


def test_open_data_takes_a_folder_even_one_called_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = {f"{label}": 5 for label in LABELS}
    write_folder(tmp_path / "rendered", layout)
    monkeypatch.chdir(tmp_path)
    for source in (Path("rendered"), "./rendered", str(tmp_path / "rendered")):
        data = open_data(source, FRUIT)
        assert data.source == "rendered"
        assert open_data(data.location, FRUIT).fingerprint == data.fingerprint


def test_open_data_refuses_a_folder_of_other_things(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has the classes freshapples.*but orchard has apple, pear"):
        open_data(write_folder(tmp_path / "orchard", BARE), FRUIT)
    shutil.rmtree(tmp_path / "orchard")
    with pytest.raises(InputError, match="no folder"):
        open_data(tmp_path / "orchard", FRUIT)
