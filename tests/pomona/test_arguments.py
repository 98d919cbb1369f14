"""The functions take what notebooks have at hand; what they can't take is an InputError before anything is written."""

from __future__ import annotations

import datetime
import inspect
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

import pomona
import studies
from pomona import arguments as to
from search_spaces import InputError

from ..trained import bonus_checkpoint

PUBLIC = ("search", "resume", "leaderboard", "curves", "train", "load", "evaluate", "predict")
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from(
        [np.int64(3), np.float32(0.1), np.bool_(True), np.array([1, 2]), object(), Path("a"), pd.DataFrame()]
    ),
)


@given(ANYTHING)
@pytest.mark.parametrize(
    ("convert", "result"),
    [
        (to.path, str),
        (to.folder, Path),
        (to.text, str),
        (to.count, int),
        (to.seconds, float),
        (to.flag, bool),
        (to.values, dict),
        (to.paths, list),
        (lambda _, value: to.seed(value), int),
        (lambda _, value: to.device(value), str),
        (lambda _, value: to.study(value, None), tuple),
    ],
)
def test_whatever_comes_is_taken_or_refused_in_a_line(
    convert: Callable[[str, object], object], result: type, value: object
) -> None:
    try:
        taken, refusal = convert("it", value), ""
    except InputError as problem:
        taken, refusal = None, str(problem)
    assert "\n" not in refusal
    assert len(refusal) < 200
    # Exactly: a subclass of NumPy's could not be stored.
    assert refusal or type(taken) is result or isinstance(taken, Path)


@given(st.integers(1, 10**9), st.sampled_from([int, np.int64, np.uint64, np.int32, torch.tensor]))
def test_whole_numbers_of_every_make(number: int, make: Callable[[int], Any]) -> None:
    assert to.count("trials", make(number)) == number
    assert to.seed(make(number)) == number


@pytest.mark.parametrize(
    "value", [True, False, np.bool_(True), 2.5, 3.0, np.float64(3), "3", None, math.nan, [3], b"3"]
)
def test_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(InputError, match="trials must be a whole number, not "):
        to.count("trials", value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (600, 600.0),
        (0.5, 0.5),
        (np.float32(0.5), 0.5),
        ("10m", 600.0),
        (" 1.5h ", 5400.0),
        (datetime.timedelta(minutes=1), 60.0),
        (pd.Timedelta("2min"), 120.0),
        (np.timedelta64(3, "m"), 180.0),
        (np.timedelta64(10**9, "ns"), 1.0),
    ],
)
def test_durations(value: object, wanted: float) -> None:
    assert to.seconds("timeout", value) == wanted


@pytest.mark.parametrize("value", [0, -1, True, math.nan, math.inf, "soon", "", [1], pd.NaT, 10**400, "9" * 400])
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(InputError):
        to.seconds("timeout", value)


def digits(number: float) -> int:
    """How many a number is printed with; the zeros of its size do not count."""
    return len(Decimal(repr(number)).normalize().as_tuple().digits)


@given(st.floats(width=32, allow_nan=False))
@example(999999995904.0)
def test_a_number_of_32_bits_is_the_one_that_it_prints_as(number: float) -> None:
    (value,) = to.values("fixed", {"x": np.float32(number)}).values()
    assert type(value) is float
    assert np.float32(value) == np.float32(number)
    assert digits(value) <= digits(number)
    assert to.values("fixed", {"x": np.float32(0.1)}) == {"x": 0.1}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (np.int64(16), 16),
        (np.bool_(True), True),
        (np.str_("adam"), "adam"),
        (np.float64(0.5), 0.5),
        (torch.tensor(3), 3),
    ],
)
def test_values_of_dimensions_become_plain(value: object, wanted: object) -> None:
    (found,) = to.values("fixed", {"x": value}).values()
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.parametrize("value", [None, [1], np.array([1, 2]), {"a": 1}, object(), b"x"])
def test_what_no_dimension_can_be(value: object) -> None:
    with pytest.raises(InputError, match=r"fixed\['x'\] must be"):
        to.values("fixed", {"x": value})


@pytest.mark.parametrize("files", ["a.csv", Path("a.csv"), ["a.csv"], ("a.csv",), iter(["a.csv"]), np.array(["a.csv"])])
def test_one_file_is_a_list_of_one(files: object) -> None:
    assert to.paths("files", files) == [Path("a.csv")]


@pytest.mark.parametrize(
    "files", [[], (), None, b"a.csv", {"a": 1}, pd.DataFrame({"a.csv": [1]}), [3], 3, [""], ["a\0"]]
)
def test_what_is_no_file(files: object) -> None:
    with pytest.raises(InputError):
        to.paths("files", files)


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("search", {"seed": -1}),
    ("search", {"trials": 0}),
    ("search", {"trials": 2.5}),
    ("search", {"trials": True}),
    ("search", {"epochs": "3"}),
    ("search", {"lanes": 0}),
    ("search", {"timeout": "soon"}),
    ("search", {"timeout": -1}),
    ("search", {"data": ["a.csv"]}),
    ("search", {"data": pd.DataFrame()}),
    ("search", {"study": 3}),
    ("search", {"study": ""}),
    ("search", {"storage": 3}),
    ("search", {"fixed": [1]}),
    ("search", {"fixed": {"learning_rate": 7}}),
    ("search", {"fixed": {"learning_rate": None}}),
    ("search", {"fixed": {"no_such": 1}}),
    ("search", {"fixed": {3: 1}}),
    ("search", {"fixed": {"learning_rate": (0.1,)}}),
    ("search", {"fixed": {"learning_rate": (0.1, 0.2, 0.3)}}),
    ("search", {"fixed": {"learning_rate": ("a", "b")}}),
    ("search", {"fixed": {"learning_rate": (0.2, 0.1)}}),
    ("search", {"fixed": {"learning_rate": []}}),
    ("search", {"fixed": {"learning_rate": [0.1, 7]}}),
    ("search", {"fixed": {"learning_rate": [[0.1]]}}),
    ("search", {"stop_at": "0.9"}),
    ("search", {"stop_at": True}),
    ("search", {"stop_at": float("nan")}),
    ("search", {"stop_at": 92}),
    ("search", {"sampler": "chance"}),
    ("search", {"strategy": "chance"}),
    ("search", {"enqueue": "none.json"}),
    ("search", {"enqueue": 3}),
    ("search", {"enqueue": []}),
    ("search", {"enqueue": [3]}),
    ("search", {"enqueue": {"learning_rate": 7}}),
    ("search", {"enqueue": [{}, {"no_such": 1}]}),
    ("search", {"warm_start": 3}),
    ("search", {"warm_start": ["none"]}),
    ("search", {"warm_start": {"a": 1}}),
    ("search", {"device": 0}),
    ("search", {"pruner": 3}),
    ("search", {"skip_unreadable": "yes"}),
    ("search", {"weights_dir": 1.5}),
    ("train", {"config": "recipe"}),
    ("train", {"epochs": 0}),
    ("train", {"out": 3}),
    ("train", {"from_study": 3}),
    ("train", {"seed": 1.0}),
]


@pytest.mark.parametrize(("function", "wrong"), WRONG, ids=[f"{name} {wrong}" for name, wrong in WRONG])
def test_wrong_arguments_leave_nothing(function: str, wrong: dict[str, Any], tmp_path: Path) -> None:
    usual = {"epochs": 1} | ({"trials": 1, "storage": "j.log"} if function == "search" else {"out": "m"})
    with pytest.raises(InputError) as raised:
        getattr(pomona, function)("bonus", **(usual | wrong))
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("task", [None, 3, "", ["bonus"]])
def test_what_is_no_task(task: Any) -> None:
    with pytest.raises(InputError):
        pomona.search(task)
    with pytest.raises(InputError):
        pomona.train(task)


@pytest.mark.parametrize("study", [None, 3, "", ["s"], Path("s")])
def test_what_is_no_study(study: Any) -> None:
    for function in (pomona.resume, pomona.confirm, pomona.leaderboard, pomona.curves):
        with pytest.raises(InputError, match="study must be"):
            function(study)


def test_what_a_notebook_has_at_hand_is_taken(tmp_path: Path) -> None:
    fixed = {"learning_rate": np.float32(0.01), "batch_size": np.int64(8), "optimizer": np.str_("sgd")}
    study = pomona.search(
        "bonus",
        trials=np.int64(1),
        epochs=np.int32(1),
        seed=np.uint8(3),
        timeout=pd.Timedelta("10min"),
        storage=tmp_path / "j.log",
        fixed=fixed,
        device=torch.device("cpu"),  # type: ignore[arg-type]
    )
    assert study.records()[0].config["learning_rate"] == 0.01
    assert len(pomona.leaderboard(study)) == len(pomona.curves(study.name, storage=tmp_path / "j.log")) == 1
    assert pomona.resume("bonus-1", storage=Path("j.log"), trials=np.int64(1), timeout="10m").ended == 1
    confirmed = pomona.confirm(study, top=np.int64(1), seeds=np.uint8(1), timeout=pd.Timedelta("10min"))
    assert studies.status_of(confirmed)["confirmations"] == 1


def test_answers_for_one_file_and_for_none(tmp_path: Path) -> None:
    bonus_checkpoint(tmp_path / "m")
    (tmp_path / "a.csv").write_text("performance,years_of_experience,projects_completed\n1,2,3\n")
    assert pomona.predict("m", "a.csv") == pomona.predict(Path("m"), [tmp_path.joinpath("a.csv").name])
    with pytest.raises(InputError, match="name at least one file"):
        pomona.predict("m", [])
    assert pomona.evaluate(np.str_("m"), device="cpu").score.n == 200


def test_every_function_passes_its_arguments_through_the_one_place() -> None:
    """A new argument of a public function must be normalised too: each is named in the function's body.

    Those of `search` are normalised by their kind, see test_request.py.
    """
    for name in set(PUBLIC) - {"search"}:
        function = inspect.unwrap(getattr(pomona, name))
        body = inspect.getsource(function).split('"""')[-1]
        for argument in inspect.signature(function).parameters:
            uses = [line for line in body.splitlines() if argument in line.split("=")[-1] and "to." in line]
            assert uses, f"{name}({argument})"
