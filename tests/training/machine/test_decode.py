"""Plain data comes back as what it was made of, or as an error that names the field."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.machine.decode import DecodeError, MissingField, decoded


@dataclass(frozen=True)
class Inner:
    precision: str = "fp32"
    fast: bool = False


@dataclass(frozen=True)
class Outer:
    epochs: int
    inner: Inner
    interval: tuple[float, float] | None = None
    columns: tuple[str, ...] = ()
    config: dict[str, bool | int | float | str] = field(default_factory=dict)


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
OUTERS = st.builds(
    Outer,
    st.integers(-(2**63), 2**64 - 1),
    st.builds(Inner, st.text(), st.booleans()),
    st.none() | st.tuples(FLOATS, FLOATS),
    st.lists(st.text()).map(tuple),
    st.dictionaries(st.text(), st.booleans() | st.integers(-(2**63), 2**63) | FLOATS | st.text()),
)


@given(OUTERS)
def test_what_went_through_json_comes_back(value: Outer) -> None:
    back = decoded(json.loads(json.dumps(asdict(value))), Outer)
    assert back == value
    # 1, 1.0 and True are equal, but mean different things in a config.
    assert [type(part) for part in back.config.values()] == [type(part) for part in value.config.values()]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["epochs", "inner", "interval", "columns", "config"]), JSON) | JSON)
def test_anything_else_is_one_line(raw: Any) -> None:
    said = ""
    try:
        assert isinstance(decoded(raw, Outer, "it"), Outer)
    except DecodeError as problem:
        said = str(problem)
    assert not said or said.startswith("it")
    assert "\n" not in said
    assert "$" not in said or "$" in repr(raw)


WHOLE: dict[str, Any] = {"epochs": 3, "inner": {"precision": "bf16", "fast": True}}


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ({"epochs": "three"}, "epochs is 'three', not int"),
        ({"epochs": 2.5}, "epochs is 2.5, not int"),
        ({"epochs": True}, "epochs is True, not int"),
        ({"inner": {"fast": 1}}, "inner.fast is 1, not bool"),
        ({"inner": "x" * 200}, f"inner is '{'x' * 59}..., not object"),
        ({"interval": [0.5]}, "interval is [0.5], not array of length 2"),
        ({"interval": [None, 0.5]}, "interval[0] is None, not float"),
        ({"columns": ["a", 3]}, "columns[1] is 3, not str"),
        ({"config": {"views": None}}, "config['views'] is None, not bool | int | float | str"),
        ({"config": {"rate": 0.1, "views": [1]}}, "config['views'] is [1], not bool | int | float | str"),
    ],
)
def test_the_field_is_named(change: dict[str, Any], saying: str) -> None:
    with pytest.raises(DecodeError) as raised:
        decoded(WHOLE | change, Outer)
    assert str(raised.value) == saying
    with pytest.raises(DecodeError) as raised:
        decoded([WHOLE | change], list[Outer], "rows")
    assert str(raised.value) == f"rows[0].{saying}"


def test_a_field_that_is_missing_is_named() -> None:
    with pytest.raises(MissingField, match=r"^inner is missing$"):
        decoded({"epochs": 3}, Outer)
    with pytest.raises(MissingField, match=r"^rows\[1\]\.inner is missing$"):
        decoded([WHOLE, {"epochs": 3}], list[Outer], "rows")


def test_of_fields_of_later_versions_nothing_is_kept() -> None:
    assert decoded(WHOLE | {"new": 1}, Outer) == Outer(3, Inner("bf16", True))


def test_paths_are_texts() -> None:
    assert decoded("a/b", Path) == Path("a/b")
    with pytest.raises(DecodeError, match=r"^folder is 3, not str$"):
        decoded(3, Path, "folder")
