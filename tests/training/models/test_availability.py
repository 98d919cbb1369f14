from __future__ import annotations

from pathlib import Path

import pytest

from search_spaces import FRUIT, Choice, InputError
from training import runnable

from ...toys import small_weights


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose only weights are SqueezeNet's."""
    monkeypatch.setattr(
        "training.models.availability.available",
        lambda name, folder: folder is not None and (folder / f"{name}.safetensors").is_file(),
    )
    return small_weights(tmp_path)


def test_backbones_without_weights_leave_and_the_recipe_follows(weights: Path) -> None:
    ready = runnable(FRUIT, {}, weights_dir=weights, download=False)
    assert ready.task.space.dimensions["backbone"] == Choice("squeezenet1_1")
    assert ready.task.recipe == FRUIT.recipe | {"backbone": "squeezenet1_1"}
    assert ready.recipe_note == "recipe with backbone squeezenet1_1 for vgg16"
    assert len(ready.notes) == 2
    assert "vgg16" in ready.notes[0]


def test_with_downloads_allowed_nothing_leaves() -> None:
    ready = runnable(FRUIT, {}, weights_dir=None, download=True)
    assert ready.task.space == FRUIT.space
    assert (ready.recipe_note, ready.notes) == ("recipe", ())


def test_a_backbone_that_the_user_names_is_downloaded_at_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        "training.models.availability.load_backbone", lambda name, weights_dir, download: asked.append((name, download))
    )
    ready = runnable(FRUIT, {"backbone": "resnet50"}, weights_dir=weights, download=False)
    assert asked == [("resnet50", True)]
    assert ready.download
    assert ready.task.recipe["backbone"] == "resnet50"


def test_no_weights_at_all_is_an_error_with_ways_out(weights: Path) -> None:
    with pytest.raises(InputError, match=r"pomona\[weights\].*--weights-dir.*--download-weights"):
        runnable(FRUIT, {}, weights_dir=None, download=False)


def test_a_recipe_loses_what_a_fixed_value_makes_meaningless() -> None:
    ready = runnable(FRUIT, {"unfrozen_stages": 0}, weights_dir=None, download=True)
    assert "fine_tune_rate" not in ready.task.recipe
    assert ready.task.recipe["unfrozen_stages"] == 0


def test_a_fixed_value_outside_the_space_is_refused() -> None:
    with pytest.raises(InputError, match="dropout"):
        runnable(FRUIT, {"dropout": 2.0}, weights_dir=None, download=True)


def test_a_study_that_goes_on_has_the_backbones_that_it_had_whatever_there_is_now(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    had = runnable(FRUIT, {}, weights_dir=weights, download=False)
    assert had.backbones == ("squeezenet1_1",)
    monkeypatch.setattr("training.models.availability.available", lambda *_: True)
    for download in (False, True):
        now = runnable(FRUIT, {}, weights_dir=weights, download=download, backbones=had.backbones)
        assert now.task.space.digest == had.task.space.digest
        assert now.task.recipe == had.task.recipe
    everything = runnable(FRUIT, {}, weights_dir=weights, download=True)
    again = runnable(FRUIT, {}, weights_dir=weights, download=False, backbones=everything.backbones)
    assert again.task.space.digest == everything.task.space.digest


def test_a_study_that_goes_on_names_the_backbone_that_is_gone(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.models.weights._in_package", lambda _: None)
    monkeypatch.setattr("training.models.weights._in_cache", lambda _: [])
    with pytest.raises(InputError, match=r"no weights for resnet50: .*--weights-dir.*--download-weights"):
        runnable(FRUIT, {}, weights_dir=weights, download=False, backbones=("squeezenet1_1", "resnet50"))
