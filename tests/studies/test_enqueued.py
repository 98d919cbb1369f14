"""Configs that people bring: read, checked before anything is written, tried once, in their order, with a note."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Choice, Config, Float, InputError, SearchSpace
from studies import Study
from studies.enqueued import MOST_OF_A_STUDY, enqueued_from, read_configs, warm_start
from training import State

from ..strategies import configs, spaces
from ..toys import TOY
from .settings import settings_for
from .small_studies import a_study, result

OTHER = TOY.recipe | {"learning_rate": 0.5, "batch_size": 16}


@given(st.data())
def test_any_part_of_a_config_is_a_part(data: st.DataObject) -> None:
    space = data.draw(spaces())
    config = data.draw(configs(space))
    names = data.draw(st.sets(st.sampled_from(sorted(config))))
    space.check_part({name: config[name] for name in names})
    space.check_part(config)


@pytest.mark.parametrize(
    ("part", "saying"),
    [
        ({"speed": 1}, "unknown dimension 'speed'"),
        ({"dropout": 0.9}, "dropout must lie in 0 to 0.6, not 0.9"),
        ({"views": 0}, "views must be one of 2, 3, not 0"),
        ({"augmentation": 0, "views": 2}, "views has no meaning here: it counts only where augmentation is 1, 2, 3, 4"),
    ],
)
def test_what_is_none_of_the_space_is_named(part: Config, saying: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([{"dropout": 0.1}, part]))
    for given_so, where in ((str(file), str(file)), ([{"dropout": 0.1}, part], "--enqueue")):
        with pytest.raises(InputError) as caught:
            enqueued_from(given_so, TOY.space)
        assert str(caught.value).startswith(f"{where}, config 2: {saying}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '[{"dropout": 0.1, "batch_size": 8}, {"optimizer": "sgd"}]'),
        ("a.jsonl", '{"dropout": 0.1, "batch_size": 8}\n\n{"optimizer": "sgd"}\n'),
        ("a.txt", '{"dropout": 0.1, "batch_size": 8}\n{"optimizer": "sgd"}'),
    ],
)
def test_files_of_several(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    found = enqueued_from(str(tmp_path / name), TOY.space)
    assert [one.config for one in found] == [{"dropout": 0.1, "batch_size": 8}, {"optimizer": "sgd"}]
    assert {one.note for one in found} == {f"enqueued from {name}"}


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", '{"dropout": 1, "backbone": "toy"}'), ("a.toml", 'dropout = 1\nbackbone = "toy"')]
)
def test_a_file_of_one(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert read_configs(str(tmp_path / name)) == [{"dropout": 1, "backbone": "toy"}]


@pytest.mark.parametrize(
    ("name", "text", "saying"),
    [
        ("a.json", "[]", "holds no config"),
        ("a.json", "{'a': 1}", "is neither JSON nor JSON lines"),
        ("a.json", "[3]", "config 1 is 3"),
        ("a.json", '[{"a": 1}, {"a": [1]}]', "config 2"),
        ("a.json", '{"a": null}', "config 1"),
        ("a.toml", "a = ", "is not TOML"),
        ("a.toml", "a = [1]", "config 1"),
    ],
)
def test_files_that_hold_no_configs(name: str, text: str, saying: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=saying) as caught:
        read_configs(str(tmp_path / name))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="can't be read: No such file"):
        read_configs(str(tmp_path / "none.json"))
    (tmp_path / name).write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not text"):
        read_configs(str(tmp_path / name))


def test_a_whole_number_is_a_float_where_the_dimension_is() -> None:
    (found,) = enqueued_from([{"learning_rate": 1, "batch_size": 8}], TOY.space)
    assert {name: type(value) for name, value in found.config.items()} == {"learning_rate": float, "batch_size": int}
    assert found.note == "enqueued"


def test_they_wait_after_the_recipe_in_their_order_and_once(url: str) -> None:
    study = a_study(url)
    brought: list[tuple[Config, str]] = [(OTHER, "mine"), ({"dropout": 0.25}, "a part"), (OTHER, "again")]
    assert study.enqueue(brought) == 2
    assert Study.open("s", url).enqueue(brought) == 0
    proposals = [study.ask(TOY.space, 10) for _ in range(4)]
    configs = [proposal.config for proposal in proposals if proposal is not None]
    assert configs[0] == TOY.recipe
    assert configs[1] == OTHER
    # What it leaves out the sampler chose.
    assert configs[2]["dropout"] == 0.25
    assert TOY.space.validate(configs[2]) == configs[2]
    assert [study.trial(number).note for number in range(4)] == ["recipe", "mine", "a part", ""]
    for number in range(4):
        study.recording.finish(number, result())
    # Neither what was enqueued nor what the search has had comes again.
    assert Study.open("s", url).enqueue([*brought, (configs[3], "drawn"), (TOY.recipe, "the recipe")]) == 0


def searched(url: str, name: str, values: list[int], space: SearchSpace = TOY.space, *, seed: int = 0) -> Study:
    """A study whose trials had so many of ten right; 0 is one that failed."""
    study = Study.create(name, url, settings_for(TOY, seed=seed), space.adapt(TOY.recipe)[0])
    for number, right in enumerate(values):
        assert study.ask(space, len(values)) is not None
        study.recording.finish(number, result(right=right) if right else result(State.FAILED, "broke"))
    return study


def test_a_warm_start_takes_the_best_of_each_study(url: str) -> None:
    one = searched(url, "one", [5, 9, 0, 7, 3, 4, 6, 2, 1, 8, 1])
    two = searched(url, "two", [5, 6], seed=1)
    found, words = warm_start(["one", "two"], url, TOY.space, study="new")
    # The recipe is in both.
    numbers = [(one, 1), (one, 9), (one, 3), (one, 6), (one, 0), (one, 5), (one, 4), (one, 7), (two, 1)]
    assert [each.config for each in found] == [study.trial(number).config for study, number in numbers]
    assert [each.note for each in found] == [f"from {study.name} trial {number}" for study, number in numbers]
    assert words == "warm start: 9 configs of one, two"
    assert len([each for each in found if "one" in each.note]) == MOST_OF_A_STUDY
    with pytest.raises(InputError, match="unknown study"):
        warm_start(["three"], url, TOY.space, study=None)
    with pytest.raises(InputError, match="a study can't start from itself"):
        warm_start(["one"], url, TOY.space, study="one")


def test_what_is_outside_the_space_is_adapted_or_left_out(url: str) -> None:
    searched(url, "one", [5])
    narrow = TOY.space.narrow({"batch_size": 16, "dropout": 0.1})
    (found,), words = warm_start(["one"], url, narrow, study="new")
    assert found.config == TOY.recipe | {"batch_size": 16}
    assert found.note == "from one trial 0, with batch_size 16 for 8"
    assert words == "warm start: 1 config of one, 1 adapted to the space"
    other = SearchSpace({"backbone": Choice("toy"), "learning_rate": Float(0.1, 1.0)})
    assert warm_start(["one"], url, other, study="new") == (
        [],
        "warm start: 0 configs of one, 1 left out, which have other dimensions",
    )


def test_what_is_on_request_only_is_not_brought(url: str) -> None:
    """A sampler could not be given it."""
    fixed = TOY.space.fix({"views": 0})
    searched(url, "one", [5], fixed)
    (found,), _ = warm_start(["one"], url, TOY.space, study="new")
    assert found.config["views"] == 2


def test_searches_take_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task object, a narrowed space, configs of one's own and of an earlier study, then the same call again."""
    import pomona
    from search_spaces import BONUS

    monkeypatch.chdir(tmp_path)
    task = replace(BONUS, name="mine", space=BONUS.space.replace(learning_rate=Float(1e-4, 1.0, log=True)))
    earlier = pomona.search(BONUS, study="earlier", trials=2, epochs=1, storage="j.log")
    asked: dict[str, Any] = {
        "study": "s",
        "trials": 4,
        "epochs": 1,
        "storage": "j.log",
        "fixed": {"learning_rate": (1e-3, 0.1), "batch_size": [8, 16], "weight_decay": 1e-3},
        "enqueue": {"momentum": 0.5},
        "warm_start": earlier,
        "strategy": "plain",
    }
    study = pomona.search(task, **asked)
    records = study.records()
    # Adapted, the earlier study's recipe is this one's.
    assert [record.note.partition(",")[0] for record in records] == [
        "recipe with batch_size 8 for 32",
        "enqueued",
        "from earlier trial 1",
        "",
    ]
    assert records[1].config["momentum"] == 0.5
    for record in records:
        assert record.config["batch_size"] in (8, 16)
        assert 1e-3 <= float(record.config["learning_rate"]) <= 0.1
        assert record.config["weight_decay"] == 1e-3
    again = pomona.search(task, **(asked | {"trials": 5}))
    assert [record.config for record in again.records()][:4] == [record.config for record in records]
    assert len(again._study.get_trials(deepcopy=False)) == 5
    resumed = pomona.resume(again, trials=6, task=task)
    assert resumed.settings.fixed == study.settings.fixed
    assert resumed.records()[-1].config["batch_size"] in (8, 16)
    with pytest.raises(pomona.InputError, match="another --set"):
        pomona.search(task, **(asked | {"trials": 7, "fixed": {"batch_size": [8, 32]}}))
