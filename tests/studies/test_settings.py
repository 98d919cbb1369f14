from __future__ import annotations

import json
from dataclasses import MISSING, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import InputError, Part
from studies.request import declared
from studies.settings import Settings
from training.machine.precision import Numerics

from ..toys import TOY
from .settings import settings_for

SETTINGS = settings_for(TOY)
VALUES = st.integers(-(2**63), 2**63) | st.booleans() | st.floats(-1e300, 1e300) | st.text()
BOUNDS = st.integers(-(2**63), 2**63) | st.floats(-1e300, 1e300)
PARTS = st.builds(Part, range=st.tuples(BOUNDS, BOUNDS)) | st.builds(Part, options=st.lists(VALUES).map(tuple))


@pytest.mark.parametrize("file", [None, "/somewhere/my_task.py"])
def test_settings_survive_the_storage(file: str | None) -> None:
    settings = replace(SETTINGS, task_file=file)
    assert Settings.from_json(settings.to_json(), "s") == settings
    assert settings.task_argument == (file or "toy")


@given(
    st.fixed_dictionaries(
        {
            "trials": st.none() | st.integers(1, 10**6),
            "epochs": st.integers(1, 10**6),
            "timeout": st.none() | st.floats(0.001, 1e9),
            "seed": st.integers(0, 2**63),
            "lanes": st.integers(1, 100),
            "weights_dir": st.none() | st.just(Path("/somewhere/weights")),
            "fixed": st.dictionaries(st.text(), VALUES | PARTS),
            "download_weights": st.booleans(),
            "numerics": st.sampled_from([Numerics("bf16", True), Numerics("fp32", False)]),
            "later_commands": st.lists(st.text(max_size=5)).map(tuple),
        }
    )
)
def test_all_values_survive_with_their_types(values: dict[str, Any]) -> None:
    back = Settings.from_json(replace(SETTINGS, **values).to_json(), "s")
    assert {name: getattr(back, name) for name in values} == values
    assert {name: type(value) for name, value in back.fixed.items()} == {
        name: type(value) for name, value in values["fixed"].items()
    }


# As it stands in studies that were made before the options had a declaration of their own.
EARLIER = (
    '{"command": "pomona search toy", "data": "toy", "device": "cpu", "direction": "maximize", "download": true, '
    '"engine": "inline", "environment": {"commit": "", "device": "cpu", "python": "3", "versions": {"torch": "1"}}, '
    '"epochs": 3, "fingerprint": "toy0", "fixed": {"batch_size": 8, "learning_rate": 0.1, "optimizer": "sgd"}, '
    '"lanes": 1, "metric": "accuracy", "numerics": {"channels_last": false, "precision": "bf16"}, "pruner": "none", '
    '"recipe_note": "recipe", "seed": 0, "skip_unreadable": false, "source": "toy colours", "space": "SPACE", '
    '"target": 0.9, "task": "toy", "timeout": 60, "trials": 5, "weights_dir": "/weights", "something_newer": 1}'
)


def test_studies_of_earlier_versions_go_on() -> None:
    assert Settings.from_json(EARLIER.replace("SPACE", TOY.space.digest), "s") == replace(
        SETTINGS,
        download_weights=True,
        fixed={"batch_size": 8, "learning_rate": 0.1, "optimizer": "sgd"},
        numerics=Numerics("bf16"),
        timeout=60.0,
        strategy="plain",
        weights_dir=Path("/weights"),
    )


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ({"epochs": "three"}, "epochs is 'three', not int"),
        ({"epochs": True}, "epochs is True, not int"),
        ({"lanes": 0}, "lanes is 0, which is less than 1"),
        ({"seed": -1}, "seed is -1, which is less than 0"),
        ({"timeout": "10m"}, "timeout is '10m', not float"),
        ({"fixed": {"dropout": [0.1]}}, r"fixed\['dropout'\] is \[0.1\], not bool"),
        ({"numerics": {"precision": "fp32", "channels_last": "yes"}}, "numerics.channels_last is 'yes', not bool"),
        ({"later_commands": ["a", 3]}, r"later_commands\[1\] is 3, not str"),
        ({"download": None}, "download is None, not bool"),
    ],
)
def test_what_is_damaged_is_named(change: dict[str, Any], saying: str) -> None:
    text = json.dumps(json.loads(SETTINGS.to_json()) | change)
    with pytest.raises(InputError, match=f"^the settings of study 's' are damaged: {saying}"):
        Settings.from_json(text, "s")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"task"', "null", "3"])
def test_what_is_no_settings_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="another version"):
        Settings.from_json(text, "s")


def test_a_study_from_before_an_option_existed_has_its_value_then() -> None:
    """Each option that says so; one that does not is in every study."""
    raw = json.loads(SETTINGS.to_json())
    for name, option in declared(Settings).items():
        less = json.dumps({key: value for key, value in raw.items() if key != option.stored})
        if option.before is MISSING:
            with pytest.raises(InputError, match="another version"):
                Settings.from_json(less, "s")
        else:
            assert getattr(Settings.from_json(less, "s"), name) == option.before
