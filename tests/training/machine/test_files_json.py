"""JSON that every reader accepts."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.machine.files import json_text

_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def _without_non_finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_without_non_finite(part) for part in value]
    if isinstance(value, dict):
        return {key: _without_non_finite(part) for key, part in value.items()}
    return value


@given(_PLAIN)
def test_strict_readers_get_the_value_back_with_null_where_a_number_is_not_finite(value: object) -> None:
    assert json.loads(json_text(value), parse_constant=_refuse) == _without_non_finite(value)


def test_numpy_scalars_tuples_and_paths_are_written_as_plain_json() -> None:
    value = {"n": np.int64(3), "x": np.float32(0.5), "bad": np.float64("nan"), "pair": (1, 2), "file": Path("a/b")}
    assert json.loads(json_text(value)) == {"n": 3, "x": 0.5, "bad": None, "pair": [1, 2], "file": "a/b"}


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        json_text({"a": {1}})
