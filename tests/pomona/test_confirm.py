"""`pomona confirm` from the command line and from a notebook."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import optuna
import pytest

import pomona
from search_spaces import BONUS, InputError
from studies import Study, open_storage
from studies.confirmed import runs_to_confirm
from training import FitResult, State
from training.machine.seeds import fresh_seed

from .conftest import Run

SEARCH = ("search", "bonus", "--trials", 4, "--epochs", 2, "--pruner", "none")


def test_the_whole_job(run: Run) -> None:
    assert run(*SEARCH)[0] == 0
    assert "It is not confirmed on fresh seeds: pomona confirm bonus-1 does that." in run("leaderboard", "bonus-1")[1]
    status = json.loads(run("status", "bonus-1", "--json")[1])
    assert (status["confirmations"], status["confirmed"]) == (0, None)

    code, out, err = run("confirm", "bonus-1", "--top", 2, "--seeds", 2)
    assert code == 0, err
    assert "confirming the 2 best trials on 2 fresh seeds each: 4 runs\n" in err
    assert err.count(", confirms trial ") == 4
    rows = json.loads(run("leaderboard", "bonus-1", "--json")[1])
    first = rows[0]
    assert [row["number"] for row in sorted(rows, key=lambda row: row["number"])] == [0, 1, 2, 3]
    assert [row["confirmed_seeds"] for row in rows] == [2, 2, 0, 0]
    assert first["luck"] == pytest.approx(first["value"] - first["confirmed_mean"])
    lines = out.splitlines()
    assert lines[1].startswith(f"Confirmed: trial {first['number']}, r2 ")
    assert lines[2].startswith("Best: trial ")
    assert "It is the best of 4 trials: a maximum" in lines[3]
    assert "confirmed mean" in lines[4]
    assert any(line.startswith("rank") and "luck" in line for line in lines)

    # Again there is nothing to do, and more seeds are added to what there is.
    code, _, err = run("confirm", "bonus-1", "--top", 2, "--seeds", 2)
    assert (code, err.count(", confirms trial ")) == (0, 0)
    assert "4 runs, 4 of them done" in err
    code, _, err = run("confirm", "bonus-1", "--top", 2, "--seeds", 3)
    assert (code, err.count(", confirms trial ")) == (0, 2)

    every = json.loads(run("leaderboard", "bonus-1", "--json", "--confirmations")[1])
    of_first = [row for row in every if row["confirms"] == first["number"]]
    assert [row["seed"] for row in of_first] == [fresh_seed(0, nth) for nth in (1, 2, 3)]
    assert all((row["rank"], row["params"]) == (None, first["params"]) for row in of_first)
    for form in ("csv", "md"):
        code, out, _ = run("leaderboard", "bonus-1", "--format", form)
        assert code == 0
        assert "luck" in out
    table = list(csv.DictReader(io.StringIO(run("leaderboard", "bonus-1", "--format", "csv")[1])))
    assert len(table) == 4
    assert float(table[0]["confirmed_ci95_low"]) <= float(table[0]["confirmed_mean"])

    status = json.loads(run("status", "bonus-1", "--json")[1])
    assert (status["ended"], status["states"], status["confirmations"]) == (4, {"complete": 4}, 6)
    assert status["confirmed"]["seeds"] == 3
    assert status["commands"][1:] == [command for command in status["commands"][1:] if "confirm" in command]
    assert "confirmed: trial" in run("status", "bonus-1")[1]

    # A search goes on by its own count.
    assert json.loads(run("resume", "bonus-1", "--trials", 5, "--json")[1])["ended"] == 5


def test_train_takes_the_best_of_the_confirmed_trials(run: Run) -> None:
    assert run(*SEARCH)[0] == 0
    _, out, err = run("train", "bonus", "--from-study", "bonus-1", "--out", "lucky", "--json")
    assert "the best of the search, not confirmed on fresh seeds" in err
    study = Study.open("bonus-1", None, to_run=True)
    best = study.best()
    assert best is not None
    assert json.loads(out)["config"] == best.config
    runs = runs_to_confirm(study.records(), direction="maximize", seed=0, top=2, seeds=2)
    with study.running(), study.confirming(runs):
        while (proposal := study.ask(BONUS.space, 4)) is not None:
            # On fresh seeds the best of the search is the worse of the two.
            value = 0.1 * proposal.number + 0.2 * (proposal.config != best.config)
            study.recording.finish(proposal.number, FitResult(State.COMPLETE, "", value, (), 1.0, proposal.seed))
    first = study.confirmed()[0]
    assert first.number != best.number
    _, out, err = run("train", "bonus", "--from-study", "bonus-1", "--out", "best", "--json")
    assert f"config of trial {first.number} of bonus-1, the best of 2 confirmed: r2 0." in err
    assert json.loads(out)["config"] == first.config
    _, out, err = run("train", "bonus", "--from-study", "bonus-1", "--trial", best.number, "--out", "other", "--json")
    assert f"config of trial {best.number} of bonus-1\n" in err
    assert json.loads(out)["config"] == best.config


def test_training_with_the_seed_of_a_confirmation_gives_its_value_again(run: Run) -> None:
    assert run(*SEARCH)[0] == 0
    assert run("confirm", "bonus-1", "--top", 1, "--seeds", 1)[0] == 0
    record = Study.open("bonus-1", None).records()[-1]
    assert record.seed == fresh_seed(0, 1)
    options = ("--trial", record.number, "--seed", record.seed, "--out", "again", "--json")
    assert json.loads(run("train", "bonus", "--from-study", "bonus-1", *options)[1])["value"] == record.value


def test_the_time_is_up_and_the_same_command_goes_on(run: Run) -> None:
    assert run(*SEARCH)[0] == 0
    code, _, err = run("confirm", "bonus-1", "--top", 1, "--seeds", 2, "--timeout", "0.000001s")
    assert code == 0
    assert "stopped: the time is up; go on with: pomona confirm bonus-1 --top 1 --seeds 2" in err
    assert run("confirm", "bonus-1", "--top", 1, "--seeds", 2)[0] == 0
    assert json.loads(run("status", "bonus-1", "--json")[1])["confirmed"]["seeds"] == 2


def test_what_can_t_be_confirmed_is_one_line(run: Run) -> None:
    optuna.create_study(study_name="theirs", storage=open_storage("j.log"))
    for study, words in (("nowhere", "unknown study nowhere"), ("theirs", "was not made by pomona")):
        code, out, err = run("confirm", study, "--storage", "j.log")
        assert (code, out) == (1, "")
        assert words in err
        assert err.count("\n") == 1
    assert run("search", "bonus", "--trials", 2, "--epochs", 1, "--timeout", "0.000001s")[0] == 1
    code, _, err = run("confirm", "bonus-1")
    assert (code, err.count("\n")) == (1, 1)
    assert "has no trial that ran to its end" in err
    assert run(*SEARCH, "--study", "s")[0] == 0
    with Study.open("s", None, to_run=True).running():
        code, out, err = run("confirm", "s", "--seeds", 1)
    assert (code, out) == (1, "")
    assert "study 's' is being run by another process" in err
    assert run("confirm", "s", "--seeds", 0)[0] == 2


def test_data_that_changed_is_refused(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"{n % 9 + 1},{n % 7 + 1},{n % 5 + 1},{n}\n" for n in range(60))
    (tmp_path / "b.csv").write_text(f"performance,years_of_experience,projects_completed,bonus\n{rows}")
    assert run(*SEARCH, "--data", "b.csv")[0] == 0
    (tmp_path / "b.csv").write_text(f"performance,years_of_experience,projects_completed,bonus\n{rows}1,1,1,1\n")
    code, _, err = run("confirm", "bonus-1")
    assert code == 1
    assert "another data (fingerprint)" in err
    assert json.loads(run("leaderboard", "bonus-1", "--json", "--confirmations")[1])[-1]["confirms"] is None


def test_the_same_as_a_function() -> None:
    study = pomona.search("bonus", trials=3, epochs=1, pruner="none", storage="x/j.log")
    assert pomona.confirm(study, top=1, seeds=2).name == study.name
    frame = pomona.leaderboard(study)
    assert frame["confirmed_seeds"].tolist() == [2, 0, 0]
    assert len(pomona.leaderboard(study, confirmations=True)) == 5
    assert len(pomona.curves(study)) == 3
    assert len(pomona.curves(study, confirmations=True)) == 5
    for wrong in ({"top": 0}, {"seeds": 1.5}, {"timeout": "soon"}, {"task": "bonus"}):
        with pytest.raises(InputError):
            pomona.confirm(study, **wrong)  # type: ignore[arg-type]
