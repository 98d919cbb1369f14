"""A task from the user's own file goes the whole way, from any folder, as long as its file is there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pomona.commands.show import _target_line

from ..search_spaces.task_files import BIRDS
from ..studies.settings import settings_for
from ..toys import TOY
from .conftest import Run


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "my tasks"
    folder.mkdir()
    (folder / "birds.py").write_text(BIRDS)
    return folder


def test_the_whole_job(
    run: Run, own: Path, photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own)
    storage = ["--storage", tmp_path / "journal.log"]
    options = ["--weights-dir", weights, "--epochs", 1, "--set", "unfrozen_stages=0"]
    assert "needs --data DIR" in run("search", "birds.py", *options, *storage)[2]
    search = ["search", "birds.py", "--data", photos, *options, "--trials", 1, *storage]
    code, _, err = run(*search)
    assert code == 0, err
    assert f"pomona train '{own}/birds.py' --from-study birds-1" in err

    # From another folder, by the study's name alone.
    monkeypatch.chdir(tmp_path)
    code, _, err = run("resume", "birds-1", "--trials", 2, *storage)
    assert (code, "--trust-task-file" in err) == (1, True)
    code, out, err = run("resume", "birds-1", "--trials", 2, "--json", *storage, "--trust-task-file")
    assert code == 0, err
    assert f"task file: {own}/birds.py" in err
    assert (json.loads(out)["ended"], json.loads(out)["task"]) == (2, "birds")
    code, out, _ = run("leaderboard", "birds-1", "--format", "json", *storage)
    assert len(json.loads(out)) == 2

    resume = ["resume", "birds-1", "--trials", 3, *storage, "--trust-task-file"]
    train = ["--from-study", "birds-1", "--out", "best", *storage]
    code, out, err = run("train", own / "birds.py", *train, "--json")
    assert code == 0, err
    trained = json.loads(out)
    assert trained["task"] == "birds"
    assert "birds, not of fruit" in run("train", "fruit", *train)[2]

    # The file changed, moved and gone.
    (own / "birds.py").write_text(BIRDS.replace("resolution=Choice(96)", "resolution=Choice(96, 128)"))
    assert "another search space" in run(*resume)[2]
    (own / "birds.py").write_text(BIRDS.replace('"birds"', '"parrots"'))
    assert "another task (birds, not parrots)" in run(*resume)[2]
    (own / "birds.py").unlink()
    code, _, err = run(*resume)
    assert (code, err.splitlines()[-1].startswith(f"error: no task file '{own}/birds.py'")) == (1, True)
    Path("moved.py").write_text(BIRDS)
    moved = ["moved.py" if part == "birds.py" else part for part in search]
    code, _, err = run(*moved[:-3], 3, *storage, "--study", "birds-1")
    assert code == 0, err

    # What was trained and found needs the file no more.
    code, out, err = run("evaluate", "best", "--json")
    assert code == 0, err
    assert json.loads(out)["accuracy"] == trained["value"]
    assert run("leaderboard", "birds-1", *storage)[0] == 0


@pytest.mark.parametrize(
    ("direction", "value", "bounds", "said"),
    [
        ("minimize", 3.0, (2.0, 4.0), "reached by the value, reached by its upper bound"),
        ("minimize", 4.5, (4.0, 5.5), "reached by the value, missed by its upper bound"),
        ("minimize", 8.3, (7.0, 9.0), "missed by the value, missed by its upper bound"),
        ("maximize", 8.3, (4.0, 9.0), "reached by the value, missed by its lower bound"),
        ("maximize", 3.0, (2.0, 4.0), "missed by the value, missed by its lower bound"),
    ],
)
def test_a_target_is_reached_from_the_side_that_is_better(
    direction: str, value: float, bounds: tuple[float, float], said: str
) -> None:
    settings = replace(settings_for(TOY), metric="rmse", direction=direction, target=5.0)
    assert _target_line("Target", 5.0, settings, "value", value, bounds) == f"Target 5: {said}."
