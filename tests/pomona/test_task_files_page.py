"""Every block of docs/task_files.md runs as it stands there."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pomona
from search_spaces import InputError

from .conftest import Run

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "task_files.md").read_text()
FILES = dict(re.findall(r"This is `(\w+\.py)`:\n\n```python\n(.*?)```", PAGE, re.S))
(NOTEBOOK,) = re.findall(r"In a notebook.*?```python\n(.*?)```", PAGE, re.S)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.strip().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The current folder, with the page's files and data for them."""
    rng = np.random.default_rng(0)
    for split in ("train", "valid"):
        for label, colour in (("robin", (200, 60, 30)), ("wren", (90, 70, 40))):
            place = tmp_path / "photos" / split / label
            place.mkdir(parents=True)
            for number in range(4):
                pixels = np.clip(rng.normal(colour, 25, (40, 40, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    rows = [(rooms, metres, 100 * rooms + 7 * metres) for rooms in range(1, 6) for metres in range(30, 90, 10)]
    lines = ["rooms,square_metres,rent", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "rent.csv").write_text("\n".join(lines) + "\n")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_block_runs(run: Run, folder: Path, weights: Path) -> None:
    assert set(FILES) == {"birds.py", "rent.py"}
    assert len(COMMANDS) >= 7
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        assert program == "pomona"
        if arguments[0] == "search" and "birds.py" in arguments:
            # The only weights that are available to a test; a user has some already.
            arguments += ["--weights-dir", str(weights)]
        code, out, err = run(*arguments)
        assert code == 0, f"{command}\n{err}"
        assert out.strip(), command


def test_the_notebook_runs(folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "birds", raising=False)
    # The only weights that are available to a test; a user has some already.
    names = {"weights": str(weights)}
    with_weights = NOTEBOOK.replace("pomona.search(BIRDS,", "pomona.search(BIRDS, weights_dir=weights,")
    exec(with_weights, names)
    study = names["study"]
    assert study.ended == 2
    assert study.settings.command.startswith("pomona.search(birds, data='photos'")
    with pytest.raises(InputError, match="task=TASK"):
        pomona.resume(study, trials=3)
    with pytest.raises(InputError, match="Task"):
        pomona.resume(study, trials=3, task="birds")  # type: ignore[arg-type]
    assert (folder / "from-notebook").is_dir()
