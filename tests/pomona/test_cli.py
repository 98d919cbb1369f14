"""The main job from the command line: search, leaderboard, train, evaluate, predict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pomona.app import COMMANDS
from search_spaces import FRUIT

from .conftest import Run


def test_the_whole_job(run: Run, small: list[object], photos: Path) -> None:
    code, out, err = run("search", "fruit", *small, "--trials", 4, "--epochs", 2, "--study", "s", "--pruner", "median")
    assert code == 0, err
    assert "rank" in out
    assert "not confirmed on fresh seeds" in out
    assert "budget: 4 trials of 2 epochs" in err
    assert "recipe with backbone squeezenet1_1 for vgg16" in err

    code, out, _ = run("leaderboard", "s", "--format", "json")
    rows = json.loads(out)
    assert code == 0
    assert sorted(row["number"] for row in rows) == [0, 1, 2, 3]
    wanted = {"rank", "number", "state", "value", "n", "ci95", "params", "epochs", "seconds", "seed", "reason"}
    assert all(wanted <= set(row) for row in rows)
    assert rows[0]["rank"] == 1
    assert rows[0]["n"] == 18
    recipe = next(row for row in rows if row["number"] == 0)
    assert recipe["state"] == "complete"
    assert recipe["params"]["backbone"] == "squeezenet1_1"

    code, out, _ = run("status", "s", "--json")
    told = json.loads(out)
    assert (code, told["ended"], told["running"]) == (0, 4, False)

    # A finished study asked for again has nothing to do, and says what it has.
    code, out, err = run("search", "fruit", *small, "--trials", 4, "--epochs", 2, "--study", "s", "--pruner", "median")
    assert code == 0
    assert "study s: done, all of its 4 trials have ended" in err
    code, out, _ = run("resume", "s", "--trials", 5, "--json")
    assert (json.loads(out)["ended"], json.loads(out)["trials"]) == (5, 5)

    code, out, err = run("train", "fruit", "--from-study", "s", "--out", "best", "--json")
    assert code == 0, err
    trained = json.loads(out)
    # One seed, one result: training the best config again gives the value that the study recorded.
    best = json.loads(run("status", "s", "--json")[1])["best"]
    assert trained["config"] == best["params"]
    assert trained["value"] == best["value"]

    code, out, _ = run("evaluate", "best", "--json")
    scored = json.loads(out)
    assert code == 0
    assert {"accuracy", "n", "ci95", "per_class", "confusion", "classes"} <= set(scored)
    assert scored["accuracy"] == trained["value"]
    assert scored["classes"] == list(FRUIT.classes)
    assert sum(map(sum, scored["confusion"])) == scored["n"] == 18
    right = sum(scored["confusion"][i][i] for i in range(6))
    assert right / 18 == scored["accuracy"]
    # A folder with splits, and a bare folder of class folders.
    assert json.loads(run("evaluate", "best", "--data", photos, "--json")[1])["accuracy"] == scored["accuracy"]
    bare = json.loads(run("evaluate", "best", "--data", photos / "valid", "--json")[1])
    assert bare["accuracy"] == scored["accuracy"]

    image = photos / "valid" / "freshapples" / "0.png"
    code, out, _ = run("predict", "best", image, image, "--json")
    answers = json.loads(out)
    assert code == 0
    assert [answer["path"] for answer in answers] == [str(image)] * 2
    assert answers[0]["label"] in FRUIT.classes
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1)

    for form in ("table", "csv", "md"):
        code, out, _ = run("leaderboard", "s", "--format", form, "--top", 2)
        assert code == 0
        assert "complete" in out
    assert "fingerprint" in run("leaderboard", "s", "--format", "md")[1]
    for command in (["tasks"], ["status", "s"], ["evaluate", "best"], ["predict", "best", image]):
        code, out, _ = run(*command)
        assert code == 0
        assert out.strip()


def test_the_same_as_functions(photos: Path, weights: Path) -> None:
    import pomona

    fixed = {"backbone": "squeezenet1_1", "resolution": 96}
    study = pomona.search("fruit", data=photos, weights_dir=weights, trials=2, epochs=1, fixed=fixed, storage="x/j.log")
    assert len(pomona.leaderboard(study)) == 2
    assert len(pomona.curves(study)) == 2
    assert len(pomona.leaderboard(pomona.resume(study, trials=3))) == 3
    result = pomona.train("fruit", from_study=study, out="best")
    assert pomona.evaluate("best").accuracy.value == result.value
    assert pomona.load("best").record.value == result.value
    assert len(pomona.predict("best", [photos / "train" / "freshapples" / "0.png"])) == 1
    with pytest.raises(pomona.InputError):
        pomona.search("vegetables")


def test_a_database_serves_as_storage(run: Run, small: list[object], tmp_path: Path) -> None:
    storage = ["--storage", f"sqlite:///{tmp_path}/studies.db"]
    assert run("search", "fruit", *small, "--trials", 2, "--epochs", 1, "--study", "s", *storage)[0] == 0
    code, _, err = run("resume", "s", "--trials", 3, *storage)
    assert code == 0, err
    assert len(json.loads(run("leaderboard", "s", "--json", *storage)[1])) == 3


def test_studies_without_a_name_get_the_next_free_one(run: Run, small: list[object]) -> None:
    for number in (1, 2):
        code, out, err = run("search", "fruit", *small, "--trials", 1, "--epochs", 1, "--json")
        assert code == 0
        assert "plan: " in err
        assert json.loads(out)["study"] == f"fruit-{number}"


def test_the_time_is_up(run: Run, small: list[object]) -> None:
    code, out, err = run("search", "fruit", *small, "--timeout", "0.001s", "--study", "s")
    assert code == 1
    assert "No trial has run to its end yet." in out
    assert "stopped: the time is up; go on with: pomona resume s" in err
    assert "plan: " not in err  # it would have taken longer than the first trials


def test_two_runs_of_train_give_the_same_losses(run: Run, small: list[object]) -> None:
    outs = []
    for name in ("one", "other"):
        code, out, err = run("train", "fruit", "--recipe", *small, "--epochs", 3, "--seed", 4, "--out", name, "--json")
        assert code == 0, err
        outs.append(json.loads(out))
    assert outs[0]["losses"] == outs[1]["losses"]
    assert outs[0]["valid_losses"] == outs[1]["valid_losses"]


def test_train_from_a_config_file(run: Run, small: list[object], tmp_path: Path) -> None:
    config = FRUIT.recipe | {"dropout": 0.5, "backbone": "squeezenet1_1"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    code, out, err = run("train", "fruit", "--config", "config.json", *small, "--epochs", 1, "--out", "c", "--json")
    assert code == 0, err
    assert json.loads(out)["config"] == config | {"resolution": 96, "batch_size": 16}


# The engine's own tests stop and kill at every moment; this is the command line's word for it.
@pytest.mark.parametrize("stop", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL])
def test_a_stopped_or_killed_search_goes_on_to_the_same_end(
    run: Run, small: list[object], stop: signal.Signals
) -> None:
    # On rungs what is proposed depends on measured times.
    options = ["fruit", *small, "--trials", 4, "--epochs", 3, "--study", "s", "--pruner", "median"]
    options += ["--strategy", "plain"]
    assert run("search", *options, "--storage", "whole/journal.log")[0] == 0

    storage = ["--storage", "cut/journal.log"]
    command = [sys.executable, "-m", "pomona", "search", *options, *storage]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    seen = ""
    with subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        for line in process.stderr:
            seen += line
            if line.startswith("trial 1:"):
                process.send_signal(stop)
    code = process.returncode
    assert code == (130 if stop == signal.SIGINT else -signal.SIGKILL), seen
    if stop == signal.SIGINT:
        assert "go on with: pomona resume s --storage cut/journal.log" in seen

    code, _, err = run("resume", "s", *storage)
    assert code == 0, err
    tables = []
    for name in ("whole", "cut"):
        rows = json.loads(run("leaderboard", "s", "--format", "json", "--storage", f"{name}/journal.log")[1])
        tables.append([(row["number"], row["state"], row["value"], row["params"]) for row in rows])
    assert tables[0] == tables[1]


@pytest.mark.slow
def test_killed_training_goes_on_to_the_same_end(run: Run, small: list[object]) -> None:
    options = ["fruit", "--recipe", *small, "--epochs", 5, "--json"]
    whole = json.loads(run("train", *options, "--out", "whole")[1])
    command = [sys.executable, "-m", "pomona", "train", *options, "--out", "cut"]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 3 "):
                process.kill()
    assert process.returncode == -signal.SIGKILL
    code, out, err = run("train", *options, "--out", "cut")
    assert code == 0, err
    assert "going on from the checkpoint" in err
    resumed = json.loads(out)
    assert resumed["losses"] == whole["losses"]
    assert resumed["valid_losses"] == whole["valid_losses"]


def test_every_command_has_help_with_an_example(run: Run) -> None:
    for command in COMMANDS:
        code, out, _ = run(command.__name__, "--help")
        assert code == 0
        assert "Example" in out


def test_wrong_usage_is_exit_code_2(run: Run) -> None:
    assert run("nosuch")[0] == 2
    assert run("search")[0] == 2
    assert run("search", "fruit", "--trials", "many")[0] == 2


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pomona.cli import main; main(['--help']); "
        "print(sorted({'torch', 'optuna', 'pandas', 'ray', 'timm', 'torchvision'} & set(sys.modules)))"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip().splitlines()[-1] == "[]"
