"""The best state that an interrupted search has saved: shown, kept as it is, and trained to its end."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest

import pomona
from search_spaces import FRUIT, InputError
from studies import Interrupted, Progress, SearchRequest, Study, prepare_search
from studies.recording import Recording
from training import State, load_checkpoint
from training.machine.digest import note

from .conftest import Run

EPOCHS = 4
FROM_STUDY = ("train", "bonus", "--from-study", "s")
REFUSED = "leave --as-saved out"


def interrupted(epochs: float, request: SearchRequest | None = None) -> Study:
    """A study of one trial, of the bonus task by default, stopped when that had done so many epochs."""
    request = request or SearchRequest("bonus")
    request = replace(request, study="s", epochs=EPOCHS, trials=1, lanes=1, seed=5, workers=1)
    prepared = prepare_search(request, lambda _: None)

    def watch(progress: Progress) -> None:
        if progress.done * EPOCHS >= epochs:
            raise Interrupted("by the user")

    with pytest.raises(Interrupted), contextlib.closing(prepared.run(watch)) as outcomes:
        list(outcomes)
    return Study.open("s", None)


@pytest.fixture
def stopped() -> Study:
    return interrupted(2.3)


def curve_of(folder: str) -> list[tuple[float, float, float]]:
    return [(row["loss"], row["valid_loss"], row["value"]) for row in load_checkpoint(Path(folder)).record.curve]


def test_a_search_that_ends_by_time_shows_its_winner_and_how_to_use_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studies.driver import Driver

    check = Driver._check

    def late(driver: Driver) -> None:
        if sum(each.epochs_done for each in driver._working.values()) > 2.3:
            driver._deadline = -1.0
        check(driver)

    monkeypatch.setattr(Driver, "_check", late)
    code, out, err = run("search", "bonus", "--trials", 1, "--epochs", EPOCHS, "--timeout", "1h", "--storage", "j.log")
    assert code == 0, err
    assert f"; interrupted after 2 of {EPOCHS} epochs." in out
    assert "No trial has run to its end yet" not in out
    use = "pomona train bonus --from-study bonus-1 --storage j.log"
    assert err.splitlines()[-3:] == [
        f"use it as it is: {use} --as-saved",
        f"train it to its end: {use}",
        "stopped: the time is up; go on with: pomona resume bonus-1 --storage j.log",
    ]


def test_leaderboard_and_status_show_it(run: Run, stopped: Study) -> None:
    (row,) = json.loads(run("leaderboard", "s", "--json")[1])
    assert (row["rank"], row["state"], row["epochs"]) == (1, "interrupted", 2)
    assert row["reason"] == f"interrupted after 2 of {EPOCHS} epochs"
    assert row["n"] > 0
    assert row["ci95"][0] <= row["value"] <= row["ci95"][1]
    out = run("leaderboard", "s")[1]
    assert "It can't be confirmed before it has run to its end: pomona resume s goes on." in out
    assert f", interrupted after 2 of {EPOCHS} epochs" in run("status", "s")[1]
    assert ", interrupted" in run("studies", "list")[1]
    code, _, err = run("confirm", "s")
    assert (code, "(those that were interrupted can't be confirmed: resume the study)" in err) == (1, True)


def test_trained_from_the_study_it_ends_as_the_study_would_have(run: Run, stopped: Study) -> None:
    code, out, err = run(*FROM_STUDY, "--out", "best", "--json")
    assert code == 0, err
    assert f"going on after epoch 2 of {EPOCHS}" in err
    assert (told := json.loads(out))["seed"] == 5
    code, _, err = run("train", "bonus", "--recipe", "--epochs", EPOCHS, "--seed", 5, "--out", "whole")
    assert code == 0, err
    assert curve_of("best") == curve_of("whole")
    # The study can go on all the same, and comes to that end too.
    assert run("resume", "s")[0] == 0
    record = Study.open("s", None).trial(0)
    assert (record.state, record.value, record.curve[-1][1]) == ("complete", told["value"], curve_of("whole")[-1][2])


def test_kept_as_it_is_it_can_be_used(run: Run, stopped: Study) -> None:
    code, out, err = run(*FROM_STUDY, "--as-saved", "--out", "best", "--json")
    assert code == 0, err
    assert f"keeping it as it was after epoch 2 of {EPOCHS}" in err
    told, record = json.loads(out), stopped.trial(0)
    assert told["reason"] == f"interrupted after 2 of {EPOCHS} epochs"
    assert (told["value"], told["n"], tuple(told["ci95"])) == (record.value, record.n, record.ci95)
    checkpoint = load_checkpoint(Path("best")).record
    assert (checkpoint.interrupted, checkpoint.value) == (record.reason, record.value)
    assert json.loads(Path("best/checkpoint.json").read_text())["interrupted"] == record.reason
    code, out, err = run("evaluate", "best", "--json")
    assert (code, json.loads(out)["value"]) == (0, pytest.approx(record.value))
    assert f"the model was interrupted after 2 of {EPOCHS} epochs" in err
    Path("rows.csv").write_text("years_of_experience,projects_completed,performance\n2,3,1\n")
    assert run("predict", "best", "rows.csv")[0] == 0
    # The same command without --as-saved trains it to its end, where it is or in another folder.
    assert run(*FROM_STUDY, "--out", "best")[0] == run(*FROM_STUDY, "--out", "other")[0] == 0
    assert curve_of("best") == curve_of("other")
    assert not load_checkpoint(Path("best")).record.interrupted


def test_the_function_for_notebooks_does_both(stopped: Study) -> None:
    kept = pomona.train("bonus", from_study=stopped, as_saved=True, out="kept")
    assert (kept.state, kept.reason) == (State.PRUNED, f"interrupted after 2 of {EPOCHS} epochs")
    assert (kept.value, kept.n) == (stopped.trial(0).value, stopped.trial(0).n)
    whole = pomona.train("bonus", from_study=stopped, out="whole")
    assert (whole.state, len(whole.curve)) == (State.COMPLETE, EPOCHS)
    assert whole.curve[:2] == kept.curve
    with pytest.raises(InputError, match="name the study with --from-study"):
        pomona.train("bonus", as_saved=True)
    with pytest.raises(InputError, match="--trial is one of a study: name the study with --from-study"):
        pomona.train("bonus", trial=0, out="recipe")
    assert not Path("recipe").exists()


def test_training_that_goes_on_from_a_study_can_be_stopped_and_goes_on_from_its_own_folder(stopped: Study) -> None:
    from pomona.training_run import TrainRequest, prepare_training
    from training import never_stop

    def stop(step: int, steps: int) -> None:
        if step > 0.8 * steps:
            raise KeyboardInterrupt

    request = TrainRequest("bonus", from_study="s", out=Path("best"))
    with pytest.raises(KeyboardInterrupt):
        prepare_training(request, lambda _: None).start(None, stop, never_stop)
    assert load_checkpoint(Path("best")).record.epoch == 3
    shutil.rmtree(stopped.folder / "trials")
    run = prepare_training(request, lambda _: None)
    assert run.resumes
    run.start(None, None, never_stop)
    pomona.train("bonus", epochs=EPOCHS, seed=5, out="whole")
    assert curve_of("best") == curve_of("whole")


@pytest.mark.parametrize(
    ("options", "named"),
    [(("--epochs", 3), "--epochs"), (("--seed", 0), "--seed"), (("--set", "learning_rate=0.01"), "--set")],
    ids=["epochs", "seed", "set"],
)
def test_another_run_than_the_trial_begins_at_the_beginning(
    run: Run, stopped: Study, options: tuple[object, ...], named: str
) -> None:
    code, _, err = run(*FROM_STUDY, *options, "--out", "best")
    assert code == 0, err
    assert f"it can't be gone on with where {named} asks for another run: training it from the beginning" in err
    assert "epoch 1 of" in err
    code, _, err = run(*FROM_STUDY, "--as-saved", *options, "--out", "other")
    assert (code, err.splitlines()[-1]) == (1, f"error: --as-saved keeps trial 0 as it is: leave {named} out")
    assert not Path("other").exists()


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_without_its_state_it_begins_at_the_beginning(run: Run, stopped: Study, damage: str) -> None:
    note.cache_clear()
    (path,) = stopped.trial_folder(0).rglob("*.safetensors")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9] + bytes(9))
    code, _, err = run(*FROM_STUDY, "--as-saved", "--out", "best")
    assert (code, err.splitlines()[-1]) == (1, f"error: no state of trial 0 of 's' is left: {REFUSED}")
    code, _, err = run(*FROM_STUDY, "--out", "best")
    assert code == 0, err
    assert "no state of trial 0 is left: training it from the beginning" in err
    assert len(curve_of("best")) == EPOCHS
    assert load_checkpoint(Path("best")).record.seed == 5


def test_as_saved_is_refused_where_there_is_nothing_to_keep(run: Run, stopped: Study) -> None:
    with stopped.running():
        code, _, err = run(*FROM_STUDY, "--out", "best")
        assert (code, "is being run, and none of its trials has run to its end" in err) == (1, True)
        code, _, err = run(*FROM_STUDY, "--trial", 0, "--as-saved")
        assert (code, err.splitlines()[-1]) == (1, f"error: trial 0 of 's' is under way: {REFUSED}")
    assert run("resume", "s")[0] == 0
    code, _, err = run(*FROM_STUDY, "--as-saved")
    assert (code, err.splitlines()[-1]) == (
        1,
        f"error: trial 0 of 's' has ended (complete), so no state is left of it: {REFUSED}",
    )
    assert not Path("checkpoints").exists()


def test_a_checkpoint_is_not_overwritten_by_an_earlier_state(run: Run, stopped: Study) -> None:
    assert run(*FROM_STUDY, "--as-saved", "--out", "best")[0] == 0
    code, _, err = run(*FROM_STUDY, "--as-saved", "--out", "best")
    assert (code, err.splitlines()[-1]) == (1, "error: --out holds a checkpoint already: choose another one")


def test_one_that_was_stopped_after_its_last_epoch_is_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state was saved, and its end not recorded."""
    monkeypatch.setattr(Recording, "finish", lambda *_: (_ for _ in ()).throw(Interrupted("by the user")))
    study = interrupted(EPOCHS + 1)
    assert study.trial(0).reason == f"interrupted after {EPOCHS} of {EPOCHS} epochs"
    code, _, err = run(*FROM_STUDY, "--out", "best")
    assert code == 0, err
    pomona.train("bonus", epochs=EPOCHS, seed=5, out="whole")
    assert curve_of("best") == curve_of("whole")


@pytest.mark.slow
def test_photos_and_stages_that_train(run: Run, photos: Path, weights: Path) -> None:
    """The whole job with a backbone: prefixes that are kept, and stages that train."""
    texts = ["backbone=squeezenet1_1", "resolution=96", "batch_size=16", "unfrozen_stages=1", "fine_tune_share=0.75"]
    fixed = FRUIT.space.parse(texts)
    interrupted(2.3, SearchRequest("fruit", data=str(photos), weights_dir=weights, fixed=fixed))
    command = ("train", "fruit", "--from-study", "s")
    assert run(*command, "--as-saved", "--out", "kept")[0] == run(*command, "--out", "best")[0] == 0
    assert run("resume", "s")[0] == 0
    trial = Study.open("s", None).trial(0)
    assert trial.state == "complete"
    assert [value for _, _, value in curve_of("best")] == [value for _, value in trial.curve]
    assert run(*command, "--seed", 5, "--out", "whole")[0] == 0
    assert curve_of("best") == curve_of("whole")
    assert curve_of("kept") == curve_of("whole")[:2]
    photo = next(photos.rglob("*.png"))
    assert run("evaluate", "kept")[0] == run("predict", "kept", photo)[0] == 0


def test_the_dashboard_says_what_it_can_not_show(run: Run, stopped: Study) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        _, _, err = run("dashboard", "s", "--port", taken.getsockname()[1])
    assert "shown as running, but interrupted, as nobody runs the study: 1 trial\n" in err
