"""A search that is killed, at any moment, and resumed has the trials of the undisturbed one, to the last digit."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from search_spaces import Choice
from studies import Plan, Study
from studies.engines import InlineEngine, inline
from studies.engines.recovery import SavedGroups
from studies.journal import Journal
from training import Numerics

from ..toys import TOY, ToyData, toy_backbone
from .settings import settings_for

EPOCHS = 4
# Heads, and lanes that begin to train stages half way, on two batch sizes: several groups, and lanes that move.
TASK = replace(
    TOY,
    recipe=TOY.recipe | {"batch_size": 16},
    space=TOY.space.replace(batch_size=Choice(16, 24), head_width=Choice(0), unfrozen_stages=Choice(0, 1)),
)


@pytest.fixture(autouse=True)
def _toy_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "load_backbone", lambda name, **_options: toy_backbone(name))


def plan(lanes: int, trials: int) -> Plan:
    return Plan(
        task=TASK,
        data=ToyData(),
        trials=trials,
        epochs=EPOCHS,
        timeout=None,
        device=torch.device("cpu"),
        numerics=Numerics(),
        weights_dir=None,
        download=False,
        lanes=lanes,
    )


def everything(study: Study) -> dict[tuple[int, str], object]:
    """What a study says of each trial, the clock's readings apart."""
    records = [dataclasses.asdict(record) for record in study.records()]
    clock = ("seconds", "images_per_second", "features_per_second")
    return {(r["number"], name): value for r in records for name, value in r.items() if name not in clock}


def run(url: str, what: Plan) -> None:
    for _ in InlineEngine().run(Study.open("s", url, to_run=True), what, lambda _progress: None):
        pass


class Moments:
    """Copies of a study's files as they are at moments of its run: what a kill would leave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        (folder / "run").mkdir(parents=True)
        self.url = str(folder / "run" / "journal.log")

    def keep(self, *_: object) -> None:
        shutil.copytree(self.folder / "run", self.folder / f"moment-{self.count}")
        self.count += 1

    def urls(self) -> Iterator[str]:
        for number in range(self.count):
            yield str(self.folder / f"moment-{number}" / "journal.log")


@pytest.mark.parametrize(
    ("lanes", "trials", "pruner", "saves"),
    [(1, 5, "median", 1), (3, 9, "hyperband", 2), (3, 9, "median", 0)],
)
def test_a_kill_at_any_moment_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lanes: int, trials: int, pruner: str, saves: int
) -> None:
    """`saves`: after every so many epochs the lanes are saved, 0 is never."""
    moments = Moments(tmp_path)
    study = Study.create("s", moments.url, settings_for(TASK, epochs=EPOCHS, pruner=pruner), TASK.recipe)
    append, save, epochs = Journal._append, SavedGroups.save, 0

    def keep_and_append(self: Journal, records: bytes) -> int:
        moments.keep()
        return append(self, records)

    def save_sometimes(*arguments: object) -> None:
        nonlocal epochs
        epochs += 1
        if saves and epochs % saves == 0:
            save(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(inline.SaveClock, "due", lambda _clock: True)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_append", keep_and_append)
        patched.setattr(SavedGroups, "save", save_sometimes)
        list(InlineEngine().run(study, plan(lanes, trials), moments.keep))
    expected = everything(study)
    assert len({record.group for record in study.records()}) > 1
    if lanes > 1:
        assert any(record.start > 1 for record in study.records())
    for url in moments.urls():
        run(url, plan(lanes, trials))
        found = everything(Study.open("s", url))
        assert {key: (found.get(key), value) for key, value in expected.items() if found.get(key) != value} == {}, url
        assert found == expected
        assert not list(study.folder.glob("trials/*"))
