"""A search that is killed, at any moment, and resumed has the trials of the undisturbed one, to the last digit."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import Task
from studies import Plan, Progress, Study
from studies.groups import Groups
from studies.journal import Journal
from training import SaveClock
from training.lanes.heads import HeadStack

from .settings import settings_for
from .toy_plans import EPOCHS, HEADS, STAGES, plan, run_inline, use_toy_backbone


@pytest.fixture(autouse=True)
def _toy_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_backbone(monkeypatch)


def everything(study: Study) -> dict[tuple[int, str], object]:
    """What a study says of each trial, the clock's readings apart."""
    records = [dataclasses.asdict(record) for record in study.records()]
    clock = ("seconds", "images_per_second", "features_per_second")
    return {(r["number"], name): value for r in records for name, value in r.items() if name not in clock}


def run(url: str, what: Plan) -> None:
    for _ in run_inline(Study.open("s", url, to_run=True), what, lambda _progress: None):
        pass


class Moments:
    """Copies of a study's files as they are at moments of its run: what a kill would leave."""

    def __init__(self, folder: Path, every: int = 1) -> None:
        """Of `every` so many moments, one is kept."""
        self.folder = folder
        self.every = every
        self.count = 0
        (folder / "run").mkdir(parents=True)
        self.url = str(folder / "run" / "journal.log")

    def keep(self, *_: object) -> None:
        if self.count % self.every == 0:
            shutil.copytree(self.folder / "run", self.folder / f"moment-{self.count}", symlinks=True)
        self.count += 1

    def urls(self) -> Iterator[str]:
        for number in range(0, self.count, self.every):
            yield str(self.folder / f"moment-{number}" / "journal.log")


RUNS = [
    (STAGES, 1, 4, "median", 1),
    (HEADS, 3, 9, "hyperband", 2),
    (HEADS, 3, 8, "median", 0),
    (STAGES, 3, 6, "none", 3),
]
"""Task, lanes, trials, pruner, and after how many epochs the lanes are saved; 0 is never."""


def killed_at(moments: Moments, monkeypatch: pytest.MonkeyPatch, run_of: tuple[Task, int, int, str, int]) -> Study:
    """An undisturbed study, of which every batch and every write is a moment."""
    task, lanes, trials, pruner, saves = run_of
    study = Study.create("s", moments.url, settings_for(task, epochs=EPOCHS, pruner=pruner), task.recipe)
    append, epochs = Journal._append, 0

    def keep_and_append(self: Journal, records: bytes, **where: Any) -> int:
        moments.keep()
        return append(self, records, **where)

    def sometimes(_clock: SaveClock) -> bool:
        nonlocal epochs
        epochs += 1
        return bool(saves) and epochs % saves == 0

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_append", keep_and_append)
        patched.setattr(SaveClock, "due", sometimes)
        list(run_inline(study, plan(task, lanes, trials), moments.keep))
    assert len({record.group for record in study.records()}) > 1
    return study


def same_after(study: Study, url: str, what: Plan) -> None:
    run(url, what)
    assert everything(Study.open("s", url)) == everything(study)
    assert not list(Study.open("s", url).folder.glob("trials/*"))


@pytest.mark.parametrize("run_of", RUNS[:2], ids=["stages", "heads"])
def test_a_kill_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_of: tuple[Task, int, int, str, int]
) -> None:
    moments = Moments(tmp_path, every=31)
    study = killed_at(moments, monkeypatch, run_of)
    for url in moments.urls():
        same_after(study, url, plan(*run_of[:3]))


@pytest.mark.slow
@pytest.mark.parametrize("run_of", RUNS)
def test_a_kill_at_any_moment_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_of: tuple[Task, int, int, str, int]
) -> None:
    moments = Moments(tmp_path)
    study = killed_at(moments, monkeypatch, run_of)
    for url in moments.urls():
        same_after(study, url, plan(*run_of[:3]))


def test_what_was_saved_of_a_trial_goes_though_the_process_died_right_after_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SaveClock, "due", lambda _clock: True)
    moments, what = Moments(tmp_path), plan(STAGES, 1, 3)
    study = Study.create("s", moments.url, settings_for(STAGES, epochs=EPOCHS), STAGES.recipe)
    for _ in run_inline(study, what, lambda _progress: None):
        assert list(study.folder.glob("trials/*"))
        moments.keep()
    for url in moments.urls():
        same_after(study, url, what)


class Died(BaseException):
    """Nothing is written after it, as after a kill."""


def die_in(study: Study, what: Plan, monkeypatch: pytest.MonkeyPatch, guilty: int) -> bool:
    """Runs until a process would have died of the guilty trial; whether it did."""
    begin = HeadStack.begin

    def dies(self: HeadStack, epoch: int, order: Sequence[torch.Tensor]) -> None:
        if guilty in self.keys:
            raise Died
        begin(self, epoch, order)

    with monkeypatch.context() as patched:
        patched.setattr(HeadStack, "begin", dies)
        patched.setattr(Groups, "release", lambda _self: None)
        try:
            list(run_inline(study, what, lambda _progress: None))
        except Died:
            return True
    return False


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_trial_that_kills_the_process_is_given_up_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    url = str(tmp_path / "journal.log")
    Study.create("s", url, settings_for(HEADS, epochs=EPOCHS), HEADS.recipe)
    deaths = 0
    while die_in(Study.open("s", url, to_run=True), plan(HEADS, lanes, 5), monkeypatch, guilty=2):
        deaths += 1
        assert deaths < 9
    records = Study.open("s", url).records()
    assert [record.state for record in records] == ["complete"] * 2 + ["infeasible"] + ["complete"] * 2
    assert records[2].reason == "lost too often: the process died while it trained"
    # Twice in its lanes, to see that it was no accident, and once alone, to see which of them it was.
    assert deaths == (2 if lanes == 1 else 3)


def test_a_run_that_ends_by_itself_loses_no_trial(tmp_path: Path) -> None:
    url = str(tmp_path / "journal.log")
    Study.create("s", url, settings_for(HEADS, epochs=EPOCHS), HEADS.recipe)

    def stop(progress: Progress) -> None:
        if progress.running:
            raise KeyboardInterrupt

    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            list(run_inline(Study.open("s", url, to_run=True), plan(HEADS, 1, 2), stop))
    run(url, plan(HEADS, 1, 2))
    assert [record.state for record in Study.open("s", url).records()] == ["complete"] * 2


def test_trials_that_an_earlier_version_left_begin_again(tmp_path: Path) -> None:
    """It kept when a trial had joined its group, and the verdicts of one group."""
    url, what = str(tmp_path / "journal.log"), plan(HEADS, 3, 5)
    study = Study.create("s", url, settings_for(HEADS, epochs=EPOCHS, pruner="median"), HEADS.recipe)
    asked = [study.ask(HEADS.space, 5, group=0) for _ in range(3)]
    for proposal, start in zip(asked, (1, 1, 3), strict=True):
        assert proposal is not None
        study._open[proposal.number].set_user_attr("start", start)
        study.recording.report(proposal.number, 1, 0.25)
    study._study._storage.set_study_system_attr(study.id, "pomona:verdicts", [0, 3, [1]])
    study.groups.release()
    run(url, what)
    records = Study.open("s", url).records()
    assert len(records) == 5
    assert {record.state for record in records} <= {"complete", "pruned"}
    # What it had reported stays.
    assert all(record.curve[0] == (1, 0.25) for record in records[:3])
    assert len(records[0].curve) == EPOCHS
