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
