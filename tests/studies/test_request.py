"""What a request leaves out follows the study; what it says stands, in whichever combination."""

from __future__ import annotations

from dataclasses import MISSING, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InputError
from studies import SearchRequest
from studies.request import Options, check_values, declared

from ..toys import TOY
from .settings import settings_for

SETTINGS = replace(
    settings_for(TOY, epochs=7, pruner="median", seed=3, trials=4),
    lanes=2,
    timeout=90.0,
    weights_dir=Path("w"),
    fixed={"dropout": 0.1},
    skip_unreadable=True,
)
VALUES: dict[str, Any] = {
    "text": "other",
    "path": "elsewhere",
    "folder": Path("elsewhere"),
    "device": "cuda",
    "count": 9,
    "seed": 0,
    "seconds": 5.0,
    "number": 0.5,
    "values": {"views": 2},
    "names": ("other",),
    "configs": "elsewhere",
    "flag": True,
}


@given(st.sets(st.sampled_from(sorted(declared(Options)))))
def test_what_is_said_stands_and_the_rest_follows(said: set[str]) -> None:
    given_values = {name: VALUES[declared(Options)[name].kind] for name in said}
    followed = SearchRequest("toy", study="s", **given_values).following(SETTINGS)
    for name in declared(Options):
        if name == "timeout" and name not in said and "trials" in said:
            assert followed.timeout is None
        elif name == "trials" and name not in said and "timeout" in said:
            assert followed.trials is None
        elif name == "engine" and name not in said and said & {"workers", "ray_address"}:
            assert followed.engine is None  # it follows from these
        else:
            assert getattr(followed, name) == given_values.get(name, getattr(SETTINGS, name)), name
    assert (followed.task, followed.study) == ("toy", "s")


@pytest.mark.parametrize(
    ("name", "value", "saying"),
    [
        ("trials", 0, "--trials must be at least 1, not 0"),
        ("lanes", -3, "--lanes must be at least 1, not -3"),
        ("seed", -1, "--seed must be at least 0, not -1"),
        ("timeout", 0.0, "--timeout must be longer than nothing"),
    ],
)
def test_numbers_out_of_range(name: str, value: Any, saying: str) -> None:
    for check in (lambda: check_values({name: value}), SearchRequest("toy", **{name: value}).values):
        with pytest.raises(InputError, match=f"^{saying}$"):
            check()
    check_values({name: None})


@pytest.mark.parametrize("name", [name for name, option in declared(Options).items() if option.choices])
def test_a_text_that_is_none_of_the_choices_is_refused(name: str) -> None:
    option = declared(Options)[name]
    with pytest.raises(InputError, match=f"^unknown {name} 'guess': {', '.join(option.choices)}$"):
        SearchRequest("toy", **{name: "guess"}).values()
    assert option.initial in option.choices
    assert option.before in (MISSING, *option.choices)
    for choice in option.choices:
        check_values({name: choice})


def test_what_is_not_said_has_its_initial_value() -> None:
    values = SearchRequest("toy", trials=3).values()
    assert values.keys() == declared(Options).keys()
    for name, option in declared(Options).items():
        empty: dict[str, Any] = {"values": {}, "flag": False}
        assert values[name] == (3 if name == "trials" else empty.get(option.kind, option.initial)), name


def test_every_option_is_declared_in_words() -> None:
    for name, option in declared(SearchRequest).items():
        assert option.help.endswith("."), name
        assert option.kind in VALUES
        assert "default" not in option.help
        assert option.kind == "flag" or option.metavar, name
    flags = [option.flag for option in declared(SearchRequest).values()]
    assert len(set(flags)) == len(flags)
