"""`pomona data show`: what is in the picture is what training sees."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from pomona.data_view import DataView, batch_grid, row_panels, seen_images, strengths_of, view_data
from pomona.figures import Grid, Listing, Panels, Picture, Row, grid_figure, panels_figure
from search_spaces import BONUS, FRUIT, SMS_SPAM, Choice, Dimension, Integer, SearchSpace
from training import InputSpec, Prefixes, Split, Structure, open_data
from training.data import modality_named, scan
from training.data.batches import order_of
from training.data.previews import Numbers, Pictures
from training.data.texts import BYTES
from training.frozen.source import training_pass

from ..toys import CLASSES, RESOLUTION, toy_backbone, toy_splits
from ..trained import texts_file
from .conftest import Run
from .photos import tiny_photos

EVERY = (0, 1, 2, 3, 4)


def rows_of(view: DataView) -> tuple[Row, ...]:
    assert isinstance(view.shown, Grid)
    return view.shown.rows


def as_bytes(picture: Picture) -> NDArray[np.uint8]:
    return np.rint(picture.pixels * 255).astype(np.uint8)


def pictures_of(split: Split, index: torch.Tensor) -> Pictures:
    shown = modality_named("image").preview(split, index, CLASSES)
    assert isinstance(shown, Pictures)
    return shown


@pytest.mark.parametrize("strength", EVERY)
def test_people_see_what_the_model_sees(strength: int) -> None:
    split, seed = toy_splits().train, 3
    seen = InputSpec(resolution=RESOLUTION, batch_size=8, augmentation=strength, views=2 if strength else 1)
    structure = Structure("toy", 2, seen)
    prefixes = Prefixes(backbones=toy_backbone)
    first = next(training_pass(prefixes, structure, split, seed=seed, epoch=1).batches())
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))
    torch.testing.assert_close(
        seen_images(pictures_of(split, first.index), RESOLUTION, strength), first.at(0) * std + mean
    )


def test_strength_0_shows_the_photos_as_they_are(photos: Path) -> None:
    view = view_data("fruit", str(photos), resolution=32, count=5)
    train = scan(photos).at(32).train
    shown = rows_of(view)[0].pictures
    assert [row.heading for row in rows_of(view)] == ["as they are", *(f"strength {s}" for s in EVERY[1:])]
    inputs, labels = train.take(torch.arange(len(train)))
    for picture in shown:
        same = [row for row, image in enumerate(inputs) if np.array_equal(image.numpy(), as_bytes(picture))]
        assert len(same) == 1
        assert picture.lines == (FRUIT.classes[int(labels[same[0]])],)
    assert len({picture.pixels.tobytes() for picture in shown}) == 5


def test_the_photos_are_the_first_that_training_sees(photos: Path) -> None:
    train = scan(photos).at(32).train
    structure = Structure("toy", 2, InputSpec(resolution=32, batch_size=8, augmentation=2, views=2))
    way = training_pass(Prefixes(backbones=toy_backbone), structure, train, seed=7, epoch=1)
    order = torch.cat([batch.index for batch in way.batches()])
    for count in (1, 12):
        view = view_data("fruit", str(photos), resolution=32, count=count, seed=7)
        names = [picture.lines[0] for picture in rows_of(view)[0].pictures]
        assert names == [FRUIT.classes[int(train.labels[i])] for i in order[:count]]
    others = rows_of(view_data("fruit", str(photos), resolution=32, count=12, seed=8))[0].pictures
    assert [p.pixels.tobytes() for p in others] != [p.pixels.tobytes() for p in rows_of(view)[0].pictures]


def test_copies_of_one_photo_stand_below_each_other() -> None:
    split, index = toy_splits().train, torch.arange(20)
    grid = batch_grid(pictures_of(split, index), [CLASSES[i % 3] for i in range(20)], (0, 1, 4), RESOLUTION, "toys")
    assert [len(row.pictures) for row in grid.rows] == [16] * 3 + [4] * 3
    assert [row.heading for row in grid.rows[3:]] == ["as they are", "strength 1", "strength 4"]
    below = [[*first.pictures, *second.pictures] for first, second in zip(grid.rows[:3], grid.rows[3:], strict=True)]
    for strength, pictures in zip((0, 1, 4), below, strict=True):
        expected = seen_images(pictures_of(split, index), RESOLUTION, strength).permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal([picture.pixels for picture in pictures], expected)
    assert [picture.lines for picture in below[0]] == [(CLASSES[i % 3],) for i in range(20)]
    assert all(picture.lines == () for picture in below[1] + below[2])
    # A weak change is nearer to the photo than a strong one.
    plain, weak, strong = ([picture.pixels for picture in pictures] for pictures in below)
    assert 0 < np.abs(np.subtract(weak, plain)).mean() < np.abs(np.subtract(strong, plain)).mean()


def test_grey_images_of_another_size() -> None:
    pool = torch.randint(0, 256, (6, 28, 28, 1), dtype=torch.uint8)
    split = Split(pool, torch.arange(6), torch.arange(6) % 3, (), tuple("abcdef"))
    pictures, labels = pictures_of(split, torch.arange(6)), [CLASSES[i % 3] for i in range(6)]
    grid = batch_grid(pictures, labels, (0, 3), 28, "grey")
    for picture, image in zip(grid.rows[0].pictures, pool, strict=True):
        np.testing.assert_array_equal(as_bytes(picture), np.repeat(image.numpy(), 3, axis=2))
    enlarged = batch_grid(pictures, labels, (0, 3), 40, "grey")
    assert all(picture.pixels.shape == (40, 40, 3) for row in enlarged.rows for picture in row.pictures)
    grid_figure(enlarged).canvas.draw()


@pytest.mark.parametrize(
    ("dimension", "strengths"),
    [
        (Integer(0, 4), EVERY),
        (Integer(1, 2), (0, 1, 2)),
        (Choice(0, 3), (0, 3)),
        (Choice(2, on_request=(4,)), (0, 2, 4)),
        (None, (0,)),
    ],
)
def test_strengths_are_those_of_the_space(dimension: Dimension | None, strengths: tuple[int, ...]) -> None:
    assert strengths_of(SearchSpace({"augmentation": dimension} if dimension else {})) == strengths


def test_only_train_is_augmented(photos: Path) -> None:
    view = view_data("fruit", str(photos), resolution=32, split="valid", count=99)
    assert view.strengths == (0,)
    assert [row.heading for row in rows_of(view)] == ["as they are", "as they are"]
    assert [len(row.pictures) for row in rows_of(view)] == [16, 2]


def test_the_answer_for_machines(run: Run, photos: Path, tmp_path: Path) -> None:
    code, out, err = run("data", "show", "fruit", "--data", photos, "--resolution", 32, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told == {
        "schema_version": 1,
        "file": "fruit-train.png",
        "source": photos.name,
        "classes": list(FRUIT.classes),
        "counts": {"train": dict.fromkeys(FRUIT.classes, 4), "valid": dict.fromkeys(FRUIT.classes, 3)},
        "fingerprint": scan(photos).fingerprint,
        "resolution": 32,
        "strengths": list(EVERY),
    }
    with Image.open(tmp_path / "fruit-train.png") as picture:
        picture.load()
        assert picture.format == "PNG"
        assert 1900 < picture.width <= 2000
        assert 400 < picture.height < 1200


def test_the_answer_for_people(run: Run, photos: Path, tmp_path: Path) -> None:
    options = ["--data", photos, "--resolution", 32, "--count", 3, "--out", "deep/look.png"]
    code, out, err = run("data", "show", "fruit", *options)
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert ["class", "train", "valid"] in lines
    assert ["rottenbanana", "4", "3"] in lines
    assert ["all", "24", "18"] in lines
    assert "written: deep/look.png" in out
    assert (tmp_path / "deep" / "look.png").stat().st_size > 1000


def test_a_folder_of_any_classes(run: Run, tmp_path: Path) -> None:
    folder = tiny_photos(tmp_path / "shed")
    for split in ("train", "valid"):
        (folder / split / "freshapples").rename(folder / split / "cost $5 $6")
    code, out, err = run("data", "show", "shed", "--resolution", 32, "--split", "valid", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["file"] == "shed-valid.png"
    assert told["classes"] == sorted({*FRUIT.classes, "cost $5 $6"} - {"freshapples"})
    assert told["strengths"] == [0]
    assert (tmp_path / "shed-valid.png").is_file()


def test_a_bare_folder_is_split(run: Run, photos: Path) -> None:
    code, out, err = run("data", "show", photos / "train", "--resolution", 32, "--out", "a.png", "--json")
    assert code == 0, err
    counts = json.loads(out)["counts"]
    assert {name: counts["train"][name] + counts["valid"][name] for name in FRUIT.classes} == dict.fromkeys(
        FRUIT.classes, 4
    )


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (("vegetables",), "no folder 'vegetables', and unknown task"),
        (("fruit", "--data", "nowhere"), "nowhere"),
        (("fruit", "--data", "own", "--split", "exam"), "unknown split 'exam'"),
        (("fruit", "--data", "own", "--split", "test"), "no split 'test'"),
        (("fruit", "--data", "own", "--out", "look.jpg"), "ends in .png"),
        (("own", "--data", "own"), "leave out --data"),
        (("own",), "1.png"),
    ],
)
def test_nothing_is_written_where_something_is_wrong(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], saying: str
) -> None:
    own = tiny_photos(tmp_path / "own")
    if arguments == ("own",):
        broken = own / "train" / "freshapples" / "1.png"
        broken.write_bytes(broken.read_bytes()[:900])
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run("data", "show", *arguments, "--resolution", 32)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: ")
    assert saying in err.splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before


def test_broken_files_are_left_out_when_asked(run: Run, tmp_path: Path) -> None:
    own = tiny_photos(tmp_path / "own")
    (own / "train" / "freshapples" / "1.png").write_bytes(b"\x89PNG\r\n")
    code, out, err = run("data", "show", "own", "--resolution", 32, "--skip-unreadable", "--json")
    assert code == 0, err
    assert json.loads(out)["counts"]["train"]["freshapples"] == 3


def test_a_split_with_copies_on_both_sides_is_kept_when_asked(run: Run, tmp_path: Path) -> None:
    own = tiny_photos(tmp_path / "own")
    for split, name in (("train", "one.png"), ("valid", "rotated_by_15_one.png")):
        Image.new("RGB", (40, 40), "red" if split == "train" else "blue").save(own / split / "freshapples" / name)
    sizes = []
    for options in ((), ("--trust-split",)):
        code, out, err = run("data", "show", "own", "--resolution", 32, *options, "--json")
        assert code == 0, err
        sizes.append([sum(classes.values()) for classes in json.loads(out)["counts"].values()])
    assert sizes[0] != sizes[1] == [25, 19]


def test_a_table_shows_its_target_against_each_feature() -> None:
    data = open_data("generated", BONUS).at(0)
    view = view_data("bonus", count=50, seed=3)
    panels = view.shown
    assert isinstance(panels, Panels)
    assert panels.names == BONUS.columns
    (order,) = order_of(len(data.train), len(data.train), seed=3, epoch=1)
    features, target = data.train.take(order[:50])
    np.testing.assert_array_equal(panels.features, features.numpy())
    np.testing.assert_array_equal(panels.target, target.numpy())
    np.testing.assert_array_equal(panels.targets, data.train.labels.numpy())
    figure = panels_figure(panels)
    assert [axes.get_xlabel() for axes in figure.axes] == list(BONUS.columns)
    for column, axes in enumerate(figure.axes[:3]):
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.stack([features[:, column], target], 1))
    assert sum(bar.get_height() for bar in figure.axes[3].patches) == len(data.train)
    figure.canvas.draw()


def test_a_table_of_classes_and_of_many_columns() -> None:
    features, target = torch.rand(30, 40), torch.arange(30) % 3
    split = Split(features, torch.arange(30), target, (), ("",) * 30)
    columns = (*(f"$c{column}" for column in range(40)), "kind")
    numbers = modality_named("tabular").preview(split, torch.arange(9), CLASSES, columns)
    assert isinstance(numbers, Numbers)
    panels = row_panels(numbers, CLASSES, "many")
    assert panels.names == (*columns[:23], "kind")
    assert "the first 23 of 40" in panels.title
    np.testing.assert_array_equal(panels.features, features[:9, :23].numpy())
    figure = panels_figure(panels)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(CLASSES)
    assert [bar.get_height() for bar in figure.axes[-1].patches] == [10, 10, 10]
    assert figure.get_size_inches().max() * figure.dpi < 5000
    figure.canvas.draw()


def test_texts_are_shown_as_far_as_the_model_reads_them(tmp_path: Path) -> None:
    file = texts_file(tmp_path / "texts.tsv")
    train = open_data(file, SMS_SPAM).at(0).train
    view = view_data("sms_spam", str(file), seed=5)
    assert isinstance(view.shown, Listing)
    (order,) = order_of(len(train), len(train), seed=5, epoch=1)
    expected = [(SMS_SPAM.classes[int(train.labels[i])], train.names[i].encode()[:BYTES].decode()) for i in order[:32]]
    assert list(view.shown.rows) == expected
    everything = view_data("sms_spam", str(file), count=128)
    assert isinstance(everything.shown, Listing)
    assert len(everything.shown.rows) == len(train)
    assert max(len(text.encode()) for _, text in everything.shown.rows) <= BYTES


def test_what_is_told_of_tables_and_texts(run: Run, tmp_path: Path) -> None:
    code, out, err = run("data", "show", "bonus", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["counts"] == {"train": {"rows": 800}, "valid": {"rows": 200}}
    assert (told["classes"], told["columns"]) == ([], list(BONUS.columns))
    assert not {"resolution", "strengths"} & set(told)
    with Image.open(tmp_path / told["file"]) as picture:
        assert 900 < picture.width <= 2000
    code, out, err = run("data", "show", "bonus", "--out", "bonus.png")
    assert code == 0, err
    assert ["rows", "800", "200"] in [line.split() for line in out.splitlines()]
    texts_file(tmp_path / "texts.tsv")
    code, out, err = run("data", "show", "sms_spam", "--data", "texts.tsv", "--split", "valid", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert set(told) == {"schema_version", "file", "source", "classes", "counts", "fingerprint"}
    assert sum(told["counts"]["train"].values()) + sum(told["counts"]["valid"].values()) == 91
    code, out, err = run("data", "show", "sms_spam", "--data", "texts.tsv")
    assert code == 0, err
    assert (tmp_path / "sms_spam-train.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (("bonus", "--resolution", 32), "leave out --resolution"),
        (("bonus", "--data", "nowhere.csv"), "nowhere.csv"),
        (("bonus", "--split", "test"), "no split 'test'"),
        (("sms_spam",), "needs --data"),
        (("sms_spam", "--data", "texts.tsv", "--count", 129), "at most 128"),
        (("fruit", "--count", 129), "at most 128"),
    ],
)
def test_what_does_not_suit_tables_and_texts(
    run: Run, tmp_path: Path, arguments: tuple[object, ...], saying: str
) -> None:
    texts_file(tmp_path / "texts.tsv")
    code, out, err = run("data", "show", *arguments)
    assert (code, out) == (1, "")
    assert len(err.strip().splitlines()) == 1
    assert saying in err
    assert [path.name for path in tmp_path.iterdir()] == ["texts.tsv"]


def test_help(run: Run) -> None:
    code, out, _ = run("data", "show", "--help")
    assert code == 0
    assert "Example" in out
    code, out, _ = run("data", "--help")
    assert code == 0
    assert "show" in out
    assert run("data", "show", "fruit", "--count", 0)[0] == 2
