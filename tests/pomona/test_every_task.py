"""The contract of tasks, for each of pomona's, on data and weights small enough for seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search_spaces import TASKS, Task

from ..contracts.task import Small, check_task
from ..training.data.test_idx import folder_of
from .conftest import Run

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

_TRANSFER = {"backbone": "squeezenet1_1", "resolution": 96, "batch_size": 16}


def class_folders(folder: Path, classes: Sequence[str]) -> Path:
    """A handful of photos a class, of its own shade."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("valid", 2)):
        for place, label in enumerate(classes):
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = generator.normal(25 + 20 * place, 20, (40, 40, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")
    return folder


def texts(folder: Path) -> Path:
    spam = [f"spam\tWIN a free prize now, call {number}" for number in range(20)]
    ham = [f"ham\tsee you at {number} then" for number in range(30)]
    (folder / "sms.tsv").write_text("\n".join(spam + ham) + "\n")
    return folder / "sms.tsv"


def table(folder: Path) -> Path:
    rows = [f"E{n},{n % 10},{n % 7},{n % 5},{12 * (n % 10) + 6 * (n % 7) + 2 * (n % 5) + 20}" for n in range(60)]
    head = "employee_id,performance,years_of_experience,projects_completed,bonus"
    (folder / "bonus.csv").write_text("\n".join([head, *rows]) + "\n")
    return folder / "bonus.csv"


def made_small(task: Task, folder: Path, weights: Path) -> Small:
    if task.modality == "tabular":
        data = table(folder)
        return Small(task, data, data)
    if task.modality == "text":
        (folder / "new.txt").write_text("win a prize\nsee you\n")
        return Small(task, texts(folder), folder / "new.txt", {"buckets": 4096, "embedding_width": 8})
    pretrained = "unfrozen_stages" in task.space.dimensions
    asked = folder / "asked.png"
    Image.new("RGB", (30, 20), (200, 40, 40)).save(asked)
    if task.sources and task.sources[0].startswith("torchvision:"):
        data = folder_of(folder / "idx", kind=task.sources[0].partition(":")[2])
        fixed: dict[str, object] = _TRANSFER | {"resolution": 64} if pretrained else {"batch_size": 64}
        return Small(task, data, asked, fixed, weights if pretrained else None)
    data = class_folders(folder / "photos", task.classes or ("left", "right"))
    return Small(task, data, asked, _TRANSFER, weights)


# Tasks of one modality and one kind of space go one way: of those, one is tested at once.
ALIKE = ("cats_dogs", "flowers", "clothing", "images")


@pytest.mark.parametrize(
    "task",
    [pytest.param(task, id=task.name, marks=[pytest.mark.slow] if task.name in ALIKE else []) for task in TASKS],
)
def test_a_task_goes_from_search_to_export(task: Task, tmp_path: Path, weights: Path, run: Run) -> None:
    check_task(made_small(task, tmp_path, weights), run)


def test_the_contract_notices_a_task_that_is_broken(tmp_path: Path, weights: Path, run: Run) -> None:
    small = made_small(next(task for task in TASKS if task.name == "bonus"), tmp_path, weights)
    wrong = replace(small, asked=tmp_path / "absent.csv")
    with pytest.raises(AssertionError, match=r"absent\.csv"):
        check_task(wrong, run)
