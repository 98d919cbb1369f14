"""Figures of an evaluation: what stands in them, and that they are whole files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.metrics import confusion_matrix

from pomona.evaluation_figures import (
    check_folder,
    confusion_figure,
    curves_figure,
    mistakes_grid,
    mistakes_listing,
    phase_changes,
    predicted_figure,
    residuals_listing,
)
from pomona.figures import Grid, Listing, Picture, Row, grid_figure, listing_figure, save, shortened
from pomona.mistakes import Mistake, Residual, mistakes, residuals
from search_spaces import InputError
from training import Checkpoint, EpochResult, Evaluation, Split, wilson
from training.data import modality_named
from training.data.previews import Pictures
from training.scoring.intervals import accuracy

from ..toys import CLASSES, toy_splits
from ..trained import bonus_checkpoint, level_checkpoint, texts_checkpoint
from .conftest import Run
from .photos import tiny_photos

PHOTO_FILES = ("confusion.png", "mistakes.png", "curves.png", "evaluation.json")


def evaluation_of(labels: Sequence[int], logits: torch.Tensor, classes: tuple[str, ...] = CLASSES) -> Evaluation:
    predicted = logits.argmax(1).tolist()
    confusion = confusion_matrix(labels, predicted, labels=range(len(classes))).tolist()
    correct = [a == b for a, b in zip(labels, predicted, strict=True)]
    score = accuracy(correct)
    return Evaluation("accuracy", score, None, {}, score, {}, confusion, classes, logits)


def curve(*stages: int) -> tuple[EpochResult, ...]:
    return tuple(
        EpochResult(epoch, len(stages), 1 / epoch, 2 / epoch, 1 - 0.5 / epoch, 1.0, 10, trained)
        for epoch, trained in enumerate(stages, 1)
    )


def png(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert len(picture.convert("L").getcolors(256) or []) > 1
        return picture.size


@given(st.data())
def test_mistakes_are_the_wrong_answers_by_confidence(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 24))
    labels = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    values = st.lists(st.integers(-3, 3).map(float), min_size=3, max_size=3)
    logits = torch.tensor(data.draw(st.lists(values, min_size=n, max_size=n)))
    split = Split(torch.zeros(n), torch.arange(n), torch.tensor(labels), (), tuple(f"{i}.png" for i in range(n)))
    evaluation = evaluation_of(labels, logits)
    found = mistakes(evaluation, split)
    right = round(evaluation.score.value * n)
    assert len(found) == len({mistake.index for mistake in found}) == n - right
    assert all(mistake.true != mistake.predicted for mistake in found)
    assert all(mistake.name == f"{mistake.index}.png" for mistake in found)
    assert all(mistake.true == CLASSES[labels[mistake.index]] for mistake in found)
    confidence = [mistake.probability for mistake in found]
    assert confidence == sorted(confidence, reverse=True)
    assert confidence == [pytest.approx(float(logits.softmax(1)[mistake.index].max())) for mistake in found]


@given(missed=st.lists(st.integers(-9, 9), min_size=1, max_size=20))
def test_residuals_are_all_examples_the_worst_missed_first(missed: list[int]) -> None:
    n = len(missed)
    labels = torch.arange(n, dtype=torch.float32)
    names = tuple(f"row {i}" for i in range(n))
    split = Split(torch.zeros(n), torch.arange(n), labels, (), names)
    evaluation = evaluation_of([0], torch.tensor([[1.0, 0.0, 0.0]]))
    found = residuals(replace(evaluation, outputs=(labels + torch.tensor(missed))[:, None]), split)
    assert sorted(residual.index for residual in found) == list(range(n))
    assert all((r.name, r.true) == (names[r.index], float(r.index)) for r in found)
    off = [abs(residual.predicted - residual.true) for residual in found]
    assert off == sorted(off, reverse=True)


def pictures_of(split: Split, found: Sequence[Mistake]) -> Pictures:
    index = torch.tensor([mistake.index for mistake in found], dtype=torch.int64)
    shown = modality_named("image").preview(split, index, CLASSES)
    assert isinstance(shown, Pictures)
    return shown


def test_the_grid_shows_the_most_confident_mistakes() -> None:
    split = toy_splits(train=0, valid=60).valid
    logits = torch.zeros(60, 3)
    logits[torch.arange(60), (split.labels + 1) % 3] = torch.linspace(1, 9, 60)
    found = mistakes(evaluation_of(split.labels.tolist(), logits), split)
    assert [mistake.index for mistake in found] == list(range(59, -1, -1))
    grid = mistakes_grid(found, pictures_of(split, found[:24]), len(split), "toys")
    assert "24 of 60 mistakes" in grid.title
    pictures = [picture for row in grid.rows for picture in row.pictures]
    assert [len(row.pictures) for row in grid.rows] == [8, 8, 8]
    for picture, mistake in zip(pictures, found, strict=False):
        np.testing.assert_array_equal(np.rint(picture.pixels * 255), split.inputs[split.rows[mistake.index]].numpy())
        true, taken_for, name = picture.lines
        assert true == mistake.true
        assert taken_for == f"taken for {mistake.predicted}, {100 * mistake.probability:.1f} %"
        assert name == f"{mistake.index}.png"


def test_a_model_without_mistakes(tmp_path: Path) -> None:
    split = toy_splits(train=0, valid=9).valid
    found = mistakes(evaluation_of(split.labels.tolist(), torch.eye(3)[split.labels]), split)
    grid = mistakes_grid(found, pictures_of(split, found), len(split), "toys")
    assert (found, grid.rows) == ([], ())
    assert "no mistakes, all 9 are right" in grid.title
    save(grid_figure(grid), tmp_path / "none.png")
    assert png(tmp_path / "none.png")[0] == 900


def test_the_confusion_matrix() -> None:
    labels = [0, 0, 0, 0, 2, 2]
    logits = torch.eye(3)[[0, 0, 0, 2, 2, 2]]
    classes = ("a $1 and $2", "nobody", "c")
    figure = confusion_figure(evaluation_of(labels, logits, classes), "title $x$")
    axes = figure.axes[0]
    (shading,) = axes.images
    np.testing.assert_allclose(np.asarray(shading.get_array()), [[0.75, 0, 0.25], [0, 0, 0], [0, 0, 1]])
    assert {text.get_position(): text.get_text() for text in axes.texts} == {(0, 0): "3", (2, 0): "1", (2, 2): "2"}
    assert [label.get_text() for label in axes.get_xticklabels()] == list(classes)
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"{classes[0]} (4)", "nobody (0)", "c (2)"]
    assert axes.get_title() == "title $x$"


def test_classes_that_are_no_text_are_drawn_with_escapes(tmp_path: Path) -> None:
    labels = torch.arange(2)
    figure = confusion_figure(evaluation_of(labels, torch.eye(2), ("caf\udce9", "line\nbreak")), "caf\udce9 (valid)")
    save(figure, tmp_path / "drawn.png")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["caf\\xe9", "line\\nbreak"]
    assert axes.get_title() == "caf\\xe9 (valid)"
    figure.canvas.draw()


def test_a_confusion_matrix_of_many_classes_is_no_wall() -> None:
    classes = tuple(f"class {i}" for i in range(120))
    figure = confusion_figure(evaluation_of(list(range(120)), torch.eye(120), classes), "many")
    assert figure.get_size_inches().max() * figure.dpi < 5000


def test_the_curves() -> None:
    epochs = curve(0, 0, 5, 5)
    figure = curves_figure(epochs, "accuracy", 100, "curves")
    losses, accuracies = figure.axes
    drawn = {str(line.get_label()): line for line in losses.lines}
    np.testing.assert_allclose(drawn["training"].get_xydata(), [[e.epoch, e.loss] for e in epochs])
    np.testing.assert_allclose(drawn["validation"].get_xydata(), [[e.epoch, e.valid_loss] for e in epochs])
    np.testing.assert_allclose(drawn["from epoch 3: 5 stages of the backbone too"].get_xdata(), [2.5, 2.5])
    np.testing.assert_allclose(accuracies.lines[0].get_xydata(), [[e.epoch, 100 * e.value] for e in epochs])
    bars = [segment[:, 1] for segment in accuracies.collections[0].get_segments()]
    for bar, epoch in zip(bars, epochs, strict=True):
        np.testing.assert_allclose(bar, 100 * np.array(wilson(epoch.value, 100).ci95))
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("stages", "changes"), [((0,), []), ((0, 0, 0), []), ((0, 5), [(2, 5)]), ((0, 2, 2, 4), [(2, 2), (4, 4)])]
)
def test_phase_changes(stages: tuple[int, ...], changes: list[tuple[int, int]], tmp_path: Path) -> None:
    assert phase_changes(curve(*stages)) == changes
    save(curves_figure(curve(*stages), "accuracy", 10, "curves"), tmp_path / "curves.png")
    assert png(tmp_path / "curves.png") == (1300, 500)


def test_names_are_no_formulas_and_may_be_in_any_script(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((8, 8, 3), dtype=np.float32)
    picture = Picture(pixels, ("$x^{2 and $", "苹果", "a\\b_c", "caf\udce9\x1b[31m"))
    save(grid_figure(Grid("$ $$ {", (Row((picture, picture), "$"),))), tmp_path / "names.png")
    assert png(tmp_path / "names.png")[0] >= 900
    assert [path.name for path in tmp_path.iterdir()] == ["names.png"]


def test_a_grid_of_different_rows_is_at_most_2000_pixels_wide() -> None:
    picture = Picture(np.zeros((8, 8, 3), np.float32), ("line",))
    for columns in (1, 2, 7, 16):
        figure = grid_figure(Grid("title", (Row((picture,) * columns, "before"), Row((picture,)))))
        width = figure.get_size_inches()[0] * figure.dpi
        assert 900 <= round(width) <= 2000
        right = max(image.get_extent()[1] for image in figure.axes[0].images)
        assert right <= width
        assert len(figure.axes[0].images) == columns + 1


@given(st.text("abc. ", max_size=30), st.integers(1, 40))
def test_shortened(text: str, length: int) -> None:
    short = shortened(text, length)
    assert len(short) == min(len(text), length)
    before, mark, behind = short.partition("…")
    assert (mark == "…") == (len(text) > length)
    assert text.startswith(before)
    assert text.endswith(behind)


def test_the_folder_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_folder(tmp_path)
    check_folder(tmp_path / "new")
    with pytest.raises(InputError, match="is a file"):
        check_folder(tmp_path / "file")


def test_evaluate_draws_when_asked(run: Run, small: list[object], tmp_path: Path) -> None:
    code, _, err = run("train", "fruit", "--recipe", *small, "--epochs", 2, "--out", "c")
    assert code == 0, err
    plain = json.loads(run("evaluate", "c", "--json")[1])
    assert "figures" not in plain
    code, out, err = run("evaluate", "c", "--figures", "figures", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told.pop("figures") == [f"figures/{name}" for name in PHOTO_FILES]
    assert told == plain
    folder = tmp_path / "figures"
    assert sorted(path.name for path in folder.iterdir()) == sorted(PHOTO_FILES)
    for name in PHOTO_FILES[:3]:
        width, height = png(folder / name)
        assert 400 < width <= 2000
        assert 50 < height < 2000
    kept = json.loads((folder / "evaluation.json").read_text())
    wrong = kept.pop("mistakes")
    assert kept == plain
    assert len(wrong) == plain["n"] - sum(plain["confusion"][i][i] for i in range(6))
    assert all(mistake["true"] != mistake["predicted"] for mistake in wrong)
    code, out, _ = run("evaluate", "c", "--figures", "figures")
    assert code == 0
    assert "written: figures/confusion.png, figures/mistakes.png" in out

    own = tiny_photos(tmp_path / "own")
    shutil.move(own / "valid" / "freshapples", own / "valid" / "pears")
    (tmp_path / "file").write_text("kept")
    before = sorted(tmp_path.rglob("*"))
    for arguments in (("--data", own, "--figures", "new"), ("--figures", "file")):
        code, out, err = run("evaluate", "c", *arguments)
        assert (code, out) == (1, "")
        assert err.splitlines()[-1].startswith("error: ")
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "file").read_text() == "kept"


@given(
    rows=st.lists(
        st.tuples(st.text(max_size=12), st.text("spam", max_size=8), st.text("word $£\n\t苹{", max_size=400)),
        max_size=4,
    )
)
def test_a_listing_keeps_within_its_picture(rows: list[tuple[str, ...]]) -> None:
    figure = listing_figure(Listing("title", ("true", "taken for", "example"), tuple(rows)))
    width, height = (round(side * figure.dpi) for side in figure.get_size_inches())
    assert 900 <= width <= 2000
    texts = [text for text in figure.axes[0].texts if text.get_text() != "title"]
    assert len(texts) == (3 * (1 + len(rows)) if rows else 0)
    for text, cell in zip(texts[3:], (cell for row in rows for cell in row), strict=True):
        assert text.get_text().isprintable() or not text.get_text()
        assert len(text.get_text()) <= len(cell)
        assert text.get_position()[1] < height
        assert text.get_position()[0] + 7 * len(text.get_text()) <= width


def test_letters_are_as_wide_as_reckoned(tmp_path: Path) -> None:
    for length in (20, 250, 900):
        text = "Wi ü" * (length // 4)
        figure = listing_figure(Listing("title", ("a", "b"), (("ham", text), ("spam", "short"))))
        figure.canvas.draw()
        drawn = [part.get_window_extent() for part in figure.axes[0].texts]
        assert max(box.x1 for box in drawn) <= figure.get_size_inches()[0] * figure.dpi
        # The columns stand beside each other.
        assert drawn[3].x1 < drawn[4].x0
    save(figure, tmp_path / "wide.png")
    assert png(tmp_path / "wide.png")[0] <= 2000


def test_texts_that_were_mistaken_are_lines() -> None:
    found = [Mistake(7, "see you", "ham", "spam", 0.987), Mistake(2, "WIN", "spam", "ham", 0.5)]
    listing = mistakes_listing(found, ["see you", "WIN"], 30, "texts")
    assert listing.rows == (("ham", "spam", "98.7", "see you"), ("spam", "ham", "50.0", "WIN"))
    assert "2 of 2 mistakes" in listing.title
    assert mistakes_listing([], [], 30, "texts").title == "texts: no mistakes, all 30 are right"


def test_numbers_against_what_they_should_be() -> None:
    found = [Residual(1, "b", 4.0, 7.0), Residual(0, "a", 2.0, 1.0), Residual(2, "c", 9.0, 9.0)]
    figure = predicted_figure(found, "cost $", "title $x$")
    predictions, misses = figure.axes
    np.testing.assert_allclose(predictions.lines[0].get_xydata(), [[4, 7], [2, 1], [9, 9]])
    np.testing.assert_allclose(predictions.lines[1].get_xydata(), [[2, 2], [9, 9]])
    np.testing.assert_allclose(misses.lines[0].get_xydata(), [[4, 3], [2, -1], [9, 0]])
    assert (predictions.get_xlabel(), predictions.get_ylabel()) == ("cost $, true", "cost $, predicted")
    figure.canvas.draw()
    listing = residuals_listing(found, ["row 2", "row 1", "row 3"], "numbers")
    assert listing.rows == (("4", "7", "+3", "row 2"), ("2", "1", "-1", "row 1"), ("9", "9", "+0", "row 3"))
    assert "the worst 3 of 3" in listing.title


@pytest.mark.parametrize(
    ("metric", "unit", "label", "loss"),
    [
        ("r2", 1, "r2", "mean squared error"),
        ("rmse", 1, "rmse", "mean squared error"),
        ("f1:$pam", 100, "f1:$pam (%)", "mean loss (nats)"),
    ],
)
def test_the_curves_of_other_metrics_have_no_interval(metric: str, unit: int, label: str, loss: str) -> None:
    epochs = curve(0, 0, 0)
    figure = curves_figure(epochs, metric, 100, "curves")
    losses, values = figure.axes
    assert (losses.get_ylabel(), values.get_ylabel()) == (loss, label)
    np.testing.assert_allclose(values.lines[0].get_xydata(), [[e.epoch, unit * e.value] for e in epochs])
    assert not values.collections
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("train", "first", "kept"),
    [
        (bonus_checkpoint, "predicted.png", "residuals"),
        (level_checkpoint, "confusion.png", "mistakes"),
        (texts_checkpoint, "confusion.png", "mistakes"),
    ],
)
def test_evaluate_draws_tables_and_texts(
    run: Run, tmp_path: Path, train: Callable[[Path], Checkpoint], first: str, kept: str
) -> None:
    record = train(tmp_path / "c").record
    code, out, err = run("evaluate", "c", "--figures", "figures", "--json")
    assert code == 0, err
    told = json.loads(out)
    names = (first, "mistakes.png", "curves.png", "evaluation.json")
    assert told.pop("figures") == [f"figures/{name}" for name in names]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(names)
    for name in names[:3]:
        width, height = png(tmp_path / "figures" / name)
        assert 400 < width <= 2000
        assert 50 < height < 2000
    summary = json.loads((tmp_path / "figures" / "evaluation.json").read_text())
    listed = summary.pop(kept)
    assert summary == told
    if kept == "residuals":
        assert len(listed) == record.n
        misses = [abs(one["predicted"] - one["true"]) for one in listed]
        assert misses == sorted(misses, reverse=True)
        assert told["rmse"] == pytest.approx(np.sqrt(np.mean(np.square(misses))), rel=1e-4)
    else:
        assert len(listed) == record.n - sum(told["confusion"][i][i] for i in range(2))
