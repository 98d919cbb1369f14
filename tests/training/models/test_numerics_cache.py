"""What was measured of the machine is kept; a file that is damaged is measured again and whole afterwards."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training import measure_numerics
from training.machine.digest import note
from training.models import numerics
from training.models.numerics import known_numerics

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("POMONA_CACHE", str(tmp_path))
    monkeypatch.setattr(numerics, "_steps", lambda candidates, device: {one: lambda: None for one in candidates})
    note.cache_clear()
    yield tmp_path / "numerics.json"
    note.cache_clear()


def test_it_is_measured_once(file: Path) -> None:
    assert known_numerics(CPU) is None
    first = measure_numerics(CPU, seconds=0)
    again = measure_numerics(CPU, seconds=0)
    assert (first.cached, again.cached) == (False, True)
    assert (again.numerics, again.images_per_second) == (first.numerics, first.images_per_second)
    assert known_numerics(CPU) == again


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "3",
        lambda text: '{"choices": 3, "digest": 4}',
        lambda text: text.replace("fp32", "fp33"),
        # Which of the two it is, a busy machine decides.
        lambda text: text.replace("false", "TRUE").replace("true", "false").replace("TRUE", "true"),
        lambda text: text.replace("digest", "digesT"),
        lambda text: text.replace("choices", "choiceS"),
    ],
)
def test_a_damaged_file_is_measured_again_with_a_note(
    file: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    measure_numerics(CPU, seconds=0)
    file.write_text(damage(file.read_text()))  # type: ignore[operator]
    with caplog.at_level(logging.WARNING, "pomona"):
        assert not measure_numerics(CPU, seconds=0).cached
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{file} is damaged (")
    assert record.getMessage().endswith("): what it held is measured again")
    assert measure_numerics(CPU, seconds=0).cached


def test_bytes_that_are_no_text_are_measured_again(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    assert not measure_numerics(CPU, seconds=0).cached
    assert measure_numerics(CPU, seconds=0).cached


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"numerics": {"precision": "fp64", "channels_last": False}}, False),
        ({"numerics": {"precision": "fp32", "channels_last": "no"}}, False),
        ({"numerics": 3}, False),
        ({"images_per_second": "many"}, False),
        ({"images_per_second": {"fp32, contiguous": "many"}}, False),
    ],
)
def test_the_choice_of_an_earlier_version_is_kept_where_it_can_be_read(
    file: Path, change: dict[str, object], kept: bool
) -> None:
    measured = measure_numerics(CPU, seconds=0)
    (entry,) = json.loads(file.read_text())["choices"].items()
    file.write_text(json.dumps({entry[0]: entry[1] | change}))
    again = measure_numerics(CPU, seconds=0)
    assert again.cached == kept
    assert again.numerics == measured.numerics or not kept
    assert measure_numerics(CPU, seconds=0).cached
